#!/usr/bin/env python3
"""Several hosts, one record on a PostgreSQL server: the real programs, a server that is started for this alone.

usage: hosts_test.py PROGRAMS [UNITTEST-OPTION...]     PROGRAMS: the folder of the programs that were built

A host is a home and an output folder of its own. Exit code 77: not checked, since PostgreSQL is not installed.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS / "scale"), str(TESTS / "support")]
import sandbox  # noqa: E402  pylint: disable=wrong-import-position
import services  # noqa: E402  pylint: disable=wrong-import-position
from scale_out import FETCHES, NOTE_EFFECTS  # noqa: E402  pylint: disable=wrong-import-position

FILES, FILE_BYTES = 40, 65536
LEASE_S = 3
SECRET = "hunter2-is-not-shown"
SLOW = ["--max-rate", "400K"]  # 6 s for all files


class Host:
    """Whose programs run there; ends with the test."""

    def __init__(self, world, name, output=None, **settings):
        self.home = world.folder / name
        self.home.mkdir()
        self.output = output or self.home / "scores"
        self.settings = {**sandbox.environment_in(str(self.home), str(world.programs)), **world.platform.settings,
                         **world.server.settings, "PGDATABASE": world.database, "CAIEXPORT_DATABASE": "postgresql:///",
                         "CAIEXPORT_OUTPUT": str(self.output), "CAIEXPORT_LEASE": f"{LEASE_S}s",
                         "CAIEXPORT_RETRY_WAIT": "50ms", **settings}

    def start(self, *words):
        return subprocess.Popen(["caiexport", *words], env=self.settings, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, errors="replace")

    def run(self, *words):
        with self.start(*words) as process:
            process.out, process.err = process.communicate(timeout=120)
            return process


def sync(*more):
    return ["sync", "--id", sandbox.SCORE_DATASET, "--verify", "size", "--quiet", *more]


class HostsTest(unittest.TestCase):
    programs = None

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="caiexport-hosts-"))
        cls.folder.chmod(0o711)
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.server = services.PostgreSQL(cls.folder)
        cls.enterClassContext_(cls.server)
        cls.databases = 0

    @classmethod
    def enterClassContext_(cls, context):
        context.__enter__()
        cls.addClassCleanup(context.__exit__, None, None, None)

    def setUp(self):
        type(self).databases += 1
        self.database = f"test{self.databases}"
        self.server.run("psql", "-d", "postgres", "-qc", f"CREATE DATABASE {self.database}")
        self.ask(NOTE_EFFECTS)
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=type(self).folder))
        self.folder.chmod(0o711)
        platform = self.folder / "platform"
        platform.mkdir()
        self.platform = sandbox.Simulator(str(self.programs / "caiexport-simulator"), str(platform), "--batches", "1",
                                          "--files", str(FILES), "--file-bytes", str(FILE_BYTES))
        self.platform.__enter__()
        self.addCleanup(self.platform.__exit__, None, None, None)
        self.one = Host(self, "one")
        self.other = Host(self, "other")

    def ask(self, sql):
        done = subprocess.run(["psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-d", self.database, "-c", sql],
                              env={**self.server.environment()}, text=True, capture_output=True, check=False)
        if done.returncode != 0:
            raise services.Failed(done.stderr)
        return done.stdout.strip()

    def number(self, sql):
        return int(self.ask(sql) or 0)

    def fetches(self):
        with urllib.request.urlopen(self.platform.settings["CAIEXPORT_BASE_URL"] + "/_simulator/state") as answer:
            return json.load(answer)["requests"].get(FETCHES, 0)

    def started(self, process, files=3):
        """A slow run that has brought some files."""
        def holds():
            if process.poll() is not None:
                raise services.Failed(f"ended with {process.returncode}: {process.communicate()}")
            there = self.ask("SELECT to_regclass('scale_effect') IS NOT NULL AND to_regclass('file') IS NOT NULL") == "t"
            return there and self.number("SELECT count(*) FROM scale_effect") >= files
        services.wait_for(f"{files} files", holds)

    def ended(self, process, limit=60):
        process.out, process.err = process.communicate(timeout=limit)
        return process

    def goes_on(self, host, *words):
        """Tried again and again, as by a scheduler, while another one has it. When the try that worked began."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            began = time.monotonic()
            process = host.run(*words)
            if process.returncode != 10:
                return process, began
        raise services.Failed("it never got it")

    def assert_one_line(self, process, *words):
        lines = process.err.strip().splitlines()
        self.assertLessEqual(len(lines), 2, process.err)  # and a hint
        for word in words:
            self.assertIn(word, process.err)
        self.assertNotIn(SECRET, process.err + process.out)

    def assert_whole(self, output, effects=FILES):
        """All files there, and each was recorded as brought once."""
        self.assertEqual(len([file for file in output.rglob("part-*") if file.suffix == ".parquet" or file.is_file()]), FILES)
        self.assertEqual(list(output.rglob("*.part")), [])
        self.assertEqual(self.ask("SELECT count(*), count(DISTINCT file) FROM scale_effect"), f"{effects}|{effects}")

    # --- two of them

    def test_one_of_two_syncs_works_and_the_other_ends_with_10(self):
        first = self.one.start(*sync(*SLOW))
        self.started(first)
        second = self.other.run(*sync())
        self.assertEqual(second.returncode, 10, second.err)
        self.assert_one_line(second, f"process {first.pid} on ", "is being synced")
        self.assertEqual(self.ended(first).returncode, 0, first.err)
        self.assert_whole(self.one.output)
        self.assertEqual(self.ask("SELECT count(*) FROM worker"), "0")

    def test_a_killed_one_is_followed_within_its_lease_and_nothing_is_fetched_twice(self):
        second = Host(self, "second", output=self.one.output)  # a shared file system
        first = self.one.start(*sync(*SLOW))
        self.started(first, 10)
        first.kill()
        killed = time.monotonic()
        first.communicate()
        followed, began = self.goes_on(second, *sync())
        self.assertEqual(followed.returncode, 0, followed.err)
        self.assertLessEqual(began - killed, LEASE_S + 2)
        self.assertGreater(began - killed, LEASE_S / 10, "it was not held at all")
        self.assert_whole(self.one.output)
        self.assertEqual(self.number("SELECT count(*) FROM job"), 1)
        # Those that were under way are gone on with.
        self.assertLessEqual(self.fetches(), FILES + 20)

    def test_a_stopped_one_loses_its_lease_and_ends_with_7(self):
        first = self.one.start(*sync(*SLOW))
        self.started(first, 5)
        first.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        followed, began = self.goes_on(self.other, *sync())
        self.assertEqual(followed.returncode, 0, followed.err)
        self.assertLessEqual(began - stopped, LEASE_S + 2)
        before = self.ask("SELECT string_agg(CAST(job AS text), chr(10) ORDER BY id) FROM job")
        effects = self.number("SELECT count(*) FROM scale_effect")
        first.send_signal(signal.SIGCONT)
        self.assertEqual(self.ended(first).returncode, 7, first.err)
        self.assert_one_line(first, "others may have what it held", "the same command goes on")
        self.assertEqual(self.ask("SELECT string_agg(CAST(job AS text), chr(10) ORDER BY id) FROM job"), before)
        self.assertEqual(self.number("SELECT count(*) FROM scale_effect"), effects, "nothing was recorded any more")
        again = self.one.run(*sync())
        self.assertEqual(again.returncode, 0, again.err)
        self.assert_whole(self.one.output, effects=2 * FILES)  # each host has a folder of its own

    def test_a_stopped_one_keeps_its_folder(self):
        second = Host(self, "second", output=self.one.output)
        first = self.one.start(*sync(*SLOW))
        self.started(first, 5)
        first.send_signal(signal.SIGSTOP)
        services.wait_for("the lease's end", lambda: self.number(
            "SELECT count(*) FROM worker WHERE until > extract(epoch FROM clock_timestamp()) * 1000") == 0)
        refused = second.run(*sync())
        self.assertEqual(refused.returncode, 10, refused.err)
        self.assertIn("folder", refused.err)
        first.send_signal(signal.SIGCONT)
        self.assertEqual(self.ended(first).returncode, 7, first.err)
        followed, _ = self.goes_on(second, *sync())
        self.assertEqual(followed.returncode, 0, followed.err)
        self.assert_whole(self.one.output)

    def test_cancel_on_another_host_is_obeyed(self):
        first = self.one.start("dataset", "--id", sandbox.SCORE_DATASET, "--verify", "size", "--quiet", *SLOW)
        self.started(first)
        asked = time.monotonic()
        cancelled = self.other.run("cancel", "1")
        self.assertEqual(cancelled.returncode, 0, cancelled.err)
        self.assertNotEqual(self.ended(first).returncode, 0)
        self.assertLess(time.monotonic() - asked, 10)
        self.assertEqual(self.ask("SELECT cancelled FROM job"), "1")

    # --- the server

    def test_a_restart_in_mid_run_costs_nothing(self):
        first = self.one.start(*sync(*SLOW))
        self.started(first, 5)
        self.server.halt()
        self.server.serve()
        self.ended(first)
        self.assertIn(first.returncode, (0, 7), first.err)
        again = self.goes_on(self.one, *sync())[0]
        self.assertEqual(again.returncode, 0, again.err)
        self.assert_whole(self.one.output)

    def test_a_server_that_stays_away_ends_the_run_with_7(self):
        first = self.one.start(*sync(*SLOW))
        self.started(first, 5)
        self.server.halt()
        try:
            self.ended(first)
            self.assertEqual(first.returncode, 7, first.err)
            self.assert_one_line(first)
            for words in (["history"], ["status"], sync(), ["doctor"]):
                refused = self.one.run(*words)
                self.assertEqual(refused.returncode, 7, refused.err + refused.out)
        finally:
            self.server.serve()
        again, _ = self.goes_on(self.one, *sync())
        self.assertEqual(again.returncode, 0, again.err)
        self.assert_whole(self.one.output)

    def test_eight_that_begin_together_make_the_tables_once(self):
        hosts = [Host(self, f"host{n}") for n in range(8)]
        running = [host.start("dataset", "--id", sandbox.SCORE_DATASET, "--verify", "size", "--quiet") for host in hosts]
        for process in running:
            self.assertEqual(self.ended(process).returncode, 0, process.err)
        self.assertEqual(self.ask("SELECT count(*), count(DISTINCT id) FROM job WHERE status = 'succeeded'"), "8|8")

    # --- what is refused, each in one line and before anything is fetched

    def refused(self, code, *words, **settings):
        home = Host(self, f"refused{time.monotonic_ns()}", **settings)
        for command in (sync(), ["history"]):
            process = home.run(*command)
            self.assertEqual(process.returncode, code, process.err)
            self.assert_one_line(process, *words)
            self.assertEqual(self.fetches(), 0)

    def test_addresses(self):
        self.refused(2, "mysql://", CAIEXPORT_DATABASE="mysql://host/name")
        self.refused(2, "holds a password", ".pgpass", CAIEXPORT_DATABASE=f"postgresql://me:{SECRET}@host/name")
        self.refused(2, "holds a password", CAIEXPORT_DATABASE=f"postgresql://host/name?password={SECRET}")
        self.refused(2, "can read", CAIEXPORT_DATABASE=f"postgresql://me:{SECRET}@host/name?nonsense=1")
        self.refused(2, "no_such_database", CAIEXPORT_DATABASE="postgresql:///no_such_database")
        self.refused(7, "no-such-host.invalid", CAIEXPORT_DATABASE="postgresql://no-such-host.invalid/name")
        self.refused(7, "refused", CAIEXPORT_DATABASE="postgresql://127.0.0.1:1/name")

    def test_passwords(self):
        address = f"postgresql://caiexport@{self.server.settings['SCALE_POSTGRESQL_TCP']}/{self.database}"
        passwords = self.folder / "passwords"
        passwords.touch(mode=0o600)
        passwords.write_text(f"*:*:*:*:{SECRET}\n")
        self.refused(2, "password authentication failed", CAIEXPORT_DATABASE=address, PGPASSFILE=str(passwords))
        self.refused(2, "PGPASSFILE", CAIEXPORT_DATABASE=address, PGPASSFILE="/nonexistent")
        # Nothing but loopback and sockets is spoken to in the clear, whatever the address says.
        port = self.server.settings["SCALE_POSTGRESQL_TCP"].rsplit(":", 1)[1]
        for more in ("", "&sslmode=disable", "&sslmode=prefer"):
            distant = f"postgresql://caiexport@db.example:{port}/{self.database}?hostaddr=127.0.0.1{more}"
            self.refused(2, "SSL", CAIEXPORT_DATABASE=distant)
        good = Host(self, "good", CAIEXPORT_DATABASE=address)
        self.assertEqual(good.run(*sync()).returncode, 0)

    def test_a_role_that_may_only_read(self):
        self.assertEqual(self.one.run(*sync()).returncode, 0)
        self.ask("CREATE ROLE reader LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
        reader = Host(self, "reader", PGUSER="reader")
        self.assertEqual(reader.run("history").returncode, 0)
        self.assertEqual(reader.run("show", "1").returncode, 0)
        refused = reader.run(*sync())
        self.assertEqual(refused.returncode, 2, refused.err)
        self.assert_one_line(refused, "permission denied", "its owner has to give the role")
        self.ask("REASSIGN OWNED BY reader TO caiexport; DROP OWNED BY reader; DROP ROLE reader")

    def test_a_newer_caiexport_and_another_program(self):
        self.assertEqual(self.one.run(*sync()).returncode, 0)
        self.ask("UPDATE caiexport_schema SET version = 999")
        newer = self.other.run("history")
        self.assertEqual(newer.returncode, 2, newer.err)
        self.assert_one_line(newer, "newer caiexport")
        self.ask("DROP TABLE caiexport_schema")
        foreign = self.other.run(*sync())
        self.assertEqual(foreign.returncode, 9, foreign.err)
        self.assert_one_line(foreign, "another program")

    def test_a_folder_whose_name_is_not_utf8(self):
        output = os.fsencode(self.folder) + b"/sc\xff\xfeores"
        os.mkdir(output)
        self.one.settings["CAIEXPORT_OUTPUT"] = os.fsdecode(output)
        refused = self.one.run(*sync())
        self.assertEqual(refused.returncode, 2, refused.err)
        self.assert_one_line(refused, "UTF-8")
        self.assertEqual(self.fetches(), 0)

    # --- all commands

    def test_what_one_host_does_the_other_sees(self):
        self.assertEqual(self.other.run("history").returncode, 0)
        self.assertEqual(self.other.run("cancel", "1").returncode, 4)
        self.assertEqual(self.number("SELECT count(*) FROM pg_class WHERE relname = 'job'"), 0, "looking makes nothing")
        self.assertIn("its tables will be made", self.other.run("doctor").out)
        first = self.one.run(*sync())
        self.assertEqual(first.returncode, 0, first.err)
        history = json.loads(self.other.run("history", "--format", "json").out)
        self.assertEqual([job["status"] for job in history], ["succeeded"])
        self.assertEqual(json.loads(self.other.run("show", "1", "--format", "json").out)["job"], 1)
        self.assertEqual(self.other.run("status").returncode, 0)
        self.assertEqual(self.other.run("verify", "1").returncode, 0)
        self.assertEqual(self.one.run("resume", "1").returncode, 0)
        sql = self.other.run("history", "--format", "json", "--sql",
                             "SELECT status, batch_ids, created_at FROM jobs WHERE job IN (SELECT job FROM files)")
        self.assertEqual(sql.returncode, 0, sql.err)
        self.assertEqual(json.loads(sql.out)[0]["status"], "succeeded")
        refused = self.other.run("history", "--sql", "SELECT * FROM public.job")
        self.assertEqual(refused.returncode, 2)
        self.assert_one_line(refused, "the table job")
        newest = len(list((TESTS.parent / "migrations").glob("*.sql")))
        for word in (f"schema {newest}", "PostgreSQL 1", "answers in", "not encrypted"):
            self.assertIn(word, self.other.run("doctor").out)
        words = ["history", "prune", "--before", "0d", "--format", "json"]
        self.assertEqual(self.other.run(*words, "--dry-run").returncode, 0)
        pruned = self.other.run(*words)
        self.assertEqual(pruned.returncode, 0, pruned.err)


def main(arguments):
    if not services.find(services.PostgreSQL.INITDB):
        print("NOT CHECKED: the record on a server, since PostgreSQL is missing (scripts/setup installs it)")
        return 77
    HostsTest.programs = pathlib.Path(arguments[0]).resolve()
    services.end_by_signals()
    services.adopt_orphans()
    try:
        ran = unittest.main(argv=["hosts_test.py", *arguments[1:]], verbosity=2, exit=False)
        return 0 if ran.result.wasSuccessful() and ran.result.testsRun > 0 else 1
    finally:
        services.end_descendants()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
