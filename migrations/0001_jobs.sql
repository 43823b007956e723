-- Times are milliseconds since 1970-01-01 UTC. Text that may be absent is NULL; ids are the platform's own text.

CREATE TABLE job (
  -- Numbers are never given twice: users, logs and locks speak of jobs by number.
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  uuid TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL,
  source_id TEXT NOT NULL,
  org_id TEXT NOT NULL,
  sandbox TEXT NOT NULL,
  -- The status while no process holds the job. Held, all but waiting, cancelled and succeeded read as running.
  status TEXT NOT NULL,
  -- The first step that is not done.
  step TEXT,
  dataset_id TEXT,
  dataset_created INTEGER NOT NULL DEFAULT 0,
  export_job_id TEXT,
  segment_job_id TEXT,
  remote_status TEXT,
  files INTEGER NOT NULL DEFAULT 0,
  bytes INTEGER NOT NULL DEFAULT 0,
  records INTEGER,
  reported_profiles INTEGER,
  cancel_requested INTEGER NOT NULL DEFAULT 0,
  cancelled INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  finished_at INTEGER,
  -- A path is bytes, not always UTF-8: it stays out of the request's JSON.
  output TEXT NOT NULL,
  error_category TEXT,
  error_message TEXT,
  error_request_id TEXT,
  error_hint TEXT
) STRICT;

CREATE INDEX job_by_status
  ON job (status);

CREATE INDEX job_by_source
  ON job (source_id);

CREATE INDEX job_by_export_job
  ON job (export_job_id)
  WHERE export_job_id IS NOT NULL;

CREATE INDEX job_by_segment_job
  ON job (segment_job_id)
  WHERE segment_job_id IS NOT NULL;

-- Apart from job, so that a scan of the history does not read it.
CREATE TABLE request (
  job INTEGER PRIMARY KEY
    REFERENCES job (id) ON DELETE CASCADE,
  json TEXT NOT NULL
) STRICT;

CREATE TABLE step (
  job INTEGER NOT NULL
    REFERENCES job (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  name TEXT NOT NULL,
  state TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  started_at INTEGER,
  finished_at INTEGER,
  intended_at INTEGER,
  deadline INTEGER,
  PRIMARY KEY (job, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE batch (
  id INTEGER PRIMARY KEY,
  job INTEGER NOT NULL
    REFERENCES job (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  remote_id TEXT NOT NULL,
  status TEXT NOT NULL,
  created INTEGER NOT NULL,
  created_client TEXT NOT NULL,
  records INTEGER,
  replay_reason TEXT NOT NULL,
  -- Number of the listing that is going on or was the last; a file carries that of the listing which last saw it.
  listing INTEGER NOT NULL DEFAULT 0,
  -- Sums over its files after the last complete listing.
  files INTEGER NOT NULL DEFAULT 0,
  bytes INTEGER NOT NULL DEFAULT 0,
  UNIQUE (job, remote_id)
) STRICT;

CREATE INDEX batch_by_remote_id
  ON batch (remote_id);

CREATE TABLE batch_predecessor (
  batch INTEGER NOT NULL
    REFERENCES batch (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  remote_id TEXT NOT NULL,
  PRIMARY KEY (batch, position)
) STRICT, WITHOUT ROWID;

-- A job may have 100,000 of these: mind the bytes of a row and of its index entries.
CREATE TABLE file (
  id INTEGER PRIMARY KEY,
  job INTEGER NOT NULL
    REFERENCES job (id) ON DELETE CASCADE,
  batch INTEGER NOT NULL
    REFERENCES batch (id) ON DELETE CASCADE,
  dataset_file_id TEXT NOT NULL,
  name TEXT NOT NULL,
  -- FNV-1a of the name, 64 bits: a quarter of the index that the names themselves would need.
  name_hash INTEGER NOT NULL,
  length INTEGER NOT NULL,
  href TEXT,
  listing INTEGER NOT NULL,
  -- 1: the path is DATASET-FILE-ID/NAME, since another file of the batch bears the same name.
  in_folder INTEGER NOT NULL DEFAULT 0,
  -- 1: something of it may lie at its path, put there by us.
  claimed INTEGER NOT NULL DEFAULT 0,
  state TEXT NOT NULL DEFAULT 'pending',
  sha256 BLOB,
  records INTEGER
) STRICT;

CREATE INDEX file_by_job
  ON file (job);

CREATE INDEX file_by_name
  ON file (batch, name_hash);

-- Bytes [first, end) of the .part file that are on disk.
CREATE TABLE file_range (
  file INTEGER NOT NULL
    REFERENCES file (id) ON DELETE CASCADE,
  first INTEGER NOT NULL,
  "end" INTEGER NOT NULL,
  PRIMARY KEY (file, first)
) STRICT, WITHOUT ROWID;

CREATE TABLE event (
  id INTEGER PRIMARY KEY,
  job INTEGER NOT NULL
    REFERENCES job (id) ON DELETE CASCADE,
  at INTEGER NOT NULL,
  step TEXT,
  what TEXT NOT NULL,
  detail TEXT NOT NULL
) STRICT;

CREATE INDEX event_by_job
  ON event (job);
