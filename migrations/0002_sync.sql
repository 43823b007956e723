-- What `sync` remembers beyond its jobs. Times are milliseconds since 1970-01-01 UTC.

-- When the members of the segment were last counted, as far as the platform tells.
ALTER TABLE job
  ADD COLUMN evaluated_at INTEGER;

-- A dataset that is kept in step. Its number is that of its lock, so it is never given twice.
CREATE TABLE sync_source (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  org_id TEXT NOT NULL,
  sandbox TEXT NOT NULL,
  dataset_id TEXT NOT NULL,
  UNIQUE (org_id, sandbox, dataset_id)
) STRICT;

-- All batches up to this one were dealt with in that folder.
CREATE TABLE sync_mark (
  source INTEGER NOT NULL
    REFERENCES sync_source (id),
  output TEXT NOT NULL,
  batch_id TEXT NOT NULL,
  created INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (source, output)
) STRICT, WITHOUT ROWID;

-- Outlives the jobs of both batches.
CREATE TABLE replaced_batch (
  source INTEGER NOT NULL
    REFERENCES sync_source (id),
  output TEXT NOT NULL,
  batch_id TEXT NOT NULL,
  replaced_by TEXT NOT NULL,
  reason TEXT NOT NULL,
  action TEXT NOT NULL,
  -- Where it was moved to.
  path TEXT,
  -- 0: about to happen, and perhaps done already.
  done INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (source, output, batch_id)
) STRICT, WITHOUT ROWID;
