-- Who works on a database that several hosts share, and what each of them holds. In a file these tables stay empty: its
-- locks are the kernel's. Times are milliseconds since 1970-01-01 UTC by the server's clock.

CREATE TABLE worker (
  -- Never given twice: a process that was late does not get its old one back.
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  host TEXT NOT NULL,
  pid INTEGER NOT NULL,
  -- What it holds is its own until then. It says so anew long before.
  until INTEGER NOT NULL
) STRICT;

CREATE TABLE lease (
  -- Of the lock: a job's number, or one far above.
  number INTEGER PRIMARY KEY,
  worker INTEGER NOT NULL
    REFERENCES worker (id) ON DELETE CASCADE
) STRICT;

CREATE INDEX lease_by_worker
  ON lease (worker);

-- The last transaction of each connection, so that one whose end was not heard of is not done twice.
CREATE TABLE receipt (
  writer TEXT PRIMARY KEY,
  number INTEGER NOT NULL,
  at INTEGER NOT NULL
) STRICT;
