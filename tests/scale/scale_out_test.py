"""Several workers on one job, in small: scripts/bench scale-out does the same at its full size."""

import os
import pathlib
import tempfile
import unittest

import namespaces
import scale_out
import services

FILES, FILE_BYTES = 200, 256 << 10
# After so many something happens to a worker.
SOME = 40
# Of 4: what begins and ends a job weighs more in a small one, and more yet while other programs run.
LEAST_RATIO = 2.5
# Eight pieces, two for each.
LARGE_BYTES = 128 << 20
LEAST_RATIO_OF_ONE_FILE = 2.2
MOST_MEBIBYTES = 64


def world_of(test, files, file_bytes, rate):
    """For all tests of a class."""
    programs = os.environ["SCALE_PROGRAMS"]
    why = namespaces.why_no_links()
    if not why and services.PostgreSQL.missing():
        why = "not installed: postgresql"
    if why:
        raise unittest.SkipTest(why)
    folder = tempfile.TemporaryDirectory()
    test.addClassCleanup(folder.cleanup)
    os.chmod(folder.name, 0o711)
    world = scale_out.World(programs, pathlib.Path(folder.name), files, file_bytes, rate=rate).__enter__()
    test.addClassCleanup(world.__exit__)
    return world


class LargeFile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = world_of(cls, 1, LARGE_BYTES, "40mbit")

    def test_four_fetch_one_file_in_much_less_time_than_one(self):
        alone = scale_out.run_apart(self.world, 1)
        job = self.world.job()
        job.start(4)
        outcome = job.wait()
        said = "".join(worker.log.read_text() for worker in job.workers)
        self.assertEqual((outcome.wrong, outcome.codes), ([], [0] * 4), said)
        self.assertEqual((outcome.effects, outcome.distinct, outcome.files), (1, 1, 1), said)
        self.assertGreaterEqual(alone / outcome.seconds, LEAST_RATIO_OF_ONE_FILE)
        self.assertLessEqual(outcome.mebibytes, MOST_MEBIBYTES)


class Workers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = world_of(cls, FILES, FILE_BYTES, "20mbit")
        cls.alone = cls.world.job()
        cls.alone.start(1)
        cls.one = cls.alone.wait()

    def assert_whole(self, outcome, job):
        said = "".join(worker.log.read_text() for worker in job.workers)
        self.assertEqual(outcome.wrong, [], said)
        self.assertEqual((outcome.effects, outcome.distinct, outcome.files), (FILES, FILES, FILES), said)

    def happens(self, mode, allowed):
        job = self.world.job()
        outcome = getattr(scale_out.Modes, mode)(job, SOME)
        self.assert_whole(outcome, job)
        self.assertLessEqual(set(outcome.codes), allowed, "".join(worker.log.read_text() for worker in job.workers))
        return outcome

    def test_four_fetch_each_file_once_in_much_less_time_than_one(self):
        self.assert_whole(self.one, self.alone)
        job = self.world.job()
        job.start(4)
        outcome = job.wait()
        self.assert_whole(outcome, job)
        self.assertEqual((outcome.codes, outcome.fetched), ([0] * 4, FILES))
        self.assertGreaterEqual(self.one.seconds / outcome.seconds, LEAST_RATIO)
        self.assertLessEqual(outcome.mebibytes, MOST_MEBIBYTES)

    def test_one_that_comes_when_all_is_done_ends_well_at_once(self):
        fetched = self.world.platform.state()["requests"]
        late = self.alone.start_one(1)
        services.wait_for("the late one", lambda: not late.look())
        self.alone.workers.pop()
        self.assertEqual(late.code, 0, late.log.read_text())
        self.assertEqual(self.world.platform.state()["requests"], fetched, "it asked the platform")

    def test_two_are_killed(self):
        outcome = self.happens("killed", {0, 137})
        self.assertEqual(outcome.codes, [0, 137, 137, 0])

    def test_what_a_dead_one_held_is_taken_within_its_lease_and_two_seconds(self):
        outcome = self.happens("killed_late", {0, 137})
        self.assertIsNotNone(outcome.takeover, "it held nothing")
        self.assertLessEqual(outcome.takeover, 3 + 2)

    def test_one_stands_still_until_the_others_are_done(self):
        self.happens("frozen", {0, 7})

    def test_one_stands_still_for_longer_than_its_lease(self):
        self.happens("woken", {0, 7})

    def test_postgresql_is_killed_and_started_again(self):
        self.happens("restarted", {0, 7})

    @unittest.skipIf(services.Slurm.missing(), "not installed: " + " ".join(services.Slurm.missing()))
    def test_as_an_array_of_slurm_that_loses_a_task_and_a_node(self):
        job = self.world.job()
        outcome = scale_out.Modes.by_slurm(job, SOME)
        self.assert_whole(outcome, job)
        self.assertEqual(outcome.codes, ["FAILED 0:9", "COMPLETED 0:0", "COMPLETED 0:0", "COMPLETED 0:0"])

    @unittest.skipUnless(services.find("parallel"), "not installed: parallel")
    def test_as_workers_of_parallel_one_of_which_is_killed(self):
        job = self.world.job()
        outcome = scale_out.Modes.by_parallel(job, SOME)
        self.assert_whole(outcome, job)
        self.assertEqual(outcome.codes, [0])
