"""Runs programs and tells what they took; what the benches print about the machine."""

import datetime
import os
import pathlib
import platform
import re
import shutil
import signal
import statistics
import subprocess
import time
import typing

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


class Sample(typing.NamedTuple):
    seconds: float
    user: float  # CPU seconds
    system: float  # those in the kernel
    mebibytes: float

    @property
    def cpu(self):
        return self.user + self.system

    def then(self, other):
        """This run followed by another one."""
        return Sample(self.seconds + other.seconds, self.user + other.user, self.system + other.system,
                      max(self.mebibytes, other.mebibytes))


class RunFailed(Exception):
    pass


class TookTooLong(Exception):
    pass


class Meter:
    """Runs commands under caiexport-measured-run."""

    def __init__(self, tool, folder):
        self._tool = tool
        self._report = folder / "measured"
        self._log = folder / "output.log"

    def run(self, command, cwd, environment=None, limit=None, output=None, code=0):
        """`code`: what it is to end with."""
        with open(self._log, "wb") as log, open(output or os.devnull, "wb") as out:
            process = subprocess.Popen([self._tool, self._report, *command], cwd=cwd, env=environment, stdout=out,
                                       stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
            try:
                ended = process.wait(limit)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise TookTooLong from None
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        if ended != code:
            words = self._log.read_text(errors="replace")[-2000:]
            raise RunFailed(f"{' '.join(map(str, command))[:300]} ended with {ended}:\n{words}")
        seconds, user, system, kibibytes = self._report.read_text().split()
        return Sample(float(seconds), float(user), float(system), int(kibibytes) / 1024)


def median(samples):
    return Sample(*(statistics.median(column) for column in zip(*samples)))


def fastest(samples):
    """What is left when nothing else disturbed a run."""
    return min(samples, key=lambda sample: sample.seconds)


def absolute_path(text):
    """The type of options that name a file or a folder: what is measured runs in a folder of its own."""
    return pathlib.Path(text).resolve()


def add_build_option(parser):
    """--build: the folder of the build that is measured; else what BUILD_DIR says, as for scripts/build."""
    parser.add_argument("--build", type=absolute_path, default=os.environ.get("BUILD_DIR", str(ROOT / "build")))


def build(folder, *targets):
    if not (folder / "CMakeCache.txt").exists():
        subprocess.run(["cmake", "-S", ROOT, "-B", folder], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", folder, "--target", *targets], check=True, stdout=subprocess.DEVNULL)


def first_line(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.stdout.decode(errors="replace").split("\n", 1)[0].strip()


def commit():
    return first_line("git", "-C", str(ROOT), "describe", "--always", "--dirty")


def machine():
    """One line: when and where this was measured."""
    cpu = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())[1]) / 1024 / 1024
    return (f"{datetime.date.today()}, commit {commit()}, {os.cpu_count()} cores ({cpu[1] if cpu else platform.machine()}), "
            f"{memory:.0f} GiB, Linux {platform.release()}, load before {os.getloadavg()[0]:.1f}")


def cpu_seconds(process):
    """Of a process and its children, those that live."""
    try:
        words = pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
        below = pathlib.Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return 0.0
    own = (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(cpu_seconds(child) for child in below)


class Busy:
    """What share of the machine those processes, with their children, take."""

    def __init__(self, processes):
        self._processes = processes
        self._began = self._now()

    def share(self):
        seconds, cpu = (now - began for now, began in zip(self._now(), self._began))
        return cpu / seconds / os.cpu_count() if seconds > 0 else 0.0

    def _now(self):
        return time.monotonic(), sum(cpu_seconds(process) for process in self._processes)


class Bystanders:
    """What share of the machine other programs take: those that are neither this one, nor its children that have ended,
    nor `processes` with their children."""

    def __init__(self, processes):
        self._processes = processes
        self._began = self._now()

    def share(self):
        machine, ours, idle = (now - began for now, began in zip(self._now(), self._began))
        return max(0.0, machine - ours - idle) / machine if machine > 0 else 0.0

    def _now(self):
        ticks = os.sysconf("SC_CLK_TCK")
        # proc(5): user, nice, system, idle, iowait, irq, softirq, steal; guests are in the first two.
        line = [int(word) / ticks for word in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        times = os.times()
        ours = times.user + times.system + times.children_user + times.children_system
        return sum(line), ours + sum(cpu_seconds(process) for process in self._processes), line[3] + line[4]


def free_bytes(folder):
    return shutil.disk_usage(folder).free


def is_tmpfs(folder):
    """Whether what is written there stays in memory."""
    folder = str(pathlib.Path(folder).resolve())
    mounts = [line.split() for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
    around = [mount for mount in mounts if folder == mount[1] or folder.startswith(mount[1].rstrip("/") + "/")]
    return max(around, key=lambda mount: len(mount[1]))[2] in ("tmpfs", "ramfs")


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)
