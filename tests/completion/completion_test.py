#!/usr/bin/env python3
"""Presses Tab in real shells and looks at what they complete.

usage: completion_test.py SHELL SCRIPTS PROGRAMS
  SHELL     bash, zsh or fish
  SCRIPTS   folder with the completion scripts
  PROGRAMS  folder with caiexport
"""

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

SHELL, SCRIPTS, PROGRAMS = "", "", ""
DATASET = "5fd1a9dea30603194baeea43"
# What every wait may take on a busy machine; none of them takes it when things go well.
LIMIT_S = 60


def start_lines():
    """What the shell is told first: to list what is possible at the first Tab, without asking."""
    if SHELL == "bash":
        return ["bind 'set bell-style none' 'set page-completions off' 'set completion-query-items -1' "
                "'set enable-bracketed-paste off' 'set completion-display-width 0' 'set show-all-if-ambiguous on'",
                f"source '{SCRIPTS}/caiexport.bash'", f"source '{SCRIPTS}/caiexport-simulator.bash'"]
    if SHELL == "zsh":
        return ["unsetopt list_beep auto_menu prompt_sp list_ambiguous auto_remove_slash; unset zle_bracketed_paste",
                f"fpath=('{SCRIPTS}' $fpath)", "autoload -Uz compinit; compinit -u -D", "LISTMAX=1000"]
    return []


class Terminal:
    """A shell on a terminal of its own."""

    def __init__(self, home):
        command = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}[SHELL]
        environment = {"PATH": f"{PROGRAMS}:/usr/bin:/bin", "HOME": home, "TERM": "dumb", "LANG": "C.UTF-8",
                       "PS1": "", "COLUMNS": "200", "LINES": "400", "HISTFILE": "/dev/null"}
        master, slave = pty.openpty()
        self.master = master
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment, cwd=home,
                                        start_new_session=True, close_fds=True)
        os.close(slave)
        self.count = 0
        for line in start_lines():
            self.send(line + "\n")
        self.settle()

    def send(self, text):
        os.write(self.master, text.encode())

    def read_until(self, mark):
        """What comes up to the mark, which the shell prints, not the echo of what was typed."""
        end = time.monotonic() + LIMIT_S
        seen = ""
        while mark not in seen:
            if not select.select([self.master], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"no {mark!r} in {seen!r}")
            seen += os.read(self.master, 65536).decode(errors="replace")
        return seen

    def settle(self):
        self.count += 1
        self.send(f"echo 'ready'-{self.count}-now\n")
        return self.read_until(f"ready-{self.count}-now")

    def complete(self, line):
        """What the shell shows after Tab, and the line that it then has."""
        self.send(line + "\t")
        # Ctrl-A and a word in front make a command of the line that prints it.
        self.count += 1
        self.send(f"\x01printf '<%s>' begun-{self.count} \x05 'over'-{self.count}\n")
        shown = self.read_until(f"<over-{self.count}>")
        at = shown.rindex(f"<begun-{self.count}>")
        self.settle()
        return shown[:at], shown[at:]

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.master)


class Fish:
    """fish tells what it would complete."""

    def __init__(self, home):
        self.environment = {"PATH": f"{PROGRAMS}:/usr/bin:/bin", "HOME": home, "TERM": "dumb", "LANG": "C.UTF-8"}
        self.home = home

    def complete(self, line):
        script = f"source '{SCRIPTS}/caiexport.fish'; source '{SCRIPTS}/caiexport-simulator.fish'; complete -C \"$line\""
        out = subprocess.run(["fish", "--no-config", "-c", f"set line '{line}'; {script}"], cwd=self.home,
                             env=self.environment, capture_output=True, timeout=LIMIT_S, check=True)
        assert out.stderr == b"", out.stderr
        # As bytes: read as text, a carriage return at the end of a word would go unseen.
        words = [row.split("\t")[0] for row in out.stdout.decode().split("\n") if row]
        return "\n".join(words), " ".join(f"<{word}>" for word in words) if len(words) == 1 else ""

    def close(self):
        pass


