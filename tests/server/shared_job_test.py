#!/usr/bin/env python3
"""Several real workers do one job (--share), beside one PostgreSQL and one simulator; they are killed, frozen, stopped, and the
database is restarted under them.

usage: shared_job_test.py PROGRAMS [UNITTEST-OPTION...]     PROGRAMS: the folder of the programs that were built

Exit code 77: not checked, since PostgreSQL is not installed.
"""

import hashlib
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

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "scale"))
import services  # noqa: E402  pylint: disable=wrong-import-position

NOT_CHECKED = 77
DATASET = "5f0000000000000000000001"
SEGMENT = "7c5f7f05-5a50-4ba0-a6ee-1fd48c0f0e5a"
BYTES_ROUTE = "GET /data/foundation/export/files/{id}?path"
WORKERS = 4
LEASE_S = 3
FROZEN_IS_LOST = "another worker's|not heard of"


class SharedJobTest(unittest.TestCase):
    programs = None
    server = None
    made = 0

    @classmethod
    def setUpClass(cls):
        cls.services = services.Together(["postgresql"])
        cls.services.__enter__()
        cls.addClassCleanup(cls.services.__exit__)
        cls.server = cls.services.started[0]

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="caiexport-shared-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        SharedJobTest.made += 1
        self.schema = f"t{self.made}"
        self.psql(f"CREATE SCHEMA {self.schema}")
        self.processes = []
        self.addCleanup(self.end_all)

    # --- the platform and the workers

    def end_all(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()

    def psql(self, sql):
        done = subprocess.run(["psql", "-Atqc", sql], env=self.server.environment(), text=True, capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def record(self, sql):
        return self.psql(f"SET search_path = {self.schema}; {sql}")

    def simulate(self, *arguments, scenario=None):
        port = self.folder / "port"
        words = [self.programs / "caiexport-simulator", "--port-file", port, "--data-dir", self.folder / "data", *arguments]
        if scenario:
            (self.folder / "scenario.json").write_text(json.dumps(scenario))
            words += ["--scenario", self.folder / "scenario.json"]
        self.processes.append(subprocess.Popen(words, stdout=subprocess.DEVNULL))
        self.url = "http://127.0.0.1:" + services.wait_for("the simulator", lambda: port.exists() and port.read_text().strip())

    def platform(self):
        with urllib.request.urlopen(self.url + "/_simulator/state") as answer:
            return json.load(answer)

    def fetched(self):
        return self.platform()["requests"].get(BYTES_ROUTE, 0)

    def settings(self, **more):
        return {**self.server.environment(), "HOME": str(self.folder), "CAIEXPORT_BASE_URL": self.url, "CAIEXPORT_IMS_URL": self.url,
                "CAIEXPORT_CLIENT_ID": "sim-client", "CAIEXPORT_CLIENT_SECRET": "sim-secret",
                "CAIEXPORT_ORG_ID": "SIMULATOR@AdobeOrg", "CAIEXPORT_SANDBOX": "prod", "CAIEXPORT_RETRY_WAIT": "0.01",
                "CAIEXPORT_OUTPUT": str(self.folder / "out"), "CAIEXPORT_LEASE": f"{LEASE_S}s",
                "CAIEXPORT_DATABASE": f"postgresql:///?options=-csearch_path%3D{self.schema}", **more}

    def start(self, *options, command="dataset", ident=DATASET, **settings):
        log = open(self.folder / f"worker{len(self.processes)}.log", "w+b")
        self.addCleanup(log.close)
        process = subprocess.Popen([self.programs / "caiexport", command, "--id", ident, *options],
                                   env=self.settings(**settings), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                   cwd=self.folder)
        process.log = log.name
        self.processes.append(process)
        return process

    def start_workers(self, *options, count=WORKERS, share="k1", **more):
        return [self.start("--share", share, *options, **more) for _ in range(count)]

    def run_one(self, *options, **more):
        process = self.start(*options, **more)
        return process.wait(120), self.said(process)

    @staticmethod
    def said(process):
        return pathlib.Path(process.log).read_text(errors="replace")

    def codes(self, workers):
        return [worker.wait(120) for worker in workers]

    def everything_said(self, workers):
        return "\n".join(f"[{worker.returncode}] {self.said(worker)}" for worker in workers)

    def wait_until_fetched(self, files):
        services.wait_for(f"{files} files to be on record", lambda: self.downloaded() >= files)

    def downloaded(self):
        try:
            return int(self.record("SELECT count(*) FROM file WHERE state IN ('downloaded', 'verified')"))
        except AssertionError:  # there is no table yet
            return 0

    def head(self):
        """The process of the worker that has the job's lock."""
        return int(self.record("SELECT pid FROM lease JOIN worker ON worker.id = lease.worker JOIN job ON job.id = lease.number"))

    # --- what must hold in the end

    def require_whole(self, workers, files, extra=0):
        """Every file is on record and on disk, once, with the bytes that the platform has; nothing else is there.
        `extra`: requests beyond one for each file, of workers that died."""
        said = self.everything_said(workers)
        self.assertEqual(self.record("SELECT status FROM job"), "succeeded", said)
        self.assertEqual(self.record("SELECT count(*), count(DISTINCT (batch, name)), count(sha256), count(worker)"
                                     " FROM file WHERE state = 'verified'"), f"{files}|{files}|{files}|0", said)
        self.assertGreaterEqual(self.fetched(), files)
        self.assertLessEqual(self.fetched(), files + extra, said)
        batch = self.batch_in("out")
        self.assertTrue((batch / "_manifest.json").exists() and (batch / "_SUCCESS").exists(), said)
        left = [str(path) for path in batch.rglob("*") if path.name.endswith(".part")]
        self.assertEqual(left, [], said)
        recorded = dict(row.split("|") for row in
                        self.record("SELECT name, encode(sha256, 'hex') FROM file").splitlines())
        here = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in batch.iterdir() if path.name in recorded}
        self.assertEqual(here, recorded, said)
        self.assertEqual(self.reference(), sorted(recorded.values()))

    def batch_in(self, output):
        batch, = [path for path in (self.folder / output / DATASET).iterdir() if not path.is_symlink() and path.name[0] != "."]
        return batch

    def reference(self):
        """Of the same files, fetched by one worker whose record is a file."""
        code, said = self.run_one("--output", str(self.folder / "alone"), "--verify", "size",
                                  CAIEXPORT_DATABASE=str(self.folder / "alone.db"))
        self.assertEqual(code, 0, said)
        return sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in self.batch_in("alone").iterdir()
                      if path.name[0] != "_")

    # --- tests

    def simulate_files(self, count, size=60_000, **scenario):
        scenario.setdefault("success_marker", False)
        self.simulate("--files", str(count), "--file-bytes", str(size), scenario=scenario)

    def test_four_workers_fetch_each_file_once(self):
        self.simulate_files(200)
        workers = self.start_workers("--verify", "size", "--max-rate", "2M")
        self.assertEqual(self.codes(workers), [0] * WORKERS, self.everything_said(workers))
        self.require_whole(workers, 200)
        self.assertEqual(self.record("SELECT count(*) FROM job"), "1")
        self.assertEqual(self.record("SELECT count(*) FROM worker"), "0")
        # Nobody did it alone.
        self.assertGreater(int(self.record("SELECT count(DISTINCT fence) FROM file")), 1)

    def test_who_comes_when_all_is_done_ends_at_once(self):
        self.simulate_files(8)
        self.assertEqual(self.codes(self.start_workers("--verify", "size", count=2)), [0, 0])
        before = self.platform()["requests"]
        code, said = self.run_one("--share", "k1", "--verify", "size")
        self.assertEqual(code, 0, said)
        self.assertEqual(self.platform()["requests"], before)

    def kill_two(self, when):
        """The head and another one, once so many files are on record."""
        self.simulate_files(240)
        workers = self.start_workers("--verify", "size", "--max-rate", "1500K")
        services.wait_for("a head", self.has_head)
        self.wait_until_fetched(when)
        head = self.head()
        others = [worker for worker in workers if worker.pid != head]
        for victim in [worker for worker in workers if worker.pid == head] + others[:1]:
            victim.kill()
        self.assertEqual(sorted(self.codes(workers)), [-9, -9, 0, 0], self.everything_said(workers))
        self.require_whole(workers, 240, extra=120)

    def test_two_are_killed_as_soon_as_there_is_a_head(self):
        self.kill_two(0)

    def test_two_are_killed_while_all_fetch(self):
        self.kill_two(60)

    def test_two_are_killed_near_the_end(self):
        self.kill_two(220)

    def test_what_is_taken_over_is_taken_over_soon(self):
        self.simulate_files(240)
        workers = self.start_workers("--verify", "size", "--max-rate", "1M", count=2)
        self.wait_until_fetched(20)
        head = self.head()
        victim = next(worker for worker in workers if worker.pid != head)
        number = self.record(f"SELECT id FROM worker WHERE pid = {victim.pid}")
        victim.kill()
        killed = time.monotonic()
        services.wait_for("its files to be taken over", lambda: self.record(
            f"SELECT count(*) FROM file WHERE worker = {number}") == "0")
        self.assertLessEqual(time.monotonic() - killed, LEASE_S + 2)
        self.assertEqual(sorted(self.codes(workers)), [-9, 0], self.everything_said(workers))

    def has_head(self):
        try:
            return self.record("SELECT count(*) FROM lease JOIN job ON job.id = lease.number") == "1"
        except AssertionError:
            return False

    def freeze_the_head(self, workers):
        head = self.head()
        frozen = next(worker for worker in workers if worker.pid == head)
        frozen.send_signal(signal.SIGSTOP)
        return frozen

    def freeze_a_helper(self, workers):
        """One that has files: one that has none just now loses nothing, and ends with 0 when all is done."""
        head = self.head()
        frozen = []

        def found():
            for worker in workers:
                if worker.pid == head:
                    continue
                worker.send_signal(signal.SIGSTOP)
                if self.record("SELECT count(*) FROM file JOIN worker ON worker.id = file.worker"
                               f" WHERE pid = {worker.pid}") != "0":
                    frozen.append(worker)
                    return True
                worker.send_signal(signal.SIGCONT)
            return False

        services.wait_for("a helper that has files", found)
        return frozen[0]

    def freeze_until_all_is_done(self, freeze):
        self.simulate_files(240)
        workers = self.start_workers("--verify", "size", "--max-rate", "1500K")
        self.wait_until_fetched(40)
        frozen = freeze(workers)
        others = [worker for worker in workers if worker is not frozen]
        self.assertEqual(self.codes(others), [0] * (WORKERS - 1), self.everything_said(others))
        frozen.send_signal(signal.SIGCONT)
        self.assertEqual(frozen.wait(60), 7, self.said(frozen))
        self.assertRegex(self.said(frozen), FROZEN_IS_LOST)
        self.require_whole(workers, 240, extra=120)

    def test_a_frozen_head_comes_back_too_late(self):
        self.freeze_until_all_is_done(self.freeze_the_head)

    def test_a_frozen_helper_comes_back_too_late(self):
        self.freeze_until_all_is_done(self.freeze_a_helper)

    def test_a_frozen_worker_comes_back_while_others_work(self):
        self.simulate_files(400)
        workers = self.start_workers("--verify", "size", "--max-rate", "1M")
        self.wait_until_fetched(40)
        frozen = self.freeze_a_helper(workers)
        number = self.record(f"SELECT id FROM worker WHERE pid = {frozen.pid}")
        services.wait_for("its files to be taken over", lambda: self.record(
            f"SELECT count(*) FROM file WHERE worker = {number}") == "0")
        frozen.send_signal(signal.SIGCONT)
        self.assertEqual(frozen.wait(60), 7, self.said(frozen))
        others = [worker for worker in workers if worker is not frozen]
        self.assertEqual(self.codes(others), [0] * (WORKERS - 1), self.everything_said(workers))
        self.require_whole(workers, 400, extra=60)

    def test_one_that_is_told_to_stop_leaves_the_rest_to_the_others(self):
        self.simulate_files(240)
        workers = self.start_workers("--verify", "size", "--max-rate", "1500K")
        self.wait_until_fetched(40)
        head = self.head()
        stopped = next(worker for worker in workers if worker.pid == head)
        stopped.send_signal(signal.SIGTERM)
        codes = self.codes(workers)
        self.assertEqual(sorted(codes), [0, 0, 0, 130], self.everything_said(workers))
        self.require_whole(workers, 240, extra=60)

    def test_cancel_ends_all_alike(self):
        self.simulate_files(240)
        workers = self.start_workers("--verify", "size", "--max-rate", "1M")
        self.wait_until_fetched(40)
        done = subprocess.run([self.programs / "caiexport", "cancel", "1"], env=self.settings(), text=True,
                              capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.codes(workers), [5] * WORKERS, self.everything_said(workers))
        self.assertEqual(self.record("SELECT status FROM job"), "cancelled")

    def test_the_database_is_restarted(self):
        self.simulate_files(240)
        workers = self.start_workers("--verify", "size", "--max-rate", "1500K")
        self.wait_until_fetched(40)
        self.server.halt()
        self.server.serve()
        codes = self.codes(workers)
        self.assertLessEqual(set(codes), {0, 7}, self.everything_said(workers))
        code, said = self.run_one("--share", "k1", "--verify", "size")
        self.assertEqual(code, 0, said)
        self.require_whole(workers, 240, extra=240)

    def test_a_file_that_fails_everywhere_fails_the_job(self):
        self.simulate_files(40, faults=[{"match": {"path": "path=.*0007"}, "times": -1, "do": {"status": 500}}])
        workers = self.start_workers("--verify", "size", "--retries", "1", count=2)
        self.assertEqual(self.codes(workers), [7, 7], self.everything_said(workers))
        self.assertIn("1 of 40 files could not be downloaded", self.everything_said(workers))
        self.assertEqual(self.downloaded(), 39)
        # What could not be had is had by the same line later.
        self.post("/_simulator/scenario", {"faults": []})
        workers = self.start_workers("--verify", "size", count=2)
        self.assertEqual(self.codes(workers), [0, 0], self.everything_said(workers))

    def post(self, path, body):
        with urllib.request.urlopen(urllib.request.Request(self.url + path, json.dumps(body).encode(), {
                "Content-Type": "application/json"})) as answer:
            answer.read()

    def test_a_job_that_failed_for_good_ends_all_alike(self):
        self.simulate_files(4)
        workers = [self.start("--share", "k", "--batch", "nosuchbatch", "--verify", "size") for _ in range(3)]
        self.assertEqual(self.codes(workers), [4, 4, 4], self.everything_said(workers))
        before = self.platform()["requests"]
        code, said = self.run_one("--share", "k", "--batch", "nosuchbatch", "--verify", "size")
        self.assertEqual((code, self.platform()["requests"]), (4, before), said)

    # --- one large file

    LARGE = 70 << 20
    PIECES = 7  # of 16 MiB, and the end of the file twice

    def simulate_a_large_file(self, validators="etag", **scenario):
        self.simulate_files(1, self.LARGE, file_validators=validators, **scenario)
        # The server writes down which piece is said to be here, by whom, however often.
        self.run_one("--share", "nobody", "--batch", "nosuchbatch")
        self.record("DELETE FROM job; CREATE TABLE brought (piece bigint, worker bigint);"
                    " CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
                    " 'BEGIN INSERT INTO brought VALUES (NEW.id, NEW.worker); RETURN NULL; END';"
                    " CREATE TRIGGER note AFTER UPDATE OF sha256 ON file_piece FOR EACH ROW EXECUTE FUNCTION note()")
        self.record(f"ALTER FUNCTION note() SET search_path = {self.schema}")

    def wait_until_brought(self, pieces):
        services.wait_for(f"{pieces} pieces to be on record", lambda: int(self.record("SELECT count(*) FROM brought")) >= pieces)

    def brought(self):
        """How often a piece was said to be here, how many pieces were, by how many workers."""
        return [int(word) for word in self.record("SELECT count(*), count(DISTINCT piece), count(DISTINCT worker) FROM brought").split("|")]

    def holders(self):
        return {int(line) for line in self.record("SELECT DISTINCT pid FROM file_piece JOIN worker ON worker.id = file_piece.worker"
                                                  " WHERE sha256 IS NULL").splitlines()}

    def require_divided(self, workers):
        self.require_whole(workers, 1, extra=1000)
        effects, pieces, _ = self.brought()
        self.assertEqual((effects, pieces), (self.PIECES, self.PIECES), self.everything_said(workers))
        self.assertEqual(self.record("SELECT count(*) FROM file_piece"), "0")

    def test_a_large_file_is_fetched_by_all_of_them(self):
        for validators in ("etag", "none"):
            with self.subTest(validators=validators):
                self.end_all()
                self.setUp()
                self.simulate_a_large_file(validators)
                workers = self.start_workers("--verify", "size", "--max-rate", "8M")
                self.assertEqual(self.codes(workers), [0] * WORKERS, self.everything_said(workers))
                # What lies in sockets whose rest another connection fetches was served in vain.
                self.assertLess(self.platform()["file_bytes_served"], self.LARGE * 2)
                self.require_divided(workers)
                self.assertEqual(self.brought()[2], WORKERS)

    def hold_one_that_fetches_a_piece(self, workers, how):
        """Not the head: who verifies is another matter."""
        head = self.head()
        found = []

        def holds():
            found[:] = [worker for worker in workers if worker.pid != head and worker.pid in self.holders()]
            return found

        services.wait_for("a helper that fetches a piece", holds)
        found[0].send_signal(how)
        return found[0]

    def test_one_that_fetches_a_piece_is_killed(self):
        self.simulate_a_large_file()
        workers = self.start_workers("--verify", "size", "--max-rate", "6M")
        self.wait_until_brought(2)
        self.hold_one_that_fetches_a_piece(workers, signal.SIGKILL)
        self.assertEqual(sorted(self.codes(workers)), [-9, 0, 0, 0], self.everything_said(workers))
        self.require_divided(workers)
        self.assertNotEqual(self.record("SELECT count(*) FROM event WHERE what = 'files_taken_over'"), "0")

    def freeze_one_that_fetches_a_piece(self, rate, until):
        self.simulate_a_large_file()
        workers = self.start_workers("--verify", "size", "--max-rate", rate)
        self.wait_until_brought(2)
        frozen = self.hold_one_that_fetches_a_piece(workers, signal.SIGSTOP)
        others = [worker for worker in workers if worker is not frozen]
        until(frozen, others)
        frozen.send_signal(signal.SIGCONT)
        self.assertEqual(frozen.wait(60), 7, self.said(frozen))
        self.assertRegex(self.said(frozen), FROZEN_IS_LOST)
        self.assertEqual(self.codes(others), [0] * (WORKERS - 1), self.everything_said(workers))
        self.require_divided(workers)

    def test_one_that_fetches_a_piece_comes_back_when_all_is_done(self):
        self.freeze_one_that_fetches_a_piece("6M", lambda frozen, others: self.codes(others))

    def test_one_that_fetches_a_piece_comes_back_when_others_have_it(self):
        self.freeze_one_that_fetches_a_piece("3M", lambda frozen, others: services.wait_for(
            "its pieces to be taken over", lambda: frozen.pid not in self.holders()))

    def test_who_puts_a_large_file_together_is_killed_or_comes_back_too_late(self):
        for how, code in ((signal.SIGKILL, -9), (signal.SIGSTOP, 7)):
            with self.subTest(how=how):
                self.end_all()
                self.setUp()
                self.simulate_a_large_file()
                # It is seen at work, however fast the machine is.
                self.record("CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1); RETURN NULL; END';"
                            " CREATE TRIGGER wait AFTER INSERT ON file_range FOR EACH STATEMENT EXECUTE FUNCTION wait()")
                workers = self.start_workers("--verify", "size")
                found = []

                def puts_together():
                    pid = self.record("SELECT pid FROM file JOIN worker ON worker.id = file.worker WHERE EXISTS (SELECT FROM"
                                      " file_piece WHERE file_piece.file = file.id)")
                    found[:] = [worker for worker in workers if str(worker.pid) == pid]
                    for worker in found:
                        worker.send_signal(how)
                    return found or self.downloaded()

                services.wait_for("one to put the file together", puts_together)
                self.assertTrue(found, "it was done before it was seen")
                others = [worker for worker in workers if worker is not found[0]]
                self.assertEqual(self.codes(others), [0] * (WORKERS - 1), self.everything_said(others))
                found[0].send_signal(signal.SIGCONT)
                self.assertEqual(found[0].wait(60), code, self.said(found[0]))
                self.require_divided(workers)

    def test_a_large_file_that_is_rewritten_meanwhile_starts_anew(self):
        for validators in ("etag", "none"):
            with self.subTest(validators=validators):
                self.end_all()
                self.setUp()
                self.simulate_a_large_file(validators)
                workers = self.start_workers("--verify", "size", "--max-rate", "16M")
                self.wait_until_brought(1)
                self.post("/_simulator/scenario", {"file_version": 1})
                self.assertEqual(self.codes(workers), [0] * WORKERS, self.everything_said(workers))
                self.require_whole(workers, 1, extra=1000)
                self.assertEqual(self.record("SELECT pieces_missing FROM file"), "-1")
                self.assertRegex(self.record("SELECT detail FROM event WHERE what = 'file_failed'"), "rewritten|begins at 0")

    def test_a_large_file_of_a_server_without_ranges_is_fetched_by_one(self):
        self.simulate_a_large_file(faults=[{"match": {"path": "path="}, "times": -1, "do": {"ignore_range": True}}])
        workers = self.start_workers("--verify", "size", count=2)
        self.assertEqual(self.codes(workers), [0, 0], self.everything_said(workers))
        self.require_whole(workers, 1, extra=1000)
        self.assertEqual((self.record("SELECT pieces_missing FROM file"), self.brought()[0]), ("-1", 0))

    def test_pieces_that_are_there_are_there_for_the_next(self):
        self.simulate_a_large_file()
        workers = self.start_workers("--verify", "size", "--max-rate", "4M", count=2)
        self.wait_until_brought(3)
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
        self.assertEqual(self.codes(workers), [130, 130], self.everything_said(workers))
        left = [path.name for path in self.batch_in("out").glob("*.part")]
        self.assertEqual(len(left), self.brought()[0], "whole pieces, and nothing else")
        listed = subprocess.run([self.programs / "caiexport", "history"], env=self.settings(), text=True, capture_output=True,
                                check=False).stdout
        here = int(self.record('SELECT sum("end" - first) FROM file_piece WHERE sha256 IS NOT NULL AND turn < 2'))
        self.assertIn(f"{here / 1e6:.1f} MB", listed)
        before = self.platform()["file_bytes_served"]
        workers = self.start_workers("--verify", "size", count=2)
        self.assertEqual(self.codes(workers), [0, 0], self.everything_said(workers))
        self.assertLess(self.platform()["file_bytes_served"] - before, self.LARGE - (20 << 20))
        self.require_divided(workers)

    def test_all_go_slower_when_one_is_asked_to(self):
        self.simulate_files(300, faults=[{"match": {"path": "path="}, "skip": 50, "times": 1,
                                          "do": {"status": 429, "retry_after": 1}}])
        workers = self.start_workers("--verify", "size", "--max-rate", "2M", count=2)
        self.assertEqual(self.codes(workers), [0, 0], self.everything_said(workers))
        self.assertEqual(self.record("SELECT count(throttled_at) FROM job"), "1")

    def test_the_connections_are_of_the_job(self):
        self.simulate_files(300)
        workers = self.start_workers("--verify", "size", "--max-rate", "2M", "--connections-max", "8")
        self.assertEqual(self.codes(workers), [0] * WORKERS, self.everything_said(workers))
        # Until a worker has looked who else is there, it may take the share of one that has just come.
        self.assertLessEqual(self.platform()["most_in_flight"], 8 + WORKERS)

    def test_a_key_is_of_one_request(self):
        self.simulate_files(4)
        self.assertEqual(self.run_one("--share", "k1", "--verify", "size")[0], 0)
        code, said = self.run_one("--share", "k1", "--verify", "size", "--limit", "2")
        self.assertEqual(code, 2, said)
        self.assertIn("--limit differs", said)
        self.assertEqual(self.run_one("--share", "k2", "--verify", "size", "--limit", "2")[0], 0)
        self.assertEqual(self.record("SELECT string_agg(share, ',' ORDER BY share) FROM job"), "k1,k2")

    def test_what_can_not_be_shared(self):
        self.simulate_files(4)
        file = str(self.folder / "jobs.db")
        for words, settings, reason in (
                (["--share", "k"], {"CAIEXPORT_DATABASE": file}, "is a file"),
                ([], {"CAIEXPORT_DATABASE": file, "CAIEXPORT_SHARE": "k"}, "CAIEXPORT_SHARE: several workers"),
                (["--share", "auto"], {}, "no engine says"),
                (["--share", " "], {}, "is empty"),
                (["--share", "k" * 201], {}, "longer than 200 bytes")):
            with self.subTest(words=words, settings=settings):
                code, said = self.run_one(*words, **settings)
                self.assertEqual(code, 2, said)
                self.assertIn(reason, said)
        self.assertFalse(pathlib.Path(file).exists())
        self.assertEqual(self.platform()["tokens_issued"], 0)

    def test_engines_name_their_tasks(self):
        self.simulate_files(4)
        for settings, key in (({"SLURM_ARRAY_JOB_ID": "4711"}, "4711"),
                              ({"AWS_BATCH_JOB_ID": "5e8c-11:3"}, "5e8c-11"),
                              ({"JOB_NAME": "caiexport-x7k2"}, "caiexport-x7k2"),
                              ({"AIRFLOW_CTX_DAG_RUN_ID": "scheduled__2026-11-27"}, "scheduled__2026-11-27"),
                              ({"CAIEXPORT_SHARE": "mine", "JOB_NAME": "x"}, "mine")):
            words = [] if "CAIEXPORT_SHARE" in settings else ["--share", "auto"]
            code, said = self.run_one("--verify", "size", *words, **settings)
            self.assertEqual(code, 0, said)
            self.assertEqual(self.record("SELECT share FROM job ORDER BY id DESC LIMIT 1"), key)
        # Nobody asked for it.
        self.assertEqual(self.run_one("--verify", "size", SLURM_ARRAY_JOB_ID="4711")[0], 0)
        self.assertEqual(self.record("SELECT share IS NULL FROM job ORDER BY id DESC LIMIT 1"), "t")

    def test_show_tells_who_works(self):
        self.simulate_files(200)
        workers = self.start_workers("--verify", "size", "--max-rate", "1M")
        self.wait_until_fetched(20)
        done = subprocess.run([self.programs / "caiexport", "show", "--last", "--format", "json"], env=self.settings(),
                              text=True, capture_output=True, check=False)
        shown = json.loads(done.stdout)
        self.assertEqual(shown["share"], "k1")
        self.assertEqual(len(shown["workers"]), WORKERS)
        self.assertEqual(sum(worker["head"] for worker in shown["workers"]), 1)
        self.assertGreater(sum(worker["files_under_way"] for worker in shown["workers"]), 0)
        self.assertEqual(self.codes(workers), [0] * WORKERS, self.everything_said(workers))

    def test_an_export_is_asked_for_once(self):
        self.simulate_files(4, export_files=20)
        workers = self.start_workers("--verify", "size", "--poll-interval", "100ms", "--reuse", command="segment", ident=SEGMENT)
        self.assertEqual(self.codes(workers), [0] * WORKERS, self.everything_said(workers))
        state = self.platform()
        self.assertEqual((state["export_jobs_accepted"], state["datasets_created"]), (1, 1))
        self.assertEqual(self.record("SELECT count(*), count(DISTINCT name) FROM file WHERE state = 'verified'"), "20|20")

    def test_sync_together(self):
        self.simulate_files(60)
        workers = self.start_workers("--verify", "size", "--max-rate", "1M", command="sync")
        self.assertEqual(self.codes(workers), [0] * WORKERS, self.everything_said(workers))
        batches = int(self.record("SELECT count(*) FROM job WHERE status = 'succeeded'"))
        self.assertGreater(batches, 1)
        self.assertEqual(self.record("SELECT count(DISTINCT (batch.remote_id)) FROM batch"), str(batches))
        self.assertEqual(self.fetched(), 60 * batches, self.everything_said(workers))


def main(programs, *options):
    if not services.find(services.PostgreSQL.INITDB):
        print("NOT CHECKED: jobs that several workers do, since PostgreSQL is missing (scripts/setup installs it)")
        return NOT_CHECKED
    SharedJobTest.programs = pathlib.Path(programs).resolve()
    services.end_by_signals()
    services.adopt_orphans()
    try:
        program = unittest.main(module=__name__, argv=["shared_job_test.py", "-v", *options], exit=False)
        return 0 if program.result.wasSuccessful() and program.result.testsRun > 0 else 1
    finally:
        services.end_descendants()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
