-- Large files of a shared job that several workers fetch together, piece by piece: src/store/share_store.cpp. The rows go
-- when the file is here.
CREATE TABLE file_piece (
  id INTEGER PRIMARY KEY,
  file INTEGER NOT NULL
    REFERENCES file (id) ON DELETE CASCADE,
  -- All pieces of a turn are fetched before those of the next. 0: the end of the file. 1: what lies before it. 2: the end
  -- once more: if it is what it was, the file was not rewritten meanwhile.
  turn INTEGER NOT NULL,
  first INTEGER NOT NULL,
  "end" INTEGER NOT NULL,
  -- Who fetches the piece now, or brought it; part of the name of the file that it lies in.
  worker INTEGER,
  -- Once it is there, in lower-case hex; and what the server said of its version.
  sha256 TEXT,
  etag TEXT,
  last_modified TEXT,
  -- 1: it was there when all workers had gone, and others began anew.
  earlier INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX file_piece_by_file
  ON file_piece (file);

-- How many of its pieces are missing; below 0: it is not fetched in pieces, since that went wrong.
ALTER TABLE file
  ADD COLUMN pieces_missing INTEGER;
