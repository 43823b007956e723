"""What the download bench found: a table for each case, and the goals."""

import typing

import measuring
from download_peers import Pair


class Goal(typing.NamedTuple):
    what: str
    bound: float
    measured: typing.Optional[float]
    unit: str = ""

    @property
    def met(self):
        return self.measured is not None and self.measured <= self.bound


def best(fetchers, samples, fair):
    """The peer that took the least time."""
    peers = [fetcher for fetcher in fetchers if not fetcher.is_ours and (samples[fetcher].fair or not fair)]
    return min(peers, key=lambda fetcher: (samples[fetcher].fair if fair else samples[fetcher].bare).seconds)


class Result:
    """The runs of one case, with output in one place."""

    def __init__(self, letter, where, count, size_bytes, limit=None):
        self.letter = letter
        self.where = where
        self.connections = 0  # of the best fair peer
        self.bystanders = 0.0  # share of the machine
        self.serving = 0.0  # that of the server and the proxy
        self.limit = limit  # seconds that the link takes; None: it is not what decides
        self.single = {}
        self._runs = {}
        self._too_slow = {}
        self._failed = {}
        self._size = f"{count} × " + (f"{size_bytes >> 20} MiB" if size_bytes >= 1 << 20 else f"{size_bytes >> 10} KiB")

    def add(self, fetcher, pair):
        self._runs.setdefault(fetcher, []).append(pair)

    def too_slow(self, fetcher, limit):
        self._too_slow[fetcher] = limit

    def failed(self, fetcher, why):
        self._failed[fetcher] = why

    def is_too_slow(self, program):
        return any(fetcher.program == program for fetcher in self._too_slow)

    def keep_best_settings(self):
        """Of each program that ended; the other settings are forgotten."""
        by_program = {}
        for fetcher in self.single:
            by_program.setdefault(fetcher.program, []).append(fetcher)
        found = [best(settings, self.single, fair=False) for settings in by_program.values()]
        self.single = {fetcher: self.single[fetcher] for fetcher in found}
        self._too_slow = {f: limit for f, limit in self._too_slow.items() if f.program not in by_program}
        return found

    def medians(self):
        """Of what ran in turns."""
        return {fetcher: Pair(measuring.median([run.bare for run in runs]),
                              measuring.median([run.fair for run in runs]) if runs[0].fair else None)
                for fetcher, runs in self._runs.items()}

    def ours(self, connections=0):
        found = [pair for fetcher, pair in {**self.single, **self.medians()}.items()
                 if fetcher.is_ours and fetcher.connections == connections]
        return found[0].bare if found else None

    def best_peer(self, fair, connections=0):
        """Its median; of those with so many connections, where a number is given."""
        medians = self.medians()
        pair = medians[best([f for f in medians if connections in (0, f.connections)], medians, fair)]
        return pair.fair if fair else pair.bare

    def table(self):
        on_tmpfs = self.where == "tmpfs"
        medians = self.medians()
        fair_best, bare_best = self.best_peer(fair=True), self.best_peer(fair=False)
        rows = []
        for fetcher, pair in {**medians, **{f: p for f, p in self.single.items() if f not in medians}}.items():
            runs = len(self._runs.get(fetcher, [0]))
            row = [fetcher.label, str(runs)]
            if on_tmpfs:
                row += [f"{pair.bare.seconds:.2f}", f"{pair.bare.cpu:.2f}", f"{pair.bare.mebibytes:.0f}",
                        f"{pair.bare.seconds / bare_best.seconds:.2f}"]
                row += [f"{pair.bare.seconds / self.limit:.3f}"] if self.limit else []
            row += ([f"{pair.fair.seconds:.2f}", f"{pair.fair.cpu:.2f}", f"{pair.fair.seconds / fair_best.seconds:.2f}"]
                    if pair.fair else ["–"] * 3)
            rows.append(row)
        for fetcher, limit in self._too_slow.items():
            rows.append([fetcher.label, "1", f"> {limit:.0f}"] + ["–"] * (7 if self.limit else 6))
        for fetcher in self._failed:
            rows.append([fetcher.label, "1", "failed"] + ["–"] * (7 if self.limit else 6))
        head = ["", "runs"] + (["wall s", "CPU s", "peak MiB", "wall / best peer"] if on_tmpfs else [])
        head += ["wall / limit"] if on_tmpfs and self.limit else []
        head += ["fair: wall s", "CPU s", "wall / best fair peer"]
        return (f"### {self.letter}: {self._size}, output on {self.where}\n\n{measuring.table(head, rows)}\n\n"
                + (f"The link's limit is {self.limit:.2f} s. Server and proxy took {self.serving:.0%} of the machine. "
                   if self.limit else "") +
                f"Other programs took {self.bystanders:.0%} of the machine meanwhile.\n")

    def as_json(self):
        runs = {f.label: [pair._asdict() for pair in pairs] for f, pairs in self._runs.items()}
        single = {f.label: pair._asdict() for f, pair in self.single.items()}
        return {"case": self.letter, "where": self.where, "size": self._size, "bystanders": self.bystanders, "runs": runs, "single": single,
                "limit": self.limit, "serving": self.serving, "failed": {f.label: why for f, why in self._failed.items()},
                "too_slow_seconds": {f.label: limit for f, limit in self._too_slow.items()}}


