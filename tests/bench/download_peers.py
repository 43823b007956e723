"""Who downloads: caiexport, and the programs that a user would pick instead, each in several settings."""

import json
import os
import shutil
import subprocess
import typing

import measuring

TOKEN = "bench-token"


class Fetcher(typing.NamedTuple):
    """A program in one setting."""
    program: str      # what a row of the table is about
    setting: str
    connections: int  # 0: decides itself
    command: typing.Callable  # (task) -> words

    @property
    def label(self):
        return f"{self.program} {self.setting}".strip()

    @property
    def is_ours(self):
        return self.program == "caiexport"


class Task(typing.NamedTuple):
    """One case's files, from one origin, to one folder."""
    data: typing.Any
    origin: str
    ca_file: typing.Any
    scratch: typing.Any  # lists of URLs; not where the output goes
    output: typing.Any   # made anew for each run

    def list_file(self, kind, lines):
        path = self.scratch / f"{self.data.letter}-{kind}"
        path.write_text("\n".join(lines) + "\n")
        return str(path)


def ours(program, connections=0):
    def command(task):
        words = [program, "--database", task.output / "jobs.db", "--base-url", task.origin, "--ims-url", task.origin,
                 "--ca-file", task.ca_file, "dataset", "--id", task.data.dataset, "--verify", "size",
                 "--output", task.output / "out"]
        return words + (["--connections", str(connections)] if connections else [])

    return Fetcher("caiexport", f"--connections {connections}" if connections else "", connections, command)


def environment(home):
    """Of all programs: no proxy, no settings of whoever runs the bench."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "CAIEXPORT_ACCESS_TOKEN": TOKEN,
            "CAIEXPORT_CLIENT_ID": "bench-client", "CAIEXPORT_ORG_ID": "BENCH@AdobeOrg"}


def curl(version, connections):
    def command(task):
        pairs = zip(task.data.urls(task.origin), task.data.names)
        lines = [f'url = "{url}"\noutput = "{name}"' for url, name in pairs]
        words = ["curl", "-Z", "--parallel-max", connections, "-fsS", "--cacert", task.ca_file,
                 "--http1.1" if version == "h1" else "--http2", "-K", task.list_file("curl", lines)]
        return [str(word) for word in words]

    return Fetcher(f"curl -Z {version}", f"--parallel-max {connections}", connections, command)


def aria2(files, split):
    def command(task):
        pairs = zip(task.data.urls(task.origin), task.data.names)
        listed = task.list_file("aria2", [f"{url}\n  out={name}" for url, name in pairs])
        return ["aria2c", "--no-conf", "-q", f"-j{files}", f"-x{split}", f"-s{split}", "-k1M", "--file-allocation=none",
                f"--ca-certificate={task.ca_file}", "-i", listed]

    return Fetcher("aria2c", f"-j{files} -x{split}", files * split, command)


def wget():
    def command(task):
        return ["wget", "-q", f"--ca-certificate={task.ca_file}", "-i",
                task.list_file("wget", task.data.urls(task.origin))]

    return Fetcher("wget", "", 1, command)


def rclone(transfers, streams=4):
    def command(task):
        return ["rclone", "--config", "/dev/null", "-q", "copy", "--http-url", task.data.plain_url(task.origin),
                "--ca-cert", str(task.ca_file), "--transfers", str(transfers), "--checkers", str(transfers),
                "--multi-thread-streams", str(streams), "--no-traverse", "--files-from-raw", task.list_file("rclone", task.data.names), ":http:", "."]

    setting = f"--transfers {transfers}" + (f" --multi-thread-streams {streams}" if streams != 4 else "")
    return Fetcher("rclone", setting, max(transfers, streams), command)


# To be seen on a slow line: that those who keep more or fewer connections are no faster.
ON_A_SLOW_LINE = [curl("h1", 8), curl("h2", 8), aria2(16, 1)]


def under_a_throttle(most):
    """As many as the server lets through, and fewer."""
    found = [curl(version, connections) for version in ("h1", "h2") for connections in (most, most * 2 // 3)]
    return found + [aria2(most, 1), aria2(most // 4, 4), rclone(most), rclone(most * 2 // 3), wget()]


def peers(letter, files):
    """Settings worth trying: the programs one after another, of each the one that stands latency best first."""
    if letter == "K":
        return ON_A_SLOW_LINE
    if letter == "H":
        return under_a_throttle(12)
    if letter == "I":
        return [aria2(1, 16), aria2(1, 8), rclone(1, 32), rclone(1, 16), curl("h1", 8), curl("h2", 8), wget()]
    far = letter in "DEFG"
    if files == 1:
        return [curl("h1", 8), curl("h2", 8), aria2(1, 4), aria2(1, 16), aria2(1, 1), rclone(8), wget()]
    if letter in "FG":
        found = [curl(version, connections) for version in ("h1", "h2") for connections in (64, 32, 24)]
        return found + [aria2(32, 1), aria2(8, 4), aria2(4, 16), rclone(32), rclone(16), wget()]
    found = [curl(version, connections) for version in ("h1", "h2") for connections in (32, 16, 8)]
    found += [aria2(32 if far else 16, 1), aria2(8, 4), aria2(4, 16)]
    return found + [rclone(16), rclone(8), wget()]


class Pair(typing.NamedTuple):
    """One run: of the program alone, and with what makes it fair."""
    bare: measuring.Sample
    fair: typing.Optional[measuring.Sample]


class Runner:
    """Runs fetchers, and looks at what they brought."""

    def __init__(self, meter, home):
        self._meter = meter
        self._environment = environment(home)
        self._compared = set()

    def run(self, fetcher, task, fair, limit=None):
        """What makes a peer fair is that `sync` and `sha256sum` follow, which caiexport has done itself."""
        self._prepare(task)
        command = fetcher.command(task)
        bare = self._meter.run(command, task.output, self._environment, limit)
        if fetcher.is_ours:
            self._check_ours(task)
            return Pair(bare, bare)
        names = sorted(os.listdir(task.output))
        sizes = [os.stat(task.output / name).st_size for name in names]
        if sizes != [task.data.size_bytes] * task.data.count:
            raise measuring.RunFailed(f"{fetcher.label} brought {len(sizes)} files, {sum(sizes)} bytes")
        if not fair:
            return Pair(bare, None)
        synced = self._meter.run(["sync", *names], task.output, self._environment)
        summed = self._meter.run(["sha256sum", *names], task.output, self._environment)
        return Pair(bare, bare.then(synced).then(summed))

    @staticmethod
    def _prepare(task):
        shutil.rmtree(task.output, ignore_errors=True)
        task.output.mkdir(parents=True)
        # Nobody is to pay for what was written or removed before.
        subprocess.run(["sync", "-f", task.output], check=True)

    def _check_ours(self, task):
        folder = task.output / "out" / task.data.dataset / task.data.batch
        files = json.loads((folder / "_manifest.json").read_text())["files"]
        brought = {file["name"]: file["sha256"] for file in files}
        if brought != {name: task.data.sha256(name) for name in task.data.names}:
            raise measuring.RunFailed("caiexport's _manifest.json doesn't match what was served")
        if task.data.letter in self._compared:
            return
        for name in task.data.names:
            if not same_bytes(folder / name, task.data.file(name)):
                raise measuring.RunFailed(f"caiexport's {name} is not what was served")
        self._compared.add(task.data.letter)


def same_bytes(one, other):
    with open(one, "rb") as left, open(other, "rb") as right:
        while True:
            a, b = left.read(1 << 20), right.read(1 << 20)
            if a != b:
                return False
            if not a:
                return True
