"""The scripts of packaging/engines on their engines, with a stand-in for the program: which arguments reach it, which of
its exit codes are tried again, which signals it gets."""

import os
import pathlib
import subprocess
import tempfile
import unittest

import services
import services_test

ENGINES = services_test.HERE.parent.parent / "packaging" / "engines"

# Writes down who it is and what it was told, then does what the file with its number says.
STAND_IN = """#!/bin/bash
number=${SLURM_ARRAY_TASK_ID:-$PARALLEL_SEQ}
# In one piece, since others write there, too.
line=$(printf '%s' "$number" && printf '|%s' "$@")
echo "$line" >>"$SCALE_SEEN"
trap 'touch "$SCALE_PLAN/$number.told"; exit 130' TERM
mkdir "$SCALE_PLAN/$number.done" 2>/dev/null && again= || again=yes
source "$SCALE_PLAN/$number"
"""


class Plan:
    """What the workers are to do, and what they did."""

    def __init__(self, folder, **steps):
        self.folder = folder
        folder.mkdir()
        (folder / "caiexport").write_text(STAND_IN)
        (folder / "caiexport").chmod(0o755)
        for number in range(5):
            (folder / str(number)).write_text(steps.get(f"worker{number}", "exit 0"))
        self.settings = {"PATH": f"{folder}:{services.PATH}", "SCALE_SEEN": str(folder / "seen"), "SCALE_PLAN": str(folder)}

    def began(self, number):
        return (self.folder / f"{number}.done").exists()

    def seen(self):
        return sorted(line.split("|") for line in (self.folder / "seen").read_text().splitlines())


class SlurmScript(services_test.Case):
    SERVICE = services.Slurm

    def submit(self, plan, *words, **more):
        return self.output_of("sbatch", "--parsable", ENGINES / "slurm.sh", *words, **plan.settings, **more).strip()

    def test_tries_again_what_may_be_mended_and_passes_signals_on(self):
        plan = Plan(self.folder / "plan", worker1='test -n "$again" || exit 7', worker2="exit 3",
                    worker3='while test -z "$again"; do sleep 0.05; done')
        number = self.submit(plan, "--id", "5f", "--output", "/a b")
        services.wait_for("the last task", lambda: plan.began(3))
        self.output_of("scontrol", "requeue", f"{number}_3")
        ends = self.service.wait_for_tasks(number)
        self.assertEqual(ends, {"0": "COMPLETED 0:0", "1": "COMPLETED 0:0", "2": "FAILED 3:0", "3": "COMPLETED 0:0"})
        self.assertTrue((plan.folder / "3.told").exists(), "the signal did not reach the program")
        said = ["dataset", "--share", number, "--id", "5f", "--output", "/a b"]
        self.assertEqual(plan.seen(), [[task, *said] for task in ("0", "1", "1", "2", "3", "3")])

    def test_another_array_can_go_on_with_a_job(self):
        plan = Plan(self.folder / "again")
        self.service.wait_for_tasks(self.submit(plan, CAIEXPORT_SHARE="earlier"))
        self.assertEqual(plan.seen(), [[task, "dataset", "--share", "earlier"] for task in "0123"])


class ParallelScript(unittest.TestCase):
    def setUp(self):
        if not services.find("parallel"):
            self.skipTest("not installed: parallel")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_script(self, plan, *words):
        environment = {**os.environ, **plan.settings, "HOME": str(self.folder), "CAIEXPORT_SHARE": "a key"}
        return subprocess.Popen([ENGINES / "parallel.sh", *words], env=environment, cwd=self.folder, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)

    def test_starts_again_who_was_killed(self):
        plan = Plan(self.folder / "plan", worker2='test -n "$again" || kill -9 $$')
        script = self.run_script(plan, "--id", "5f", "--output", "/a b/c*$x")
        output, _ = script.communicate(timeout=services.LIMIT_S)
        self.assertEqual(script.returncode, 0, output)
        said = ["dataset", "--share", "a key", "--id", "5f", "--output", "/a b/c*$x"]
        self.assertEqual(plan.seen(), [[worker, *said] for worker in ("1", "2", "2", "3", "4")])

    def test_gives_up_after_three(self):
        plan = Plan(self.folder / "plan", worker3="exit 3")
        script = self.run_script(plan)
        output, _ = script.communicate(timeout=services.LIMIT_S)
        self.assertEqual(script.returncode, 1, output)
        self.assertEqual([seen[0] for seen in plan.seen()], ["1", "2", "3", "3", "3", "4"])
