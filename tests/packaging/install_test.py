#!/usr/bin/env python3
"""Installs into a folder, moves it, and uses what is there.

usage: install_test.py BUILD CMAKE SOURCE
"""

import os
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import sandbox  # noqa: E402

BUILD, CMAKE, SOURCE = "", "", ""

EXPECTED = ["bin/caiexport", "bin/caiexport-simulator", "lib/caiexport/caiexport-reader.so",
            "lib/caiexport/libduckdb.so", "share/bash-completion/completions/caiexport",
            "share/bash-completion/completions/caiexport-simulator", "share/zsh/site-functions/_caiexport",
            "share/zsh/site-functions/_caiexport-simulator", "share/fish/vendor_completions.d/caiexport.fish",
            "share/fish/vendor_completions.d/caiexport-simulator.fish", "share/man/man1/caiexport.1",
            "share/man/man1/caiexport-simulator.1", "share/doc/caiexport/LICENSE", "share/doc/caiexport/README.md",
            "share/doc/caiexport/docs/events.md", "share/doc/caiexport/LICENSE.duckdb", "share/doc/caiexport/engines/slurm.sh",
            "lib/systemd/system/caiexport-sync@.service", "lib/systemd/system/caiexport-sync@.timer"]


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.home = cls.temporary.name
        staged = os.path.join(cls.home, "staged")
        subprocess.run([CMAKE, "--install", BUILD, "--prefix", "/opt/place"], check=True, capture_output=True,
                       env=dict(os.environ, DESTDIR=staged))
        cls.prefix = os.path.join(cls.home, "moved elsewhere")
        os.rename(os.path.join(staged, "opt/place"), cls.prefix)
        cls.left_over = [name for _, _, names in os.walk(staged) for name in names]

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def test_every_file_is_in_its_place(self):
        for path in EXPECTED:
            self.assertTrue(os.path.isfile(os.path.join(self.prefix, path)), path)
        self.assertEqual(self.left_over, [], "files outside of the prefix")

    def test_nothing_else_is_there(self):
        found = [os.path.relpath(os.path.join(folder, name), self.prefix)
                 for folder, _, names in os.walk(self.prefix) for name in names]
        self.assertEqual([path for path in found if path not in EXPECTED
                          and not path.startswith("share/doc/caiexport/")], [])

    def test_libraries_are_found_beside_the_programs(self):
        for path, expected in (("lib/caiexport/caiexport-reader.so", "$ORIGIN"),
                               ("bin/caiexport-simulator", "$ORIGIN/../lib/caiexport")):
            out = subprocess.run(["readelf", "-d", os.path.join(self.prefix, path)], check=True, capture_output=True,
                                 text=True).stdout
            paths = [line.split("[")[1].rstrip("]") for line in out.splitlines() if "(RUNPATH)" in line]
            self.assertEqual(paths, [expected], path)

    def test_no_symbols_are_installed(self):
        with open(os.path.join(BUILD, "CMakeCache.txt"), encoding="utf-8") as cache:
            if "CMAKE_BUILD_TYPE:STRING=Debug\n" in cache.read():
                self.skipTest("a Debug build is installed with them")
        for path in ("bin/caiexport", "bin/caiexport-simulator", "lib/caiexport/caiexport-reader.so"):
            out = subprocess.run(["readelf", "-S", "-W", os.path.join(self.prefix, path)], check=True,
                                 capture_output=True, text=True).stdout
            self.assertNotIn(" .symtab", out, path)
            self.assertNotIn(" .debug", out, path)

    def test_the_programs_work(self):
        programs = os.path.join(self.prefix, "bin")
        work = os.path.join(self.home, "work")
        os.mkdir(work)
        with sandbox.Simulator(os.path.join(programs, "caiexport-simulator"), work, "--records", "50", "--files",
                               "2") as simulator:
            environment = dict(sandbox.environment_in(work, programs), **simulator.settings)

            def run(*words):
                result = subprocess.run(["caiexport", *words], env=environment, cwd=work, capture_output=True,
                                        text=True, timeout=sandbox.LIMIT_S, check=False)
                self.assertEqual(result.returncode, 0, result.stderr)
                return result.stdout

            self.assertIn("50 customers", run("dataset", "--id", sandbox.SCORE_DATASET))
            self.assertEqual(run("read", "1", "--sql", "SELECT count(*) AS n FROM profiles", "--format", "csv"),
                             "n\n50\n")


def made_by_ninja():
    """What each thing is made from, as the build's own file says."""
    with open(os.path.join(BUILD, "build.ninja"), encoding="utf-8") as file:
        text = file.read().replace("$\n", "")
    made = {}
    for outputs, inputs in re.findall(r"^build (.+?): \S+(.*)$", text, re.MULTILINE):
        for output in outputs.replace("|", " ").split():
            made[output] = inputs.replace("|", " ").split()
    return made


class AfterTheDemo(unittest.TestCase):
    """README says to install after scripts/demo, which doesn't build everything."""

    def test_all_that_is_installed_was_built(self):
        if not os.path.exists(os.path.join(BUILD, "build.ninja")):
            self.skipTest("only a build with Ninja tells what a target makes")
        with open(os.path.join(SOURCE, "scripts", "demo"), encoding="utf-8") as file:
            targets = re.search(r'^"\$root/scripts/build" -- (.+)$', file.read(), re.MULTILINE)[1].split()
        made, built = made_by_ninja(), set()
        while targets:
            target = targets.pop()
            if target not in built:
                built.add(target)
                targets += made.get(target, [])
        installed = set()
        for folder, folders, names in os.walk(BUILD):
            folders[:] = [name for name in folders if name not in ("CMakeFiles", "tests")]
            if "cmake_install.cmake" in names:
                with open(os.path.join(folder, "cmake_install.cmake"), encoding="utf-8") as file:
                    installed.update(re.findall(r'FILES "' + re.escape(BUILD) + r'/([^"]+)"', file.read()))
        # Completions are written by CMake itself.
        expected = {path for path in installed if path in made}
        self.assertIn("share/caiexport/caiexport.1", expected)
        self.assertIn("bin/caiexport", expected)
        self.assertEqual(sorted(expected - built), [])


if __name__ == "__main__":
    BUILD, CMAKE, SOURCE = sys.argv[1:4]
    unittest.main(argv=sys.argv[:1], verbosity=2)
