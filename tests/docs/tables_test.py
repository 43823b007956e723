#!/usr/bin/env python3
"""Checks that the tables of README and docs/ have all that the code has.

usage: tables_test.py SOURCE
"""

import glob
import os
import re
import sys
import unittest

SOURCE = ""


def content(*path):
    with open(os.path.join(SOURCE, *path), encoding="utf-8") as file:
        return file.read()


def first_cells(document):
    """What the first cells of a document's tables name."""
    names = set()
    for row in re.findall(r"^\| (.+?) \|", document, re.MULTILINE):
        names.update(re.findall(r"[\w-]+", row.replace("`", "")))
    return names


def sources():
    return [content(os.path.relpath(path, SOURCE))
            for path in glob.glob(os.path.join(SOURCE, "src", "**", "*.cpp"), recursive=True)]


class Tables(unittest.TestCase):
    def in_table(self, document, expected, least):
        self.assertGreaterEqual(len(expected), least, "the code is not read as it should be")
        self.assertEqual(sorted(expected - first_cells(document)), [])

    def test_errors_has_every_category(self):
        body = re.search(r"enum class Category \{(.*?)\};", content("include", "caiexport", "core", "error.h"), re.S)[1]
        self.in_table(content("docs", "errors.md"), set(re.findall(r"^\s+(\w+),", body, re.M)), 15)

    def test_errors_and_readme_have_every_exit_code(self):
        codes = set(re.findall(r"\{Category::\w+,\s+\"\w+\",\s+(\d+),", content("src", "core", "error.cpp"))) | {"0"}
        self.in_table(content("docs", "errors.md"), codes, 13)
        self.in_table(content("README.md"), codes, 13)

    def test_errors_has_every_code_of_the_platform(self):
        table = re.search(r"kRemedies\{\{(.*?)\}\};", content("src", "platform", "problem.cpp"), re.S)[1]
        self.in_table(content("docs", "errors.md"), set(re.findall(r"^\s+\{\"(\w+)\"", table, re.M)), 12)

    def test_events_has_every_event_of_the_log(self):
        found = set()
        for text in sources():
            found.update(re.findall(r"write\(\s*(?:core::)?LogLevel::\w+,\s*\"(\w+)\"", text))
        self.in_table(content("docs", "events.md"), found, 8)

    def test_events_has_every_event_of_a_job(self):
        found = set()
        for text in sources():
            # The third of its arguments.
            found.update(re.findall(r"addEvent\([^;{\"]*?\"(\w+)\"", text))
        self.in_table(content("docs", "events.md"), found, 10)

    def test_manual_has_every_command(self):
        manual = content("docs", "manual.md")
        commands = set(re.findall(r"CommandPage page\{\s*\.name = \"([\w-]+)\"", "\n".join(sources())))
        self.in_table(manual, commands, 9)


if __name__ == "__main__":
    SOURCE = os.path.abspath(sys.argv[1])
    unittest.main(argv=sys.argv[:1], verbosity=2)
