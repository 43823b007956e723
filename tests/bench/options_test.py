#!/usr/bin/env python3
"""Checks that the options of the benches which name a place mean it from wherever a program is run.

usage: options_test.py SOURCE
"""

import importlib.machinery
import importlib.util
import os
import pathlib
import sys
import unittest
from unittest import mock

SOURCE = pathlib.Path()


def options_of(script, *arguments, **environment):
    """What the script makes of its command line."""
    loader = importlib.machinery.SourceFileLoader(script.name.replace("-", "_"), str(script))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    with mock.patch.object(sys, "argv", [str(script), *arguments]), mock.patch.dict(os.environ, environment):
        return vars(module.parse())


class Options(unittest.TestCase):
    def setUp(self):
        self.scripts = sorted((SOURCE / "scripts").glob("bench-*"))
        self.assertGreaterEqual(len(self.scripts), 5)
        sys.dont_write_bytecode = True

    def test_a_relative_build_is_that_of_the_folder_where_the_bench_began(self):
        for script in self.scripts:
            with self.subTest(script=script.name):
                self.assertEqual(options_of(script, "--build", "some/build")["build"], pathlib.Path.cwd() / "some" / "build")
                self.assertEqual(options_of(script, BUILD_DIR="other")["build"], pathlib.Path.cwd() / "other")

    def test_without_a_word_it_is_that_of_the_scripts(self):
        for script in self.scripts:
            with self.subTest(script=script.name), mock.patch.dict(os.environ):
                os.environ.pop("BUILD_DIR", None)
                self.assertEqual(options_of(script)["build"], SOURCE / "build")

    def test_other_relative_places_too(self):
        for script in self.scripts:
            for option in "memory", "disk", "caiexport":
                if f'"--{option}"' in script.read_text():
                    with self.subTest(script=script.name, option=option):
                        self.assertEqual(options_of(script, f"--{option}", "x")[option], pathlib.Path.cwd() / "x")


if __name__ == "__main__":
    SOURCE = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()
