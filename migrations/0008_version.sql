-- The caiexport that made the job; nothing for jobs of versions that did not write it down.
ALTER TABLE job
  ADD COLUMN version TEXT;
