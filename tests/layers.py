#!/usr/bin/env python3
"""Checks the #include lines of src/ and include/ against the table of floors.

usage: layers.py [ROOT] | layers.py --self-test

Prints each violation as FILE:LINE: MESSAGE and exits 1 if there is any. The tables below are the rules.
"""

import os
import re
import sys
import tempfile

# What each floor may include besides itself. Siblings (platform, store, reader, transfer, objects) do not meet below engine.
FLOORS = {
    "core": set(),
    # Reads every text of JSON that comes from outside, writes every one that goes out.
    "json": {"core"},
    "model": {"core"},
    "net": {"core"},
    "platform": {"core", "json", "model", "net"},
    "store": {"core", "json", "model"},
    "reader": {"core", "json", "model"},
    "transfer": {"core", "model"},
    # Stores that batches are delivered to, by way of rclone.
    "objects": {"core", "json"},
    "engine": {"core", "json", "model", "net", "platform", "store", "reader", "transfer", "objects"},
    "cli": {"core", "json", "model", "net", "platform", "store", "reader", "transfer", "objects", "engine"},
    # Shares no code with what it is used to test, so that the two can disagree.
    "simulator": {"core"},
    # Run by the build: tells of both programs.
    "tools": {"core", "cli", "simulator"},
}

# The program's main file stands on the top floor.
MAIN_FILE = "src/main.cpp"
TOP_FLOOR = "cli"

# Rooms of a floor: what the files of each may include of the other rooms, as prefixes of paths. A room that is not named
# here (`commands`, and application.cpp, which lists them) may include all.
ROOMS = {
    "src/cli/config/": (),
    "src/cli/output/": ("src/cli/config/",),
    "src/cli/doctor/": ("src/cli/config/", "src/cli/output/", "src/cli/session.h"),
}

# Which files may name which library: (what, pattern of the included path, prefixes of the files that may).
LIBRARIES = [
    ("Poco::Net", r"Poco/Net/", ["src/net/connect", "src/net/poco_transport", "src/simulator/"]),
    ("Poco::JSON", r"Poco/(JSON|Dynamic)/", ["src/json/", "src/simulator/"]),
    ("Poco::Util", r"Poco/Util/", ["src/cli/", "src/simulator/", MAIN_FILE]),
    ("DuckDB", r"duckdb", ["src/reader/module/", "src/simulator/"]),
    ("libxlsxwriter", r"xlsxwriter", ["src/reader/module/sheet_file"]),
    ("SQLite", r"(SQLiteCpp/|sqlite3)", ["src/store/", "include/caiexport/store/"]),
    ("libpq", r"libpq", ["src/store/"]),
    ("OpenSSL", r"openssl/", ["src/core/encoding", "src/net/", "src/cli/", "src/simulator/"]),
    ("nghttp2", r"nghttp2/", ["src/net/"]),
    ("GoogleTest", r"(gtest|gmock)/", []),
]

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
SOURCE_SUFFIXES = (".h", ".hpp", ".cpp", ".cc", ".inl", ".in")


def floor_of(path):
    """The floor of a file named relative to the root, or None."""
    parts = path.split("/")
    if path == MAIN_FILE:
        return TOP_FLOOR
    if parts[0] == "include" and len(parts) > 3 and parts[1] == "caiexport":
        return parts[2]
    if parts[0] == "src" and len(parts) > 2:
        return parts[1]
    return None


def own_file(root, path, included):
    """The file of this tree that an include in quotes names, or None."""
    for base in (os.path.dirname(path), "src", "include"):
        candidate = os.path.normpath(os.path.join(base, included))
        if os.path.isfile(os.path.join(root, candidate)):
            return candidate
    return None


def violations_of_rooms(root, path, included):
    for room, others in ROOMS.items():
        target = own_file(root, path, included)
        if not path.startswith(room) or target is None or not target.startswith("src/"):
            continue
        if floor_of(target) == floor_of(path) and not target.startswith((room, *others)):
            yield f'{room} may not include {target}'


def target_floor(root, path, quoted, included):
    """The floor that an included path belongs to, or None for a library, the system, or the file's own folder."""
    if included.startswith("caiexport/"):
        parts = included.split("/")
        return parts[1] if len(parts) > 2 else ""
    if not quoted:
        return None
    target = own_file(root, path, included)
    return None if target is None else floor_of(target)


def violations_of_line(root, path, floor, quoted, included):
    target = target_floor(root, path, quoted, included)
    if target is not None and target != floor:
        if target not in FLOORS:
            yield f'"{included}" belongs to no known floor'
        elif target not in FLOORS[floor]:
            yield f'{floor} may not include {target} ("{included}")'
    for name, pattern, allowed in LIBRARIES:
        if re.match(pattern, included) and not path.startswith(tuple(allowed)):
            where = ", ".join(allowed) if allowed else "tests"
            yield f"{name} (<{included}>) may be named only in {where}"


