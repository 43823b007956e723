"""Workers that share one job, each on a host of its own behind a slow link: the world they need, and what they did."""

import hashlib
import json
import os
import pathlib
import re
import shlex
import signal
import ssl
import subprocess
import sys
import time
import typing
import urllib.request

import namespaces
import services

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import sandbox  # noqa: E402  pylint: disable=wrong-import-position

DATASET = sandbox.SCORE_DATASET
ENGINES = pathlib.Path(__file__).resolve().parent.parent.parent / "packaging" / "engines"
FETCHES = "GET /data/foundation/export/files/{id}?path"

CERTIFICATE = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=caiexport scale",
               "-addext", f"subjectAltName=IP:{namespaces.PLATFORM}"]

# The server writes down each time that a file is said to be here, and that one worker takes it from another: what they claim,
# whoever they are. The first of them makes the tables; this waits for that.
NOTE_EFFECTS = """
CREATE TABLE scale_effect (file bigint NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE scale_taken (LIKE scale_effect INCLUDING ALL);
CREATE FUNCTION scale_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  EXECUTE format('INSERT INTO %I (file) VALUES ($1)', TG_ARGV[0]) USING NEW.id; RETURN NULL; END $$;
CREATE FUNCTION scale_watch() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
  IF EXISTS (SELECT FROM information_schema.columns WHERE table_name = 'file' AND column_name = 'worker') AND
     NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'scale_effect') THEN
    CREATE TRIGGER scale_effect AFTER UPDATE OF state ON file FOR EACH ROW
      WHEN (NEW.state = 'downloaded') EXECUTE FUNCTION scale_note('scale_effect');
    CREATE TRIGGER scale_taken AFTER UPDATE OF worker ON file FOR EACH ROW
      WHEN (NEW.worker <> OLD.worker) EXECUTE FUNCTION scale_note('scale_taken');
  END IF; END $$;
CREATE EVENT TRIGGER scale_watch ON ddl_command_end WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION scale_watch();
"""


class Platform(sandbox.Simulator):
    """The simulator, speaking TLS at the address that those behind links reach."""

    def __init__(self, programs, folder, files, file_bytes):
        folder.mkdir()
        namespaces.run(*CERTIFICATE, "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"))
        super().__init__(str(programs / "caiexport-simulator"), str(folder), "--host", namespaces.PLATFORM,
                         "--tls", str(folder / "cert.pem"), str(folder / "key.pem"), "--batches", "1",
                         "--files", str(files), "--file-bytes", str(file_bytes))

    def __enter__(self):
        super().__enter__()
        port = self.settings["CAIEXPORT_BASE_URL"].rsplit(":", 1)[1]
        self.origin = f"https://{namespaces.PLATFORM}:{port}"
        self.settings |= {"CAIEXPORT_BASE_URL": self.origin, "CAIEXPORT_IMS_URL": self.origin,
                          "CAIEXPORT_CA_FILE": os.path.join(self.folder, "cert.pem")}
        return self

    def state(self):
        context = ssl.create_default_context(cafile=self.settings["CAIEXPORT_CA_FILE"])
        with urllib.request.urlopen(self.origin + "/_simulator/state", context=context, timeout=60) as answer:
            return json.load(answer)


class Outcome(typing.NamedTuple):
    seconds: float
    codes: list  # of the workers, in their order
    fetched: int  # requests for bytes of files that the platform has answered
    effects: int  # times that a file was recorded as here
    distinct: int  # files that were
    files: int  # that the manifest lists
    taken: int  # files that a worker took from another
    wrong: list  # what is not as it should be on disk
    mebibytes: float  # the most that a worker took; 0 where an engine started them
    takeover: typing.Optional[float] = None  # seconds from a worker's end until all that it held was taken

    def row(self):
        return [f"{self.seconds:.1f}", " ".join(map(str, self.codes)), str(self.fetched),
                f"{self.effects} / {self.distinct} / {self.files}", str(self.taken), f"{self.mebibytes:.0f}" if self.mebibytes else ""]


