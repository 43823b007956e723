-- A batch at a target of `--deliver`. What is at a target is known for as long as it may be there, whatever becomes of the
-- jobs that brought it.
CREATE TABLE delivery (
  id INTEGER PRIMARY KEY,
  org_id TEXT NOT NULL,
  sandbox TEXT NOT NULL,
  dataset_id TEXT NOT NULL,
  batch_id TEXT NOT NULL,
  target TEXT NOT NULL,
  -- sending, whole, removing, removed
  state TEXT NOT NULL,
  files INTEGER NOT NULL DEFAULT 0,
  bytes INTEGER NOT NULL DEFAULT 0,
  -- The folder (--output) whose copy was deleted, or is being deleted, once the batch was whole at the target.
  deleted_output TEXT,
  changed_at INTEGER NOT NULL,
  UNIQUE (org_id, sandbox, dataset_id, batch_id, target)
) STRICT;

CREATE TABLE delivery_file (
  delivery INTEGER NOT NULL
    REFERENCES delivery (id) ON DELETE CASCADE,
  path TEXT NOT NULL,
  length INTEGER NOT NULL,
  sha256 TEXT NOT NULL,
  -- 1: it lies at the target, compared with what is recorded.
  arrived INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (delivery, path)
) STRICT, WITHOUT ROWID;
