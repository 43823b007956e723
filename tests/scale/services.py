#!/usr/bin/env python3
"""Runs a command beside services that it needs: each is started by itself, on loopback, in a folder of its own, and is gone
with that folder when the command ends.

usage: services.py NAME[,NAME...] COMMAND...

  postgresql  libpq finds it by PGHOST (a folder with its socket), PGPORT, PGUSER and PGDATABASE: postgresql:/// is enough.
              SCALE_POSTGRESQL_TCP is its address on loopback, which wants the password that is in PGPASSFILE
  swift       OpenStack Swift speaking S3: SCALE_S3_ENDPOINT, SCALE_S3_KEY, SCALE_S3_SECRET; rclone knows it as `swift:`
  slurm       a controller and four nodes of one place each, n1 to n4: SLURM_CONF, with which sbatch and scontrol find it

The command's exit code is that of the whole. Needs scripts/setup --scale, but no root.
"""

import configparser
import ctypes
import glob
import http.client
import os
import pathlib
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

# What a wait may take on a busy machine; none takes it when things go well.
LIMIT_S = 120
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# prctl(2)
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LIBC = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """A service could not be started, or did not do what it was told."""


def wait_for(what, holds, limit=LIMIT_S):
    """Until holds() is true; what it returned."""
    end = time.monotonic() + limit
    while True:
        found = holds()
        if found:
            return found
        if time.monotonic() > end:
            raise Failed(f"after {limit} s still waiting for {what}")
        time.sleep(0.02)


def free_ports(count):
    """Nobody listens there now; asked for together, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def user_name():
    return pwd.getpwuid(os.geteuid()).pw_name


class Service:
    """Ends with the block. `settings` are the variables with which others find it."""

    # Programs and the packages of Debian that have them.
    PROGRAMS: dict = {}

    def __init__(self, folder):
        self.folder = pathlib.Path(folder) / type(self).__name__.lower()
        self.settings = {}
        self._processes = []

    @classmethod
    def missing(cls):
        """Packages to install, or nothing."""
        return sorted({package for program, package in cls.PROGRAMS.items() if not find(program)})

    def __enter__(self):
        if self.missing():
            raise Failed(f"{type(self).__name__} is not installed: {' '.join(self.missing())} (scripts/setup --scale)")
        self.folder.mkdir()
        # Others than root run some of it, and must get to what is theirs.
        self.folder.chmod(0o711)
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        raise NotImplementedError

    def stop(self):
        for process, _, how in reversed(self._processes):
            if process.poll() is None:
                process.send_signal(how)
        for process, _, _ in reversed(self._processes):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    def environment(self):
        return {"PATH": PATH, "HOME": str(self.folder), "TMPDIR": str(self.folder), "LANG": "C.UTF-8", **self.settings}

    def spawn(self, name, command, user=None, how_to_end=signal.SIGTERM):
        """A process that lives as long as the service, and no longer than this one; what it says goes to NAME.log."""
        with open(self.folder / f"{name}.log", "ab") as log:
            process = subprocess.Popen(command, env=self.environment(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log,
                                       stderr=subprocess.STDOUT, start_new_session=True, **as_user(user),
                                       preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, how_to_end))
        self._processes.append((process, name, how_to_end))
        return process

    def run(self, *command, user=None):
        done = subprocess.run(command, env=self.environment(), cwd=self.folder, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **as_user(user))
        if done.returncode != 0:
            raise Failed(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout[-2000:]}")
        return done.stdout

    def wait_until(self, what, holds):
        """As wait_for, but ends as soon as one of the processes does."""
        def looked():
            for process, name, _ in self._processes:
                if process.poll() is not None:
                    raise Failed(f"{name} ended with {process.returncode} at its start:\n{self.tail(name)}")
            return holds()

        try:
            return wait_for(what, looked)
        except Failed as failure:
            raise Failed("\n".join([str(failure), *(self.tail(name) for _, name, _ in self._processes)])) from None

    def tail(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")[-2000:]


def find(program):
    return shutil.which(program, path=PATH) or next(iter(sorted(glob.glob(program), reverse=True)), None)


def as_user(name):
    if name is None or os.geteuid() != 0:
        return {}
    user = pwd.getpwnam(name)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class PostgreSQL(Service):
    """A cluster of its own, with one database. Without `durable` it does not wait for the disk, which only a loss of power
    would tell."""

    INITDB = "/usr/lib/postgresql/*/bin/initdb"
    PROGRAMS = {INITDB: "postgresql"}

    def __init__(self, folder, durable=False):
        super().__init__(folder)
        self._durable = durable
        self._server = None
        # It refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None

    def start(self):
        programs = pathlib.Path(find(self.INITDB)).parent
        if self._user:
            shutil.chown(self.folder, self._user)
        password = self.folder / "password"
        password.write_text(secrets.token_hex(16) + "\n")
        port, = free_ports(1)
        self.settings = {"PGHOST": str(self.folder), "PGPORT": str(port), "PGUSER": "caiexport", "PGDATABASE": "caiexport",
                         "PGPASSFILE": str(self.folder / "passwords"), "SCALE_POSTGRESQL_TCP": f"127.0.0.1:{port}"}
        passwords = self.folder / "passwords"
        passwords.touch(mode=0o600)
        passwords.write_text(f"127.0.0.1:{port}:*:caiexport:{password.read_text()}")
        if self._user:
            shutil.chown(password, self._user)
        self.run(programs / "initdb", "-D", self.folder / "data", "-U", "caiexport", "--encoding=UTF8", "--locale=C.UTF-8",
                 "--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={password}", "--no-sync", user=self._user)
        self._server = [programs / "postgres", "-D", self.folder / "data", "-k", self.folder, "-p", str(port),
                        "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_permissions=0700",
                        "-c", f"fsync={'on' if self._durable else 'off'}"]
        self.serve()
        self.run("psql", "-d", "postgres", "-qc", "CREATE DATABASE caiexport")

    def serve(self):
        """SIGINT ends it without waiting for those who are connected."""
        self.spawn("postgres", self._server, self._user, signal.SIGINT)
        self.wait_until("PostgreSQL", lambda: subprocess.run(
            ["pg_isready", "-q", "-d", "postgres"], env=self.environment(), check=False).returncode == 0)

    def halt(self, how=signal.SIGQUIT):
        """SIGQUIT: as after a crash, `pg_ctl -m immediate`. It is gone when this returns; serve() starts it again."""
        process, _, _ = self._processes.pop()
        process.send_signal(how)
        process.wait(LIMIT_S)


class Swift(Service):
    """One copy of each object, in the file system; no daemon that mends or expires runs."""

    PROGRAMS = {"memcached": "memcached", "rclone": "rclone",
                **{f"swift-{part}-server": f"swift-{part}" for part in ("proxy", "account", "container", "object")}}
    KEY, SECRET = "test:tester", "testing"
    # Takes another swift.conf than that of /etc, which the programs have no option for.
    WITH_CONF = ("import runpy, sys, swift.common.utils as utils; utils.SWIFT_CONF_FILE = sys.argv[1]; "
                 "sys.argv = sys.argv[2:]; runpy.run_path(sys.argv[0], run_name='__main__')")
    # Which server has what, for all parts at once: swift-ring-builder would be started nine times.
    MAKE_RINGS = """
