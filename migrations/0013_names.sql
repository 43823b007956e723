-- Names in the order in which they come: platforms list files by name, so a new one lies on the page of the index that
-- the last one lies on. In the order of hashes each lay on another page: of 100,000 files that was 0.8 writes of a page a
-- file, and ever more reads once the index was larger than what is kept of it in memory.
DROP INDEX file_by_name;

CREATE INDEX file_by_name
  ON file (batch, name);

-- For the first and the last row of a batch: the index above would be read from end to end for them.
CREATE INDEX file_by_batch
  ON file (batch);

-- file.name_hash is of no use any more, and 0 in new rows. It stays, since without it every row would be written anew.
