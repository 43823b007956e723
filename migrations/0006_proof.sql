-- Of a file of which one run fetched a part and another one more: set with its ranges, and kept once it is whole.
-- 1: and the server named no version, so that only what is in it can show that all of it is of one.
ALTER TABLE file_part ADD COLUMN several_runs INTEGER NOT NULL DEFAULT 0;
ALTER TABLE file ADD COLUMN unproven INTEGER NOT NULL DEFAULT 0;

-- claimed, from now on: 1: begun, so nothing that bears its final name is ours yet. 2: it bore its final name once.
UPDATE file SET claimed = 2 WHERE claimed = 1 AND state IN ('downloaded', 'verified', 'failed');