import sys
from swift.common.ring import RingBuilder
for word in sys.argv[1:]:
    part, port = word.split("=")
    builder = RingBuilder(4, 1, 1)
    builder.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port), "replication_ip": "127.0.0.1",
                     "replication_port": int(port), "device": "d1", "weight": 1.0, "meta": ""})
    builder.rebalance()
    builder.get_ring().save(part + ".ring.gz")
"""

    def start(self):
        parts = ("account", "container", "object")
        port, memory, *ports = free_ports(5)
        (self.folder / "devices" / "d1").mkdir(parents=True)
        require_attributes(self.folder)
        self._configure("swift", {"swift-hash": {"swift_hash_path_suffix": secrets.token_hex(8)},
                                  "storage-policy:0": {"name": "one", "default": "yes"}})
        self.run("/usr/bin/python3", "-c", self.MAKE_RINGS, *(f"{part}={port}" for part, port in zip(parts, ports)))
        for part, its_port in zip(parts, ports):
            self._serve(part, its_port, [part + "-server"], {})
        # tempauth keeps its tokens there.
        self.spawn("memcached", ["memcached", "-l", "127.0.0.1", "-p", str(memory), "-u", user_name()])
        self._serve("proxy", port, ["catch_errors", "gatekeeper", "cache", "s3api", "tempauth", "slo", "proxy-server"], {
            "app:proxy-server": {"account_autocreate": "true"},
            "filter:cache": {"use": "egg:swift#memcache", "memcache_servers": f"127.0.0.1:{memory}"},
            "filter:tempauth": {"user_" + self.KEY.replace(":", "_"): f"{self.SECRET} .admin"},
            "filter:s3api": {"location": "us-east-1"}})
        self.wait_until("Swift", lambda: all(map(listens, [port, memory, *ports])) and answers(port, "/healthcheck"))
        endpoint = f"http://127.0.0.1:{port}"
        self.settings = {"SCALE_S3_ENDPOINT": endpoint, "SCALE_S3_KEY": self.KEY, "SCALE_S3_SECRET": self.SECRET,
                         # Nothing of the user's own remotes.
                         "RCLONE_CONFIG": "/dev/null",
                         "RCLONE_CONFIG_SWIFT_TYPE": "s3", "RCLONE_CONFIG_SWIFT_PROVIDER": "Other",
                         "RCLONE_CONFIG_SWIFT_ENDPOINT": endpoint, "RCLONE_CONFIG_SWIFT_REGION": "us-east-1",
                         "RCLONE_CONFIG_SWIFT_ACCESS_KEY_ID": self.KEY, "RCLONE_CONFIG_SWIFT_SECRET_ACCESS_KEY": self.SECRET}

    def _serve(self, part, port, pipeline, more):
        *filters, app = pipeline
        known = {"DEFAULT": {"bind_ip": "127.0.0.1", "bind_port": port, "workers": "0", "user": user_name(),
                             "swift_dir": self.folder, "devices": self.folder / "devices", "mount_check": "false",
                             "recon_cache_path": self.folder, "fallocate_reserve": "0"},
                 "pipeline:main": {"pipeline": " ".join(["healthcheck", *filters, app])},
                 f"app:{app}": {"use": f"egg:swift#{part}", **more.pop(f"app:{app}", {})}}
        for name in ["healthcheck", *filters]:
            known[f"filter:{name}"] = {"use": f"egg:swift#{name}", **more.pop(f"filter:{name}", {})}
        conf = self._configure(part, known)
        self.spawn(part, ["/usr/bin/python3", "-c", self.WITH_CONF, self.folder / "swift.conf", find(f"swift-{part}-server"),
                          conf, "--verbose"])

    def _configure(self, name, sections):
        parser = configparser.RawConfigParser(default_section=None)
        parser.read_dict(sections)
        path = self.folder / f"{name}.conf"
        with open(path, "w", encoding="utf-8") as file:
            parser.write(file)
        return path


def require_attributes(folder):
    try:
        os.setxattr(folder, "user.swift", b"1")
    except OSError as error:
        raise Failed(f"Swift keeps what it knows of a file in extended attributes, which {folder} does not take: "
                     f"{error.strerror}. Set TMPDIR to a folder on a disk") from None


def answers(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


class Slurm(Service):
    """slurmctld, munge, and slurmd four times over on this host, one task each."""

    PROGRAMS = {"slurmctld": "slurmctld", "slurmd": "slurmd", "sbatch": "slurm-client", "munged": "munge"}
    NODES = 4
    CONF = """