class Worker:
    """One process of the program; the most memory that it took is looked at while it runs."""

    def __init__(self, command, environment, log):
        self.log = log
        with open(log, "ab") as file:
            self.process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=file,
                                            stderr=subprocess.STDOUT)
        self.kibibytes = 0

    def look(self):
        """Whether it still runs."""
        try:
            with open(f"/proc/{self.process.pid}/status", encoding="ascii", errors="replace") as file:
                for line in file:
                    if line.startswith("VmHWM:"):
                        self.kibibytes = max(self.kibibytes, int(line.split()[1]))
        except OSError:
            pass
        return self.process.poll() is None

    @property
    def code(self):
        """As a shell tells it."""
        code = self.process.returncode
        return code if code >= 0 else 128 - code


class World:
    """A platform, a PostgreSQL, hosts behind links; inside of namespaces.run_apart. Ends with the block."""

    def __init__(self, programs, folder, files, file_bytes, hosts=4, rate="40mbit", durable=False):
        # Scripts run it from folders of their own.
        programs = pathlib.Path(programs).resolve()
        self.program = programs / "caiexport"
        self.folder = pathlib.Path(folder)
        self._parts = [Platform(programs, self.folder / "platform", files, file_bytes),
                       services.PostgreSQL(folder, durable), namespaces.Hosts(hosts, rate)]
        self.platform, self.postgresql, self.hosts = self._parts
        self._began = []
        self._jobs = 0
        # Name to SHA-256 of what the first job brought: all others must bring the same.
        self.sums = {}

    def __enter__(self):
        try:
            for part in self._parts:
                part.__enter__()
                self._began.append(part)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for part in reversed(self._began):
            part.__exit__(None, None, None)
        self._began.clear()

    def job(self):
        self._jobs += 1
        return Job(self, self._jobs)


