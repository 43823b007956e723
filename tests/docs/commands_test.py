#!/usr/bin/env python3
"""Types what README and docs/ tell the reader to type, against the simulator.

usage: commands_test.py SOURCE BUILD

Every line that begins with `$ ` in a block marked `console` is run, in the order of the document, in a home of its own; it
must exit 0. A comment in front of a block, `<!-- not run: REASON -->`, says why that one is not: then its commands are
checked as far as that goes without running them (see Checks). So are mentions of caiexport in blocks of other kinds, such
as units and programs.
"""

import glob
import os
import re
import shlex
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import sandbox  # noqa: E402

SOURCE, BUILD = "", ""

FENCE = re.compile(r"^```(\w*)$")
NOT_RUN = re.compile(r"^<!-- not run: (.+) -->$")
MENTION = re.compile(r"(?:^|[\s\"'`=/(])caiexport((?: +(?:\"[^\"]*\"|[^\s\"'`;|&>()#\\]+))+)")


class Block:
    def __init__(self, kind, reason, place):
        self.kind, self.reason, self.place = kind, reason, place
        self.lines = []

    def commands(self):
        """What is typed at a `$ `; a backslash at the end goes on in the next line."""
        typed, going_on = [], False
        for line in self.lines:
            if going_on:
                typed[-1] += "\n" + line
            elif line.startswith("$ "):
                typed.append(line[2:])
            going_on = bool(typed) and typed[-1].endswith("\\") and (going_on or line.startswith("$ "))
        return typed


def blocks_of(path):
    blocks, block, reason = [], None, None
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            line = line.rstrip("\n")
            fence = FENCE.match(line)
            if block is not None:
                if fence:
                    blocks.append(block)
                    block, reason = None, None
                else:
                    block.lines.append(line)
            elif fence:
                block = Block(fence[1], reason, f"{os.path.relpath(path, SOURCE)}:{number}")
            elif line:
                marker = NOT_RUN.match(line)
                reason = marker[1] if marker else None
    if block is not None:
        raise ValueError(f"{path} ends inside a block")
    return blocks


def documents():
    top = [os.path.join(SOURCE, name) for name in ("README.md", "CONTRIBUTING.md")]
    return top + sorted(glob.glob(os.path.join(SOURCE, "docs", "*.md")))


class Reader:
    """Somebody with a shell, who follows a document."""

    def __init__(self, home, simulator):
        self.home = home
        self.work = os.path.join(home, "work")
        os.mkdir(self.work)
        os.symlink(BUILD, os.path.join(self.work, "build"))
        os.symlink(os.path.join(SOURCE, "scripts"), os.path.join(self.work, "scripts"))
        self.simulator = simulator
        self.environment = dict(sandbox.environment_in(home, os.path.join(BUILD, "bin")), **simulator.settings)

    def type(self, command):
        """What is wrong; nothing if all is well."""
        if command.startswith("export ") and "..." in command:
            return self.export_placeholders(command)
        if command.startswith("caiexport-simulator") and "--list-scenarios" not in command:
            return self.start_simulator(command)
        result = subprocess.run(["bash", "-c", command], cwd=self.work, env=self.environment, text=True, check=False,
                                stdin=subprocess.DEVNULL, capture_output=True, timeout=sandbox.LIMIT_S)
        return None if result.returncode == 0 else f"exit {result.returncode}: {result.stderr}{result.stdout}"

    def export_placeholders(self, command):
        """The reader's own credentials; here the simulator's are set already."""
        names = [word.split("=")[0] for word in shlex.split(command)[1:]]
        unknown = [name for name in names if name not in self.simulator.settings]
        return f"not settings: {unknown}" if unknown else None

    def start_simulator(self, command):
        """Runs until it is stopped: waits for the settings that it prints."""
        with subprocess.Popen(shlex.split(command), cwd=self.work, env=self.environment, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
            printed = ""
            for line in process.stdout:
                printed += line
                if line.startswith("# segment:"):
                    break
            process.terminate()
        return None if "export CAIEXPORT_BASE_URL=" in printed else f"it printed {printed!r}"


class Checks:
    """What can be said of a command without running it."""

    @staticmethod
    def of_caiexport(words):
        """Whether the command and its options are there: --help is answered after all words were understood."""
        result = subprocess.run([os.path.join(BUILD, "bin", "caiexport"), *words, "--help"], check=False,
                                capture_output=True, text=True, stdin=subprocess.DEVNULL)
        return None if result.returncode == 0 else result.stderr

    @staticmethod
    def of_command(command):
        # Comments, and variables of the shell that surrounds it.
        words = shlex.split(command, comments=True)
        while words and (words[0] == "sudo" or re.match(r"^\w+=", words[0])):
            words = words[1:]
        if not words:
            return None
        if words[0] == "caiexport":
            return Checks.of_caiexport(words[1:])
        if words[0].startswith(("scripts/", "tests/")) and not os.access(os.path.join(SOURCE, words[0]), os.X_OK):
            return "there is no such script"
        return None


class Documents(unittest.TestCase):
    def test_every_command_works(self):
        ran = 0
        with tempfile.TemporaryDirectory() as home:
            scenario = os.path.join(home, "scenario.json")
            with open(scenario, "w", encoding="utf-8") as file:
                file.write('{"export_polls": 0}')  # Done at the first look: the next one would be ten seconds later.
            with sandbox.Simulator(os.path.join(BUILD, "bin", "caiexport-simulator"), home, "--records", "24340",
                                   "--files", "12", "--scenario", scenario) as simulator:
                for path in documents():
                    with tempfile.TemporaryDirectory() as own:
                        reader = Reader(own, simulator)
                        for block in blocks_of(path):
                            for command in block.commands() if block.kind == "console" else []:
                                ran += 1
                                problem = Checks.of_command(command) if block.reason else reader.type(command)
                                self.assertIsNone(problem, f"{block.place}: {command}\n{problem}")
        self.assertGreater(ran, 30)

    def test_every_mention_is_a_command(self):
        for path in documents():
            for block in blocks_of(path):
                if block.kind in ("console", "text", ""):
                    continue
                for mention in MENTION.findall("\n".join(block.lines).replace("\\\n", " ")):
                    words = shlex.split(mention)
                    problem = Checks.of_caiexport(words)
                    self.assertIsNone(problem, f"{block.place}: caiexport {mention}\n{problem}")

    def test_no_command_lacks_its_prompt(self):
        for path in documents():
            for block in blocks_of(path):
                if block.kind == "console" and not block.commands():
                    for line in block.lines:
                        self.assertNotRegex(line, r"^(sudo |caiexport|scripts/|cmake )", block.place)

    def test_mistakes_are_seen(self):
        self.assertIsNotNone(Checks.of_command("caiexport dataset --idd X  # a slip"))
        self.assertIsNotNone(Checks.of_command("sudo scripts/no-such-script"))
        self.assertIsNone(Checks.of_command("sudo A=b caiexport dataset --id X"))
        self.assertEqual(MENTION.findall('ExecStart=caiexport sync --id %i --quiet\nrun("caiexport read 1 > x")'),
                         [" sync --id %i --quiet", " read 1"])


if __name__ == "__main__":
    SOURCE, BUILD = (os.path.abspath(path) for path in sys.argv[1:3])
    unittest.main(argv=sys.argv[:1], verbosity=2)