ClusterName=scale
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
# A task that is queued again waits for as long as its credential lives, by default 120 s.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_min_interval=100000,bf_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
SlurmdTimeout=10
# EX_TEMPFAIL of its own: what another try may mend (see docs/engines.md).
RequeueExit=7
NodeName=n[1-{nodes}] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs=1 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""

    def start(self):
        self.folder.joinpath("state").mkdir()
        first = free_range(self.NODES)
        self.settings = {"SLURM_CONF": str(self.folder / "slurm.conf")}
        (self.folder / "slurm.conf").write_text(self.CONF.format(
            host=socket.gethostname().split(".")[0], user=user_name(), folder=self.folder, nodes=self.NODES,
            ports=free_ports(1), first=first, last=first + self.NODES - 1))
        # Control groups are not used; it insists on a plugin, and this one needs none of them to start.
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        self.spawn("munged", ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={self.folder}/munge.socket",
                              f"--pid-file={self.folder}/munged.pid", f"--log-file={self.folder}/munge.log",
                              f"--seed-file={self.folder}/munge.seed"])
        self.wait_until("munge", (self.folder / "munge.socket").exists)
        self.spawn("slurmctld", ["slurmctld", "-D"])
        for node in range(1, self.NODES + 1):
            self.start_node(node)
        self.wait_until("four idle nodes", lambda: self.states() == ["idle"] * self.NODES)

    def states(self):
        done = subprocess.run(["sinfo", "-N", "-h", "-o", "%T"], env=self.environment(), text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, check=False)
        return done.stdout.split()

    def wait_for_tasks(self, job):
        """Task number to how it ended, as in "FAILED 3:0". sbatch --wait looks after 2, 10 and 42 seconds, and then seldom."""
        def ended():
            tasks = self.run("scontrol", "--oneliner", "show", "job", job).splitlines()
            ends = {re.search(r" ArrayTaskId=(\S+)", task)[1]: re.search(r" JobState=(\S+)", task)[1] + " " +
                    re.search(r" ExitCode=(\S+)", task)[1] for task in tasks}
            going = ("PENDING", "RUNNING", "COMPLETING", "REQUEUED", "CONFIGURING", "SUSPENDED")
            return None if any(end.startswith(going) for end in ends.values()) else ends

        return wait_for(f"the tasks of job {job}", ended, 600)

    def start_node(self, number):
        return self.spawn(f"n{number}", ["slurmd", "-D", "-N", f"n{number}"])

    def kill_node(self, number):
        """As if its host lost power: slurmd, and what runs there. The controller is told, as by a monitor of hosts; by itself it
        takes half a minute to find out."""
        name = f"n{number}"
        process = next(process for process, its_name, _ in self._processes if its_name == name)
        self._processes = [each for each in self._processes if each[1] != name]
        doomed = [process.pid, *tasks_on(name, with_steps=True)]
        # None of them is to notice the end of another.
        for how in (signal.SIGSTOP, signal.SIGKILL):
            for pid in doomed:
                send(pid, how)
        process.wait()
        self.run("scontrol", "update", f"NodeName={name}", "State=DOWN", "Reason=died")

    def revive_node(self, number):
        self.start_node(number)
        self.run("scontrol", "update", f"NodeName=n{number}", "State=RESUME")