class Job:
    """One key, one folder, one database that nobody used before."""

    def __init__(self, world, number):
        self.world = world
        self.program = program = world.program
        self.folder = world.folder / f"job{number}"
        self.folder.mkdir()
        self.output = self.folder / "scores"
        self.key = f"key-{number}"
        self.settings = {**sandbox.environment_in(str(self.folder), str(program.parent)), **world.platform.settings,
                         **world.postgresql.settings, "PGDATABASE": f"job{number}",
                         "CAIEXPORT_DATABASE": "postgresql:///", "CAIEXPORT_OUTPUT": str(self.output)}
        self.workers = []
        self._served = world.platform.state()["requests"].get(FETCHES, 0)
        world.postgresql.run("psql", "-d", "postgres", "-qc", f"CREATE DATABASE job{number}")
        self.ask(NOTE_EFFECTS)

    def settings_of_scripts(self, variable):
        """For the scripts of packaging/engines, as they are: `caiexport` there goes to the host of the number in the variable."""
        own = self.folder / "bin"
        own.mkdir()
        hosts = "".join(f"{number}) exec {shlex.join(self.world.hosts.inside(number % 4))} {self.program} \"$@\" ;;\n"
                        for number in range(5))
        (own / "caiexport").write_text(f"#!/bin/bash\ncase ${variable} in\n{hosts}esac\n")
        (own / "caiexport").chmod(0o755)
        return {**self.settings, "CAIEXPORT_LEASE": "3s", "CAIEXPORT_SHARE": self.key, "PATH": f"{own}:{services.PATH}"}

    def ask(self, sql):
        done = subprocess.run(["psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-c", sql], env=self.settings, text=True,
                              capture_output=True, check=False)
        if done.returncode != 0:
            raise services.Failed(f"PostgreSQL: {done.stderr}")
        return done.stdout.strip()

    @property
    def words(self):
        return ["dataset", "--share", self.key, "--id", DATASET, "--verify", "size", "--quiet"]

    def start(self, count, lease="3s"):
        """That many workers, on as many hosts."""
        self.settings["CAIEXPORT_LEASE"] = lease
        self.began = time.monotonic()
        for number in range(count):
            self.start_one(number)

    def start_one(self, number):
        worker = Worker([*self.world.hosts.inside(number), self.program, *self.words],
                        self.settings, self.folder / f"output-{number}")
        self.workers.append(worker)
        return worker

    def effects(self):
        return int(self.ask("SELECT count(*) FROM scale_effect"))

    def wait_for_effects(self, count):
        services.wait_for(f"{count} files", lambda: self.effects() >= count or not any([w.look() for w in self.workers]))

    def wait_for_answer(self, sql):
        """Until there are rows. The tables may not be there yet."""
        def asked():
            done = subprocess.run(["psql", "-X", "-q", "-At", "-c", sql], env=self.settings, text=True, capture_output=True, check=False)
            if not any([worker.look() for worker in self.workers]):
                raise services.Failed(f"the workers have ended before there were rows of {sql}\n{done.stderr}")
            return done.stdout.strip()

        return services.wait_for("rows of " + sql, asked)

    def wait(self, limit=600):
        services.wait_for("the workers", lambda: not any([worker.look() for worker in self.workers]), limit)
        return self.outcome(time.monotonic() - self.began)

    def outcome(self, seconds):
        manifests = list(self.output.rglob("*manifest.json"))
        wrong = [f"{len(manifests)} manifests"] if len(manifests) != 1 else []
        wrong += [f"{path.name} is left" for path in self.output.rglob("*.part")]
        listed = [file for path in manifests for file in json.loads(path.read_text())["files"]]
        sums = {path.name: sha256_of(path) for manifest in manifests for path in manifest.parent.rglob("part-*")
                if path.suffix != ".part"}
        if sums != {file["name"]: file["sha256"] for file in listed}:
            wrong.append("the files are not those of the manifest")
        self.world.sums = self.world.sums or sums
        if sums != self.world.sums:
            wrong.append("the files are not those that the first job brought")
        effects, distinct, taken = map(int, self.ask(
            "SELECT count(*), count(DISTINCT file), (SELECT count(*) FROM scale_taken) FROM scale_effect").split("|"))
        return Outcome(seconds, [worker.code for worker in self.workers],
                       self.world.platform.state()["requests"].get(FETCHES, 0) - self._served, effects, distinct, len(listed),
                       taken, wrong, max((worker.kibibytes for worker in self.workers), default=0) / 1024)

    def signal(self, number, how):
        self.workers[number].process.send_signal(how)