def check_file(root, path):
    floor = floor_of(path)
    if floor not in FLOORS:
        yield 1, "stands on no known floor"
        return
    with open(os.path.join(root, path), encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            match = INCLUDE.match(line)
            if match:
                for message in violations_of_line(root, path, floor, match[1] == '"', match[2]):
                    yield number, message
            if match and match[1] == '"':
                for message in violations_of_rooms(root, path, match[2]):
                    yield number, message


def source_files(root):
    for top in ("include", "src"):
        for folder, _, names in os.walk(os.path.join(root, top)):
            for name in names:
                if name.endswith(SOURCE_SUFFIXES):
                    yield os.path.relpath(os.path.join(folder, name), root).replace(os.sep, "/")


def check(root):
    """All violations, as "file:line: message", and the number of files looked at."""
    found = []
    files = sorted(source_files(root))
    for path in files:
        found += [f"{path}:{number}: {message}" for number, message in check_file(root, path)]
    return found, len(files)


# For the self-test: a tree in which every file is right...
GOOD = {
    "include/caiexport/core/error.h": "#include <string>\n",
    "include/caiexport/store/store.h": '#include <SQLiteCpp/SQLiteCpp.h>\n#include "caiexport/model/job.h"\n',
    "include/caiexport/model/job.h": '#include "caiexport/core/error.h"\n',
    "src/core/private.h": "",
    "src/core/error.cpp": '#include "caiexport/core/error.h"\n#include "private.h"\n',
    "src/net/poco_transport.cpp": "#include <Poco/Net/HTTPRequest.h>\n#include <openssl/ssl.h>\n",
    "src/reader/module/module.cpp": '#include <duckdb.h>\n// #include "caiexport/net/http.h"\n',
    "src/simulator/server.cpp": '#include <duckdb.h>\n#include <Poco/Net/HTTPServer.h>\n#include "caiexport/core/error.h"\n',
    "src/engine/steps.cpp": '#include "caiexport/store/store.h"\n#include "caiexport/net/http.h"\n',
    "src/cli/commands/show.cpp": '#include "cli/output/text.h"\n#include "cli/config/config.h"\n',
    "src/cli/output/text.h": '#include "cli/config/config.h"\n',
    "src/cli/config/config.h": "",
    "src/cli/commands/commands.h": "",
    "src/main.cpp": '#include <Poco/Util/Application.h>\n#include "caiexport/cli/cli.h"\n',
}

# ...and lines that break it: (file, line, words of the message).
BAD = [
    ("src/core/up.cpp", '#include "caiexport/model/job.h"', "core may not include model"),
    ("src/model/up.cpp", '#include "caiexport/net/http.h"', "model may not include net"),
    ("src/platform/sibling.cpp", '#include "caiexport/store/store.h"', "platform may not include store"),
    ("src/transfer/http.cpp", '#  include "caiexport/net/http.h"', "transfer may not include net"),
    ("src/engine/up.cpp", '#include "caiexport/cli/cli.h"', "engine may not include cli"),
    ("src/simulator/shared.cpp", '#include "caiexport/platform/client.h"', "simulator may not include platform"),
    ("src/store/sneaky.cpp", '#include "../core/../engine/private.h"', "store may not include engine"),
    ("src/store/around.cpp", '#include "engine/private.h"', "store may not include engine"),
    ("src/cli/unknown.cpp", '#include "caiexport/basement/x.h"', "no known floor"),
    ("src/cli/umbrella.cpp", '#include "caiexport/all.h"', "no known floor"),
    ("src/cli/config/up.cpp", '#include "cli/output/text.h"', "src/cli/config/ may not include"),
    ("src/cli/output/up.cpp", '#include "cli/commands/commands.h"', "src/cli/output/ may not include"),
    ("src/cli/doctor/round.cpp", '#include "../commands/commands.h"', "src/cli/doctor/ may not include"),
    ("src/attic/x.cpp", "", "stands on no known floor"),
    ("src/net/http.cpp", "#include <Poco/Net/HTTPRequest.h>", "Poco::Net"),
    ("include/caiexport/net/http.h", "#include <Poco/Net/HTTPRequest.h>", "Poco::Net"),
    ("src/core/json.cpp", "#include <Poco/JSON/Object.h>", "Poco::JSON"),
    ("src/platform/options.cpp", "#include <Poco/Util/Option.h>", "Poco::Util"),
    ("src/reader/reader.cpp", "#include <duckdb.h>", "DuckDB"),
    ("src/reader/quoted.cpp", '#include "duckdb.h"', "DuckDB"),
    ("src/engine/sql.cpp", "#include <sqlite3.h>", "SQLite"),
    ("include/caiexport/platform/hash.h", "#include <openssl/evp.h>", "OpenSSL"),
    ("src/core/mock.cpp", "#include <gmock/gmock.h>", "GoogleTest"),
]


def write(root, path, text):
    full = os.path.join(root, path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "w", encoding="utf-8") as out:
        out.write(text)


def self_test():
    failures = []
    with tempfile.TemporaryDirectory() as root:
        for path, text in GOOD.items():
            write(root, path, text)
        write(root, "src/engine/private.h", "")
        found, count = check(root)
        if found or count != len(GOOD) + 1:
            failures.append(f"a clean tree of {count} files gave {found}")
        for path, line, words in BAD:
            write(root, path, f"#include <string>\n{line}\n")
            found, _ = check(root)
            expected_line = 2 if line else 1
            if len(found) != 1 or not found[0].startswith(f"{path}:{expected_line}: ") or words not in found[0]:
                failures.append(f"{path} with {line!r}: expected one violation with {words!r}, found {found}")
            os.remove(os.path.join(root, path))
    for failure in failures:
        print(failure)
    print(f"{len(BAD) + 1 - len(failures)} passed, {len(failures)} failed")
    return 1 if failures else 0


def main(arguments):
    if arguments == ["--self-test"]:
        return self_test()
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    root = arguments[0] if arguments else os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    found, count = check(root)
    if count == 0:
        print(f"{root}: no sources in src/ or include/", file=sys.stderr)
        return 2
    for violation in found:
        print(violation)
    print(f"{count} files, {len(found)} violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
