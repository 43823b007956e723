"""The services that other tests stand on: they start, do what is asked of them, and are gone afterwards."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

import services

HERE = pathlib.Path(__file__).resolve().parent


class Case(unittest.TestCase):
    """One service for all tests of a class; those that lack its packages are skipped."""

    SERVICE = services.Service

    @classmethod
    def setUpClass(cls):
        if cls.SERVICE.missing():
            raise unittest.SkipTest("not installed: " + " ".join(cls.SERVICE.missing()))
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.folder.chmod(0o711)
        cls.service = cls.SERVICE(cls.folder).__enter__()
        cls.addClassCleanup(cls.service.stop)

    def run_beside(self, *command, **more):
        environment = {**self.service.environment(), "HOME": str(self.folder), **more}
        return subprocess.run(command, env=environment, cwd=self.folder, text=True, capture_output=True, check=False)

    def output_of(self, *command, **more):
        done = self.run_beside(*command, **more)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout


class PostgreSQLTest(Case):
    SERVICE = services.PostgreSQL

    def test_keeps_what_was_committed_when_it_is_ended_without_notice(self):
        self.output_of("psql", "-qc", "CREATE TABLE kept AS SELECT 7 AS value")
        self.service.halt()
        self.assertNotEqual(self.run_beside("psql", "-c", "SELECT 1").returncode, 0)
        self.service.serve()
        self.assertEqual(self.output_of("psql", "-Atc", "SELECT value FROM kept").strip(), "7")

    def test_wants_the_password_on_loopback(self):
        address = f"postgresql://caiexport@{self.service.settings['SCALE_POSTGRESQL_TCP']}/caiexport"
        self.assertEqual(self.output_of("psql", "-Atwc", "SELECT 7", address).strip(), "7")
        refused = self.run_beside("psql", "-wc", "SELECT 7", address, PGPASSFILE="/dev/null")
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("no password supplied", refused.stderr)


class SwiftTest(Case):
    SERVICE = services.Swift

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.source = cls.folder / "source"
        (cls.source / "a=b c+d").mkdir(parents=True)
        for name, size in (("a=b c+d/one", 100_000), ("two", 0), ("a=b c+d/large", 11 << 20)):
            (cls.source / name).write_bytes(os.urandom(size))
        done = subprocess.run(["rclone", "mkdir", "swift:lake"], env=cls.service.environment(), check=False)
        assert done.returncode == 0

    def rclone(self, *words, **more):
        return self.run_beside("rclone", "--retries", "1", "--low-level-retries", "1", *words, **more)

    def test_keeps_what_rclone_copies_in_parts_too(self):
        done = self.rclone("copy", "--checksum", "--s3-upload-cutoff", "5M", "--s3-chunk-size", "5M", self.source, "swift:lake/all")
        self.assertEqual(done.returncode, 0, done.stderr)
        done = self.rclone("check", self.source, "swift:lake/all")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("3 matching files", done.stderr)

    def test_refuses_a_wrong_secret(self):
        done = self.rclone("copy", self.source, "swift:lake/none", RCLONE_CONFIG_SWIFT_SECRET_ACCESS_KEY="wrong")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("status code: 403", done.stderr)
        self.assertEqual(self.rclone("lsf", "swift:lake/none").stdout, "")


class SlurmTest(Case):
    """Tasks that are queued again: engines_test. A node that dies: scale_out_test."""

    SERVICE = services.Slurm

    def test_runs_an_array_on_four_nodes(self):
        output = self.folder / "output"
        job = self.output_of("sbatch", "--parsable", "-a0-3", "--open-mode=append", "-o", str(output), "--wrap",
                             "echo $SLURMD_NODENAME").strip()
        self.service.wait_for_tasks(job)
        self.assertEqual(sorted(output.read_text().split()), ["n1", "n2", "n3", "n4"])


class StarterTest(unittest.TestCase):
    """services.py as a program."""

    def run_starter(self, *words):
        return subprocess.run([sys.executable, HERE / "services.py", *words], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)

    def test_ends_as_the_command_does_and_leaves_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o711)
            done = subprocess.run([sys.executable, HERE / "services.py", "postgresql", "bash", "-c",
                                   "psql -qAtc 'SELECT pg_backend_pid()'; (setsid sleep 1000 >/dev/null &); exit 7"],
                                  env={**os.environ, "TMPDIR": folder}, text=True, stdout=subprocess.PIPE, check=False)
            self.assertEqual(done.returncode, 7)
            self.assertEqual(os.listdir(folder), [])
        self.assertFalse(os.path.exists(f"/proc/{done.stdout.strip()}"))
        self.assertNotIn(b"sleep\x001000", running())

    def test_a_signal_ends_it_and_all_of_it(self):
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o711)
            starter = subprocess.Popen([sys.executable, HERE / "services.py", "postgresql", "bash", "-c", "echo; sleep 1001"],
                                       env={**os.environ, "TMPDIR": folder}, stdout=subprocess.PIPE)
            starter.stdout.readline()
            starter.terminate()
            self.assertEqual(starter.wait(services.LIMIT_S), 128 + 15)
            starter.stdout.close()
            self.assertEqual(os.listdir(folder), [])
        self.assertNotIn(b"sleep\x001001", running())

    def test_refuses_what_it_does_not_know(self):
        self.assertEqual(self.run_starter("swift,nothing", "true").returncode, 2)
        self.assertEqual(self.run_starter("swift").returncode, 2)


class RunnerTest(unittest.TestCase):
    """run.py, which scripts/check --scale is."""

    def test_a_signal_ends_it_and_all_of_it(self):
        for how, code in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
            with tempfile.TemporaryDirectory() as folder:
                os.chmod(folder, 0o711)
                runner = subprocess.Popen([sys.executable, HERE / "run.py", os.environ["SCALE_PROGRAMS"], "-k", "SlurmTest"],
                                          env={**os.environ, "TMPDIR": folder}, stdout=subprocess.DEVNULL,
                                          stderr=subprocess.DEVNULL, start_new_session=True)
                services.wait_for("the controller", lambda: list(pathlib.Path(folder).rglob("slurmctld.log")))
                # As a terminal does it: to all that are in front.
                (os.kill if how == signal.SIGKILL else os.killpg)(runner.pid, how)
                self.assertEqual(runner.wait(services.LIMIT_S), code)
                services.wait_for("its folder to go", lambda: os.listdir(folder) == [])
                self.assertFalse([line for line in running() if folder.encode() in line])


def running():
    """The command lines of all processes."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().rstrip(b"\0"))
        except OSError:
            pass
    return found
