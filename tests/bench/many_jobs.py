"""A history of very many jobs: copies of the first one of a database."""

import subprocess

SCRIPT = """
PRAGMA foreign_keys = off; PRAGMA synchronous = off; BEGIN;
CREATE TEMP TABLE n AS WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < {jobs}) SELECT i FROM n;
{statements}
COMMIT;
"""


def columns(database, table):
    listed = subprocess.run(["sqlite3", database, f"SELECT name FROM pragma_table_info('{table}')"], check=True,
                            stdout=subprocess.PIPE).stdout.decode()
    return listed.split()


def copy_job(database, jobs, more=""):
    """Job 1 with its request, steps and batches, until there are `jobs` of them. `more`: SQL at the end."""
    changed = {"job": {"id": "i", "uuid": "lower(hex(randomblob(16)))"}, "request": {"job": "i"},
               "step": {"job": "i"}, "batch": {"id": "NULL", "job": "i"}}
    statements = ""
    for table, values in changed.items():
        names = columns(database, table)
        key = "id" if table == "job" else "job"
        statements += (f"INSERT INTO {table} ({', '.join(names)}) SELECT "
                       f"{', '.join(values.get(name, name) for name in names)} FROM n, {table} WHERE {key} = 1;\n")
    script = SCRIPT.format(jobs=jobs, statements=statements + more)
    subprocess.run(["sqlite3", "-bail", database], input=script.encode(), check=True, stdout=subprocess.DEVNULL)
