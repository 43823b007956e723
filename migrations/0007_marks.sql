-- What `sync` looked at. Times are milliseconds since 1970-01-01 UTC.

-- All batches up to this one were dealt with in that folder: of those that the client made ('' is any), and that are
-- not older than `since`. Another filter has a mark of its own, or it would never see what this one left out.
CREATE TABLE mark_of_filter (
  source INTEGER NOT NULL
    REFERENCES sync_source (id),
  output TEXT NOT NULL,
  created_client TEXT NOT NULL,
  -- Nothing: from the first batch on.
  since INTEGER,
  batch_id TEXT NOT NULL,
  created INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (source, output, created_client)
) STRICT, WITHOUT ROWID;

-- Earlier versions did not write down by which filter; this one is the default.
INSERT INTO mark_of_filter (source, output, created_client, batch_id, created, updated_at)
SELECT source, output, 'acp_foundation_push', batch_id, created, updated_at
FROM sync_mark;

DROP TABLE sync_mark;

ALTER TABLE mark_of_filter RENAME TO sync_mark;

-- Its maker's own id, by which others may say that they replace it; '' if it has none, nothing if that was not written
-- down.
ALTER TABLE batch
  ADD COLUMN external_id TEXT;