class Modes:
    """What may happen to workers. Each takes a job, and a count of files after which it happens."""

    @staticmethod
    def killed(job, after):
        """Two of four are killed."""
        job.start(4)
        job.wait_for_effects(after)
        for number in (1, 2):
            job.signal(number, signal.SIGKILL)
        return job.wait()

    @staticmethod
    def killed_late(job, after, lease_s=3):
        """One of four is killed when all that is left is in somebody's hands: the others wait for what it held."""
        del after
        job.start(4, f"{lease_s}s")
        # Of what is begun, the process that has most.
        busiest = job.wait_for_answer("""
            SELECT pid FROM file JOIN worker ON worker.id = file.worker WHERE state NOT IN ('downloaded', 'verified')
            AND NOT EXISTS (SELECT FROM file WHERE worker IS NULL AND state NOT IN ('downloaded', 'verified'))
            GROUP BY pid ORDER BY count(*) DESC LIMIT 1""")
        services.send(int(busiest), signal.SIGKILL)
        killed = time.time()
        outcome = job.wait()
        last = job.ask("SELECT extract(epoch FROM max(at)) FROM scale_taken")
        return outcome._replace(takeover=float(last) - killed if last else None)

    @staticmethod
    def frozen(job, after):
        """One of four stands still until the others are done without it."""
        job.start(4)
        job.wait_for_effects(after)
        job.signal(1, signal.SIGSTOP)
        others = [worker for number, worker in enumerate(job.workers) if number != 1]
        services.wait_for("the others", lambda: not any([worker.look() for worker in others]), 600)
        job.signal(1, signal.SIGCONT)
        return job.wait()

    @staticmethod
    def woken(job, after, lease_s=3):
        """One of four stands still for longer than its lease, while the others still have work."""
        job.start(4, f"{lease_s}s")
        job.wait_for_effects(after)
        job.signal(1, signal.SIGSTOP)
        end = time.monotonic() + lease_s + 1
        services.wait_for("the lease's end", lambda: time.monotonic() > end)
        job.signal(1, signal.SIGCONT)
        return job.wait()

    @staticmethod
    def restarted(job, after):
        """PostgreSQL is gone without notice, and there again."""
        # What a server takes to get up again must be less.
        job.start(4, "30s")
        job.wait_for_effects(after)
        job.world.postgresql.halt()
        job.world.postgresql.serve()
        return job.wait()

    @staticmethod
    def by_parallel(job, after):
        """As workers of GNU parallel, one of which is killed. The code is that of the whole."""
        began = time.monotonic()
        script = subprocess.Popen([ENGINES / "parallel.sh", *job.words[3:]], env=job.settings_of_scripts("PARALLEL_SEQ"),
                                  cwd=job.folder, stdin=subprocess.DEVNULL)
        services.wait_for(f"{after} files", lambda: job.effects() >= after or script.poll() is not None, 600)
        for pid in [pid for pid in services.descendants(script.pid) if services.name_of(pid) == "caiexport"][:1]:
            services.send(pid, signal.SIGKILL)
        services.wait_for("parallel", lambda: script.poll() is not None, 600)
        return job.outcome(time.monotonic() - began)._replace(codes=[script.returncode])

    @staticmethod
    def by_slurm(job, after):
        """As a Slurm array: one task is killed, one is requeued, and the node of one dies."""
        with services.Slurm(job.folder) as slurm:
            environment = {**job.settings_of_scripts("SLURM_ARRAY_TASK_ID"), **slurm.settings}
            began = time.monotonic()
            submitted = subprocess.run(["sbatch", "--parsable", ENGINES / "slurm.sh", *job.words[3:]], env=environment,
                                       cwd=job.folder, stdout=subprocess.PIPE, text=True, check=True)
            number = submitted.stdout.strip()
            services.wait_for(f"{after} files", lambda: job.effects() >= after, 600)
            nodes = dict(line.split() for line in slurm.run("squeue", "-h", "-r", "-o", "%K %N").splitlines())
            for pid in services.tasks_on(nodes["0"]):
                if services.name_of(pid) == "caiexport":
                    services.send(pid, signal.SIGKILL)
            slurm.run("scontrol", "requeue", f"{number}_1")
            slurm.kill_node(int(nodes["2"][1:]))
            slurm.revive_node(int(nodes["2"][1:]))
            ends = slurm.wait_for_tasks(number)
            outcome = job.outcome(time.monotonic() - began)
            return outcome._replace(codes=[ends[str(number)] for number in range(4)])


def run_apart(world, count):
    """What the links and this machine allow: that many jobs of one worker each, with records and folders of their own. The
    seconds until all were done."""
    workers = []
    began = time.monotonic()
    for number in range(count):
        folder = world.folder / f"apart{count}-{number}"
        folder.mkdir()
        program = world.program
        settings = {**sandbox.environment_in(str(folder), str(program.parent)), **world.platform.settings,
                    "CAIEXPORT_OUTPUT": str(folder / "scores")}
        workers.append(Worker([*world.hosts.inside(number), program, "dataset", "--id", DATASET, "--verify", "size", "--quiet"],
                              settings, folder / "output"))
    services.wait_for("the workers", lambda: not any([worker.look() for worker in workers]), 600)
    seconds = time.monotonic() - began
    for worker in workers:
        if worker.code != 0:
            raise services.Failed(f"a worker by itself ended with {worker.code}: {worker.log.read_text()[-1000:]}")
    return seconds


def sha256_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