def ratio(one, other):
    return None if one is None or other is None else one / other


def goals(results):
    """Those of the cases that ran."""
    bare = {"A": 0.75, "B": 1.0, "C": 0.9, "D": 1.0, "E": 0.7, "F": 1.0, "G": 1.0, "H": 1.0, "I": 1.0, "K": 1.0}
    fair = {"A": 0.55, "C": 0.6}
    found = []
    for result in results:
        ours, name = result.ours(), f"{result.letter} on {result.where}"
        if result.letter in fair:
            found.append(Goal(f"{name}: wall / best fair peer", fair[result.letter],
                              ratio(ours.seconds, result.best_peer(fair=True).seconds)))
        if result.where != "tmpfs":
            continue
        peer = result.best_peer(fair=False)
        found.append(Goal(f"{name}: wall / best peer, adaptive", bare[result.letter], ratio(ours.seconds, peer.seconds)))
        if result.limit:
            found.append(Goal(f"{name}: wall / limit of the link", 1.15 if result.letter == "H" else 1.08,
                              ratio(ours.seconds, result.limit)))
        if result.letter == "A":
            found.append(Goal(f"{name}: CPU / best peer", 1.0, ratio(ours.cpu, peer.cpu)))
        found += goals_at_connections(result, name, peer)
    return found


def goals_at_connections(result, name, peer):
    found = []
    at_64, at_8, same = result.ours(64), result.ours(8), result.ours(result.connections)
    if result.letter == "E":
        found.append(Goal(f"{name}: wall / best peer, --connections 64", 0.6, ratio(at_64.seconds, peer.seconds)))
    if result.letter in "DE":
        fair_peer = result.best_peer(fair=True, connections=result.connections)
        found.append(Goal(f"{name}: wall / best fair peer, both with {result.connections} connections", 1.02,
                          ratio(same.seconds, fair_peer.seconds)))
        found.append(Goal(f"{name}: peak memory with 64 connections", 64, at_64.mebibytes, " MiB"))
    if at_8:
        found.append(Goal(f"{name}: peak memory with 8 connections", 40, at_8.mebibytes, " MiB"))
    return found


def goals_table(found):
    rows = [[goal.what, f"≤ {goal.bound:g}{goal.unit}", "–" if goal.measured is None else
             (f"{goal.measured:.0f}{goal.unit}" if goal.unit else f"{goal.measured:.2f}"),
             "met" if goal.met else "**not met**"] for goal in found]
    return "### Goals\n\n" + measuring.table(["goal", "bound", "measured", ""], rows) + "\n"
