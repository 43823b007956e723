-- What is known of the bytes in file_range besides their places. Without a row here they can't be told from bytes that
-- somebody else put there, and are fetched again.
CREATE TABLE file_part (
  file INTEGER PRIMARY KEY
    REFERENCES file (id) ON DELETE CASCADE,
  -- Of all recorded bytes: src/transfer/content_sum.h.
  content_sum INTEGER NOT NULL,
  -- As the server sent them.
  etag TEXT,
  last_modified TEXT,
  -- 1: the end of the file was read before all else.
  tail_first INTEGER NOT NULL
) STRICT;

-- What the file system makes of the file's name: 0: nothing special. 1: it is taken for that of another file, so the
-- path is in a folder, as for equal names. n: the folder's name is taken too, so n - 1 tildes are added to it; in_folder
-- follows it.
ALTER TABLE file ADD COLUMN alias INTEGER NOT NULL DEFAULT 0;
