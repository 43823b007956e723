#!/usr/bin/env python3
"""Lets systemd judge the units, with the program that was built in the place of the installed one.

usage: systemd_test.py UNITS PROGRAM
"""

import os
import subprocess
import sys
import tempfile
import unittest

UNITS, PROGRAM = "", ""
# Of 10; what systemd calls OK ends at 2.
HIGHEST_EXPOSURE = 20


def analyze(*words):
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False)


class Units(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.paths = []
        for name in ("caiexport-sync@.service", "caiexport-sync@.timer"):
            with open(os.path.join(UNITS, name), encoding="utf-8") as file:
                text = file.read()
            if name.endswith(".service"):
                self.assertIn("\nExecStart=caiexport sync ", text)
                text = text.replace("\nExecStart=caiexport ", f"\nExecStart={PROGRAM} ")
            self.paths.append(os.path.join(self.folder.name, name))
            with open(self.paths[-1], "w", encoding="utf-8") as file:
                file.write(text)

    def test_verify(self):
        instances = [path.replace("@.", "@5f0000000000000000000001.") for path in self.paths]
        result = analyze("verify", "--man=no", *instances)
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_exposure(self):
        result = analyze("security", "--offline=yes", f"--threshold={HIGHEST_EXPOSURE}", self.paths[0])
        self.assertEqual(result.returncode, 0, result.stdout[-300:])

    def test_a_mistake_is_seen(self):
        with open(self.paths[1], "a", encoding="utf-8") as file:
            file.write("\n[Timer]\nOnCalendar=never at all\n")
        self.assertNotEqual(analyze("verify", "--man=no", self.paths[1].replace("@.", "@1.")).stderr, "")


if __name__ == "__main__":
    UNITS, PROGRAM = sys.argv[1:3]
    unittest.main(argv=sys.argv[:1], verbosity=2)
