-- Jobs are read with their batches in the order in which they were chosen. To sort 100,000 of them at each reading took a
-- file beside the database.
CREATE INDEX batch_by_position
  ON batch (job, position);