class Completion(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.home = tempfile.mkdtemp()
        os.mkdir(os.path.join(cls.home, "some folder"))
        os.mkdir(os.path.join(cls.home, "sub"))
        for name in ("settings.ini", "other.txt"):
            with open(os.path.join(cls.home, name), "w", encoding="utf-8"):
                pass
        cls.record()
        cls.shell = Fish(cls.home) if SHELL == "fish" else Terminal(cls.home)

    @classmethod
    def record(cls):
        """A job in the record, of a dataset that no platform has: this port answers nobody."""
        environment = {"PATH": PROGRAMS, "HOME": cls.home, "CAIEXPORT_ACCESS_TOKEN": "token", "CAIEXPORT_ORG_ID": "A@AdobeOrg",
                       "CAIEXPORT_CLIENT_ID": "client", "CAIEXPORT_BASE_URL": "http://127.0.0.1:9"}
        command = [os.path.join(PROGRAMS, "caiexport"), "dataset", "--id", DATASET, "--retries", "0", "--format", "json"]
        out = subprocess.run(command, env=environment, cwd=cls.home, capture_output=True, text=True, timeout=LIMIT_S,
                             check=False)
        cls.job = str(json.loads(out.stdout)["job"])

    @classmethod
    def tearDownClass(cls):
        cls.shell.close()
        shutil.rmtree(cls.home)

    def offers(self, line, expected, unexpected=()):
        shown, _ = self.shell.complete(line)
        # The line itself is shown too.
        words = shown.replace(line, "").split()
        for word in expected:
            self.assertTrue(any(w == word or w.startswith(word + "\t") for w in words), f"{word} not in {shown!r}")
        for word in unexpected:
            self.assertNotIn(word, words)

    def becomes(self, line, word):
        _, became = self.shell.complete(line)
        self.assertIn(f"<{word}>", became)

    def test_commands(self):
        self.offers("caiexport ", COMMANDS)
        self.becomes("caiexport sco", "scores")
        self.becomes("caiexport --sandbox dev sco", "scores")

    def test_options(self):
        self.offers("caiexport dataset --", ["--id", "--batch", "--verify", "--sandbox", "--help"], ["--identity"])
        self.becomes("caiexport segment --poll-i", "--poll-interval")
        self.becomes("caiexport --sandb", "--sandbox")

    def test_values(self):
        self.offers("caiexport dataset --format ", ["text", "json"], ["table", "csv"])
        self.offers("caiexport history --format ", ["table", "json", "csv"], ["text"])
        self.becomes("caiexport dataset --verify fo", "footer")
        self.becomes("caiexport dataset --verify=fo", "--verify=footer")

    def test_values_that_equal_a_command(self):
        self.offers("caiexport history --kind ", ["dataset", "segment"], ["scores"])
        self.offers("caiexport history --kind dataset --", ["--status"], ["--batch"])

    def test_job_numbers(self):
        self.becomes("caiexport show ", self.job)
        self.offers("caiexport read ", [self.job, "settings.ini"])

    def test_completed_words_have_no_carriage_return(self):
        for line in ("caiexport show ", "caiexport dataset --id 5fd", "caiexport --sandb", "caiexport read sett"):
            _, became = self.shell.complete(line)
            self.assertRegex(became, "<[^<>]+>")
            self.assertNotRegex(became, "<[^<>]*\r[^<>]*>")

    def test_ids(self):
        self.becomes("caiexport dataset --id 5fd", DATASET)
        self.becomes("caiexport dataset --id=5fd", "--id=" + DATASET)
        self.becomes("caiexport history --id ", DATASET)

    def test_words_of_states(self):
        self.becomes("caiexport history --status fai", "failed")
        self.becomes("caiexport history --status failed,bl", "failed,blocked")

    def test_files(self):
        self.becomes("caiexport --config sett", "settings.ini")
        self.becomes("caiexport read sett", "settings.ini")

    def test_folders(self):
        self.becomes("caiexport dataset --output su", "sub/")
        self.becomes("caiexport dataset --output=su", "--output=su" + "b/")
        self.becomes("caiexport dataset --output some", "some folder/")
        self.offers("caiexport verify ", ["sub/"], ["settings.ini", "other.txt"])

    def test_simulator(self):
        self.becomes("caiexport-simulator --list", "--list-scenarios")
        self.offers("caiexport-simulator --tls-min ", ["1.2", "1.3"])
        self.becomes("caiexport-simulator --data-dir su", "sub/")


def commands_of_help():
    out = subprocess.run([os.path.join(PROGRAMS, "caiexport")], capture_output=True, text=True, check=True).stdout
    lines = out.split("Commands:\n")[1].split("\n\n")[0].splitlines()
    return [line.split()[0] for line in lines]


if __name__ == "__main__":
    SHELL, SCRIPTS, PROGRAMS = sys.argv[1:4]
    COMMANDS = commands_of_help()
    unittest.main(argv=sys.argv[:1], verbosity=2)
