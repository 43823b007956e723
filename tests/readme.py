#!/usr/bin/env python3
"""Holds the fault matrix of tests/README.md to the tests: every test that it names exists, every row of the real
programs' fault tests is in it.

usage: tests/readme.py TEST-PROGRAM...
       tests/readme.py --self-test
"""
import fnmatch
import pathlib
import re
import subprocess
import sys

# What names without a dot stand for.
FAULTS = ["binary.DatasetFault.IsSurvived/", "binary.SegmentFault.IsSurvived/"]


def names_listed(program: str, listing: str) -> list[str]:
    """`PROGRAM.SUITE.TEST` of everything in the output of --gtest_list_tests, without names of instantiations."""
    names, suite = [], ""
    for line in listing.splitlines():
        text = line.split("#")[0].rstrip()
        if not line.startswith(" "):
            suite = text.rstrip(".").split("/")[-1]
        elif text:
            names.append(f"{program}.{suite}.{text.strip()}")
    return names


def names_in_python(program: str, text: str) -> list[str]:
    """`PROGRAM.CLASS.TEST` of everything in a file of unittest."""
    names, owner = [], ""
    for line in text.splitlines():
        if found := re.match(r"class (\w+)", line):
            owner = found[1]
        elif found := re.match(r"    def (test_\w+)", line):
            names.append(f"{program}.{owner}.{found[1]}")
    return names


def expanded(pattern: str) -> list[str]:
    """`a{b,c}d` as abd and acd."""
    brace = re.search(r"\{([^{}]*)\}", pattern)
    if not brace:
        return [pattern]
    parts = [pattern[: brace.start()] + word + pattern[brace.end() :] for word in brace.group(1).split(",")]
    return [name for part in parts for name in expanded(part)]


def patterns_in(readme: str) -> list[str]:
    """The names in the columns of tests of the fault matrix."""
    patterns = []
    for line in readme[readme.find("## The fault matrix") :].splitlines():
        columns = line.split("|")
        if len(columns) == 5:
            for column in columns[2:4]:
                patterns += [name for found in re.findall(r"`([^`]+)`", column) for name in expanded(found)]
    return patterns


def complaints(readme: str, tests: list[str]) -> list[str]:
    said, covered = [], set()
    for pattern in patterns_in(readme):
        meant = [pattern] if "." in pattern else [prefix + pattern for prefix in FAULTS]
        found = {test for name in meant for test in tests if fnmatch.fnmatchcase(test, name)}
        if not found:
            said.append(f"tests/README.md names {pattern}, which is no test")
        covered |= found
    for test in tests:
        if test.startswith(tuple(FAULTS)) and test not in covered:
            said.append(f"tests/README.md lacks {test}")
    return said


def self_test() -> None:
    listing = "Json/DatasetFault.\n  IsSurvived/Html  # GetParam() = {\"x\": 1}\n  IsSurvived/Empty\nServers.\n  Refuses\n"
    tests = names_listed("binary", listing)
    assert tests == [FAULTS[0] + "Html", FAULTS[0] + "Empty", "binary.Servers.Refuses"], tests
    python = "import x\nclass Host:\n    def make(self):\n\n\nclass HostTest(Case):\n    def test_dies(self):\n"
    assert names_in_python("server", python) == ["server.HostTest.test_dies"]
    matrix = "`Before`\n## The fault matrix\n| a | `{Html,Empty}` | `binary.Servers.*` |\n"
    assert complaints(matrix, tests) == []
    assert complaints(matrix.replace("Html,", ""), tests) == [f"tests/README.md lacks {FAULTS[0]}Html"]
    assert complaints(matrix.replace("Servers", "Clients"), tests) == [
        "tests/README.md names binary.Clients.*, which is no test"
    ]


def main(arguments: list[str]) -> int:
    if arguments == ["--self-test"]:
        self_test()
        return 0
    tests = []
    for path in map(pathlib.Path, arguments):
        listing = subprocess.run([path, "--gtest_list_tests"], check=True, capture_output=True, text=True).stdout
        tests += names_listed(path.name.removesuffix("_tests"), listing)
    for folder in ("server", "scale"):
        for path in sorted(pathlib.Path(__file__).parent.glob(f"{folder}/*_test.py")):
            tests += names_in_python(folder, path.read_text(encoding="utf-8"))
    readme = (pathlib.Path(__file__).parent / "README.md").read_text(encoding="utf-8")
    said = complaints(readme, tests)
    for line in said:
        print(line)
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
