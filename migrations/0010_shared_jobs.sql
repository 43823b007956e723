-- Jobs that several workers on a server's database do together (--share). In a file all of this stays empty. Times are
-- milliseconds since 1970-01-01 UTC by the server's clock.

-- The workers' key.
ALTER TABLE job
  ADD COLUMN share TEXT;

-- When the platform last asked one of the workers for fewer requests.
ALTER TABLE job
  ADD COLUMN throttled_at INTEGER;

CREATE UNIQUE INDEX job_by_share
  ON job (org_id, sandbox, share)
  WHERE share IS NOT NULL;

-- What it works on.
ALTER TABLE worker
  ADD COLUMN job INTEGER;

-- Who fetches the file now. A worker that is not alive any more holds nothing.
ALTER TABLE file
  ADD COLUMN worker INTEGER;

-- Part of the name of its .part file: the worker that began it, so that one that was late does not write to another's.
ALTER TABLE file
  ADD COLUMN fence INTEGER;

-- How often it could not be had, and why the last time.
ALTER TABLE file
  ADD COLUMN failures INTEGER;

ALTER TABLE file
  ADD COLUMN failure TEXT;
