"""Namespaces of the kernel: one set for a whole test run, so that nothing of it is left or meets what else runs here; and one
network each for workers that stand behind a slow link, as on hosts of their own."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import traceback

import services
from services import LIBC

# unshare(2), mount(2)
CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x20000000, 0x40000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
# Where those behind links find the platform. RFC 5737 keeps 192.0.2.0/24 for documents: it is nobody's.
PLATFORM = "192.0.2.1"
IS_APART = False


def run_apart(function):
    """What function() returns, and None. It runs as the first process of network, mount and process namespaces of its own:
    whatever it starts ends with it. Where that may not be done: None, and why; it has not run then."""
    if LIBC.unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET) != 0:
        return None, f"no namespaces of its own: {os.strerror(ctypes.get_errno())} (needs root, CAP_SYS_ADMIN and CAP_NET_ADMIN)"
    # The next process is the first of the new ones.
    child = os.fork()
    if child == 0:
        global IS_APART  # pylint: disable=global-statement
        IS_APART, code = True, 1
        try:
            services.die_with_parent()
            LIBC.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None)
            LIBC.mount(b"proc", b"/proc", b"proc", 0, None)
            ip("link", "set", "lo", "up")
            # Programs that ask for addresses "as configured" (Slurm) get none where there is only that of loopback.
            ip("addr", "add", f"{PLATFORM}/32", "dev", "lo")
            code = function()
        except SystemExit as leaving:
            code = leaving.code
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code if isinstance(code, int) else 1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: services.send(child, number))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code, None


def why_no_links():
    """Nothing where Hosts can be made, else the reason."""
    if not IS_APART:
        return "no namespaces of its own (needs root, CAP_SYS_ADMIN and CAP_NET_ADMIN)"
    if not shutil.which("tc", path=services.PATH):
        return "not installed: iproute2"
    return None


class Hosts:
    """`count` networks, each behind a link that lets so much pass towards it; they reach PLATFORM and nothing else. Only
    inside of run_apart, whose own network has that address."""

    def __init__(self, count, rate="40mbit"):
        self._count = count
        self._rate = rate
        self._keepers = []

    def __enter__(self):
        try:
            for number in range(self._count):
                self._make(number)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _make(self, number):
        # Lives until nobody holds the other end of its pipe.
        keeper = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo && exec cat"], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE)
        self._keepers.append(keeper)
        keeper.stdout.readline()
        near, far = f"192.0.2.{4 * number + 5}", f"192.0.2.{4 * number + 6}"
        link = f"worker{number}"
        ip("link", "add", link, "type", "veth", "peer", "name", "up", "netns", str(keeper.pid))
        ip("addr", "add", f"{near}/30", "dev", link)
        ip("link", "set", link, "up")
        run("tc", "qdisc", "add", "dev", link, "root", "tbf", "rate", self._rate, "burst", "64kb", "latency", "200ms")
        inside = self.inside(number)
        ip("link", "set", "lo", "up", before=inside)
        ip("addr", "add", f"{far}/30", "dev", "up", before=inside)
        ip("link", "set", "dev", "up", "up", before=inside)
        ip("route", "add", "default", "via", near, before=inside)

    def inside(self, number):
        """What a command begins with that is to run there. The process stays the same: signals reach the program."""
        return ["nsenter", f"--net=/proc/{self._keepers[number].pid}/ns/net", "--"]

    def __exit__(self, *_):
        for keeper in self._keepers:
            keeper.stdin.close()
            keeper.stdout.close()
            keeper.wait()
        self._keepers.clear()


def ip(*words, before=()):
    run(*before, "ip", *words)


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise services.Failed(f"{' '.join(command)}: {done.stdout.strip()}")
