#!/usr/bin/env python3
"""Runs tests of the store once more, with the record on a PostgreSQL server that is started for them alone.

usage: on_postgresql.py STORE_TESTS [FILTER]

Left out is what is about SQLite itself: its file, its pages, its dialect of SQL. Exit code 77: not checked, since
PostgreSQL is not installed.
"""

import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "scale"))
import services  # noqa: E402  pylint: disable=wrong-import-position

ABOUT_SQLITE = ["DatabaseTest.*", "Migration.*", "SqlTest.theStatusAsksTheLocks",
                "SqlTest.aFailureToAskTheLocksIsNotLost", "SqlTest.ordinarySqlWorks", "SqlTest.cellsHaveTheirTypes",
                "SqlTest.columnsAreNamedWithoutRowsToo", "FileStoreTest.aLargeBatchIsReadInTheOrderOfItsRows",
                "FileStoreTest.theLastOfManyBatchesCostsAsMuchAsTheFirst"]
NOT_CHECKED = 77


def main(program, chosen="*"):
    if not services.find(services.PostgreSQL.INITDB):
        print("NOT CHECKED: the record on a server, since PostgreSQL is missing (scripts/setup installs it)")
        return NOT_CHECKED
    services.end_by_signals()
    services.adopt_orphans()
    try:
        with services.Together(["postgresql"]) as server:
            return subprocess.run([program, f"--gtest_filter={chosen}-{':'.join(ABOUT_SQLITE)}"], check=False,
                                  env={**server.environment(), "CAIEXPORT_TEST_SERVER": "yes"}).returncode
    finally:
        services.end_descendants()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
