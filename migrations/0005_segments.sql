-- What the record keeps of audience exports beyond one job's steps. Times are milliseconds since 1970-01-01 UTC.

-- What there was before a request that must happen once: nothing of it can be what the request made.
CREATE TABLE seen_before (
  job INTEGER NOT NULL
    REFERENCES job (id) ON DELETE CASCADE,
  step TEXT NOT NULL,
  -- 'job': an export or segment job like the one asked for; 'batch': a batch of the target dataset; 'ended': an
  -- export job into it that had long ended; 'looked', without an id: that there was a look at all.
  kind TEXT NOT NULL,
  remote_id TEXT NOT NULL,
  PRIMARY KEY (job, step, kind, remote_id)
) STRICT, WITHOUT ROWID;

-- How many members the segment had when they were last counted: what to expect, not what was found.
ALTER TABLE job
  ADD COLUMN expected_profiles INTEGER;

-- The platform's time from which an evaluation counts as new (--wait-for-evaluation).
ALTER TABLE job
  ADD COLUMN evaluation_since INTEGER;

-- Evaluations that were asked for. They are rationed by the day and by the year, so they outlive their jobs.
CREATE TABLE evaluation (
  org_id TEXT NOT NULL,
  sandbox TEXT NOT NULL,
  segment_job_id TEXT NOT NULL,
  asked_at INTEGER NOT NULL,
  PRIMARY KEY (org_id, sandbox, segment_job_id)
) STRICT, WITHOUT ROWID;
