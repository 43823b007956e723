#!/usr/bin/env python3
"""Runs the tests of this folder, in namespaces of their own where that is allowed: whatever they start ends with them.

usage: run.py PROGRAMS [UNITTEST-OPTION...]     PROGRAMS: the folder of the programs that were built
  e.g. run.py build/bin -k Slurm

At the end it tells which tests were skipped, and why. Needs scripts/setup --scale.
"""

import os
import pathlib
import shutil
import sys
import tempfile
import unittest

import namespaces
import services

HERE = pathlib.Path(__file__).resolve().parent


class Runner(unittest.TextTestRunner):
    def run(self, test):
        result = super().run(test)
        for skipped, reason in result.skipped:
            print(f"not checked: {skipped.id()}: {reason}", file=sys.stderr)
        return result


def run_tests(options):
    services.end_by_signals()
    services.adopt_orphans()
    try:
        program = unittest.main(module=None, argv=["run.py", "discover", "-v", "-s", str(HERE), "-p", "*_test.py", *options],
                                testRunner=Runner, exit=False)
        return 0 if program.result.wasSuccessful() and program.result.testsRun > 0 else 1
    except services.Ended as ended:
        return ended.code
    finally:
        services.end_descendants()
        # Here too, since the process that made it may have been killed.
        shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)


def main(arguments):
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__.strip())
        return 0 if arguments else 2
    folder = tempfile.mkdtemp(prefix="caiexport-scale-")
    os.chmod(folder, 0o711)
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    os.environ["SCALE_PROGRAMS"] = str(pathlib.Path(arguments[0]).resolve())
    services.die_with_parent()
    try:
        code, reason = namespaces.run_apart(lambda: run_tests(arguments[1:]))
        if reason:
            print(f"not checked: what needs namespaces: {reason}", file=sys.stderr)
            code = run_tests(arguments[1:])
        return code
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