def free_range(count):
    """The first of some ports in a row on which nobody listens."""
    for first in range(20000, 30000, count):
        if not any(map(listens, range(first, first + count))):
            return first
    raise Failed("no ports are free")


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def tasks_on(node, with_steps=False):
    """What jobs of Slurm run there; they know by their environment where they are. On demand with the slurmstepds above them,
    which have left their slurmd and say nothing about it."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if f"SLURMD_NODENAME={node}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            pass
    parents = {parent_of(pid) for pid in found} if with_steps else set()
    return found + sorted(pid for pid in parents if name_of(pid) == "slurmstepd")


def name_of(pid):
    """Nothing where it is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def parent_of(pid):
    try:
        return int(pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


def descendants(pid):
    """All of them, those first that stand nearer to it."""
    found, left = [], [pid]
    while left:
        for children in pathlib.Path(f"/proc/{left.pop(0)}/task").glob("*/children"):
            try:
                below = [int(word) for word in children.read_text().split()]
            except OSError:
                continue
            found += below
            left += below
    return found


def die_with_parent():
    """Who started this process ended, perhaps without a chance to tell it."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def adopt_orphans():
    """Whatever this process starts stays below it, however it detaches itself."""
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1)


def end_descendants():
    """Nothing that was started here is left."""
    while left := descendants(os.getpid()):
        for pid in left:
            send(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            pass


SERVICES = {"postgresql": PostgreSQL, "swift": Swift, "slurm": Slurm}


class Together:
    """Several of them in one temporary folder; `settings` of all."""

    def __init__(self, names):
        self._names = names

    def __enter__(self):
        self._folder = tempfile.mkdtemp(prefix="caiexport-scale-")
        os.chmod(self._folder, 0o711)
        self.started, self.settings = [], {}
        try:
            for name in self._names:
                self.started.append(SERVICES[name](self._folder).__enter__())
                self.settings.update(self.started[-1].settings)
        except BaseException:
            self.__exit__()
            raise
        return self

    def environment(self):
        """Of this process, without what would lead rclone elsewhere; its S3 fails wherever AWS_CA_BUNDLE is set."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RCLONE_"))}
        return {**kept, **self.settings}

    def __exit__(self, *_):
        for service in reversed(self.started):
            service.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


class Ended(KeyboardInterrupt):
    """By a signal. Not an Exception, nor SystemExit: unittest takes these for the failure of a test, and goes on."""

    def __init__(self, number):
        super().__init__()
        self.code = 128 + number


def end_by_signals():
    """Ctrl-C and SIGTERM end it in an orderly way, which a second one does not disturb."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def leave(number, _):
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise Ended(number)

    for number in numbers:
        signal.signal(number, leave)


def main(arguments):
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__.strip())
        return 0 if arguments else 2
    names, command = arguments[0].split(","), [word for word in arguments[1:2] if word != "--"] + arguments[2:]
    if not set(names) <= set(SERVICES) or not command:
        print(f"services.py: expected names of services ({', '.join(SERVICES)}) and a command (see --help)", file=sys.stderr)
        return 2
    end_by_signals()
    adopt_orphans()
    try:
        with Together(names) as services:
            code = subprocess.run(command, env=services.environment(), check=False).returncode
            return code if code >= 0 else 128 - code
    except Failed as failure:
        print(f"services.py: {failure}", file=sys.stderr)
        return 1
    except Ended as ended:
        return ended.code
    finally:
        end_descendants()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
