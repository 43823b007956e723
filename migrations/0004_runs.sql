-- Every run of `sync`, those that found nothing new or failed before their first batch included. Times are milliseconds
-- since 1970-01-01 UTC.

CREATE TABLE run (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  source INTEGER NOT NULL
    REFERENCES sync_source (id),
  -- A path is bytes, not always UTF-8.
  output TEXT NOT NULL,
  version TEXT NOT NULL,
  pid INTEGER NOT NULL,
  started_at INTEGER NOT NULL,
  -- NULL: it goes on, if a process holds the source's lock; else it was killed.
  ended_at INTEGER,
  -- succeeded, failed, skipped (another one was at work) or interrupted.
  status TEXT,
  -- Its last job, if it made one.
  job INTEGER,
  jobs INTEGER NOT NULL DEFAULT 0,
  replaced INTEGER NOT NULL DEFAULT 0,
  -- The newest batch that the platform had.
  newest_batch TEXT,
  newest_created INTEGER,
  error_category TEXT,
  error_message TEXT,
  error_request_id TEXT,
  error_hint TEXT
) STRICT;

CREATE INDEX run_by_source
  ON run (source);
