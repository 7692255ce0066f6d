"""Runs the whole comparison and writes the tables: `python -m bench.notices`, options by `--help`."""

import argparse
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.notices.contenders import BENCH_PYTHON, Contender, Figures, Wrong, ours, peer, source, take_turn, told_figures
from bench.notices.databases import NAMES, Databases, Portal, databases
from bench.notices.tables import Results, report
from bench.notices.wire import leave_the_sink_its_processor, read_dump, round_trip, sink, slow_road

CONNECTIONS = (4, 16)
TRIAL_MAILS = 100


@dataclass(frozen=True)
class Plan:
    """What is run. Sizes in bytes, `delay` in seconds for each direction."""

    counts: Sequence[int]
    rounds: int
    size: int
    delay: float
    delayed_count: int
    delayed_rounds: int
    many: int
    few: int
    folder: Path


def arguments(given: Sequence[str] | None = None) -> Plan:
    parser = argparse.ArgumentParser(prog="python -m bench.notices", description="Sending notices, against others.")
    parser.add_argument("--counts", type=int, nargs="+", default=[2_000, 10_000], metavar="N", help="mails per run")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each contender with each number of mails")
    parser.add_argument("--size", type=int, default=8_192, help="bytes of a mail")
    parser.add_argument("--delay-ms", type=float, default=1, help="milliseconds added to each direction of the slow road")
    parser.add_argument("--delayed-count", type=int, default=2_000, help="mails per run on the slow road")
    parser.add_argument("--delayed-rounds", type=int, default=3, help="runs of each contender on the slow road")
    parser.add_argument("--few", type=int, default=2_000, help="recipients of the smaller notice whose memory is compared")
    parser.add_argument("--many", type=int, default=100_000, help="recipients of the larger notice, and deliveries of the fan-out")
    parser.add_argument(
        "--folder", type=Path, default=Path("/var/tmp"), help="where databases lie while it runs: a real disk, since commits are part of it"
    )
    read = parser.parse_args(given)
    return Plan(
        read.counts, read.rounds, read.size, read.delay_ms / 1000, read.delayed_count, read.delayed_rounds, read.many, read.few, read.folder
    )


class Portals:
    """Portals that have announced a release to so many people, made when first asked for."""

    def __init__(self, stock: Databases, size: int) -> None:
        self._stock = stock
        self._size = size
        self._silent: dict[tuple[str, int], Portal] = {}
        self._announced: dict[tuple[str, int], Portal] = {}

    def silent(self, database: str, count: int) -> Portal:
        """A portal with so many people and a release that nobody was told of."""
        if (database, count) not in self._silent:
            portal = self._stock.new(database)
            portal.run("prepare", str(count), str(self._size))
            self._silent[database, count] = portal
        return self._silent[database, count]

    def announced(self, database: str, count: int) -> Portal:
        if (database, count) not in self._announced:
            portal = self._stock.duplicate(self.silent(database, count))
            told_figures(portal.run("announce"), count, "announce")
            self._announced[database, count] = portal
        return self._announced[database, count]

    def copy(self, database: str, count: int) -> AbstractContextManager[Portal]:
        """A copy of a portal that has announced, to be used up."""
        return self._stock.copy(self.announced(database, count))

    def silent_copy(self, database: str, count: int) -> AbstractContextManager[Portal]:
        return self._stock.copy(self.silent(database, count))


def all_contenders(portals: Portals) -> list[Contender]:
    flask_mail = "bench.notices.flask_mail_peer"
    return [
        Contender("smtp-source -s 1", source("-s", "1")),
        Contender("smtp-source -s 1 -d", source("-s", "1", "-d")),
        Contender("smtp-source -s 4", source("-s", "4")),
        Contender("smtp-source -s 4 -d", source("-s", "4", "-d")),
        Contender("Flask-Mail, naive", peer(sys.executable, flask_mail, "naive")),
        Contender("Flask-Mail, connect()", peer(sys.executable, flask_mail, "connect")),
        Contender("Flask-Mail, connect(), commit per row", peer(sys.executable, flask_mail, "commit")),
        Contender("django-post_office", peer(BENCH_PYTHON, "bench.notices.post_office_peer")),
        *our_contenders(portals, CONNECTIONS),
    ]


def our_contenders(portals: Portals, connections: Sequence[int]) -> list[Contender]:
    return [Contender(f"portal, {name}, k = {k}", ours(partial(portals.copy, name), k)) for name in NAMES for k in connections]


def try_out(contenders: Sequence[Contender], size: int, folder: Path) -> None:
    """Let each send a few mails to a sink that keeps them, and look at them: as many bytes as agreed, one recipient, none twice."""
    for contender in contenders:
        dump = folder / "dump"
        take_turn(contender, TRIAL_MAILS, size, folder, dump=dump)
        mails = read_dump(dump)
        dump.unlink()
        average = statistics.mean(mail.size for mail in mails)
        recipients = {mail.recipients for mail in mails}
        is_source = contender.name.startswith("smtp-source")
        if abs(average - size) > size * 0.02:
            raise Wrong(f"{contender.name}: mails of {average:.0f} bytes where {size} were agreed")
        if any(len(one) != 1 for one in recipients) or (not is_source and len(recipients) != TRIAL_MAILS):
            raise Wrong(f"{contender.name}: not one mail to each of {TRIAL_MAILS} recipients")


def interleaved(
    contenders: Sequence[Contender], count: int, rounds: int, plan: Plan, folder: Path, delay: float = 0
) -> dict[str, list[Figures]]:
    """Let all take their turns, round after round, each round beginning with another."""
    figures: dict[str, list[Figures]] = {contender.name: [] for contender in contenders}
    for number in range(rounds):
        first = number * 5 % len(contenders)
        for contender in [*contenders[first:], *contenders[:first]]:
            taken = take_turn(contender, count, plan.size, folder, delay=delay)
            figures[contender.name].append(taken)
            say(f"{count} mails, round {number + 1}: {contender.name}, {taken.per_second:.0f} a second")
    return figures


def memory(portals: Portals, plan: Plan, folder: Path) -> dict[str, tuple[int, int, float]]:
    """The most memory a process held that sent to few and to many, by database, and how many mails a second the latter were."""
    found = {}
    for database in NAMES:
        contender = our_contenders(portals, CONNECTIONS[-1:])[NAMES.index(database)]
        few = take_turn(contender, plan.few, plan.size, folder)
        many = take_turn(contender, plan.many, plan.size, folder)
        say(f"memory on {database}: {few.peak_bytes:,} bytes, then {many.peak_bytes:,}; {many.per_second:.0f} mails a second")
        found[database] = (few.peak_bytes, many.peak_bytes, many.per_second)
    return found


def fan_out(portals: Portals, plan: Plan) -> dict[str, tuple[list[float], list[float]]]:
    """Seconds of announcing to many, and of a bare INSERT … SELECT of the same rows, by database, in turn."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for database in NAMES:
        announced: list[float] = []
        bare: list[float] = []
        for _ in range(plan.rounds):
            with portals.silent_copy(database, plan.many) as portal:
                announced.append(told_figures(portal.run("announce"), plan.many, "announce").seconds)
            with portals.copy(database, plan.many) as portal:
                bare.append(told_figures(portal.run("bare"), plan.many, "bare").seconds)
            say(f"fan-out on {database}: {announced[-1]:.2f} s, bare {bare[-1]:.2f} s")
        found[database] = (announced, bare)
    return found


def fsync_seconds(folder: Path, times: int = 50) -> float:
    """The median seconds of making 4 KB durable: what a commit costs at least."""
    taken = []
    with (folder / "fsync").open("wb") as out:
        for _ in range(times):
            out.write(b"x" * 4096)
            out.flush()
            begin = time.perf_counter()
            os.fsync(out.fileno())
            taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def delayed_road(plan: Plan, folder: Path) -> float:
    """The round trip through the slow road, as measured."""
    with sink(folder) as server, slow_road(server.port, plan.delay) as port:
        return round_trip(port)


def say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def main() -> None:
    plan = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped and databases removed
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=plan.folder, prefix="portal-bench-") as name, databases(Path(name)) as stock:
        folder = Path(name)
        folder.chmod(0o1777)  # started by root, the sink and PostgreSQL run as users of their own
        leave_the_sink_its_processor()
        portals = Portals(stock, plan.size)
        contenders = all_contenders(portals)
        try_out(contenders, plan.size, folder)
        sent = {count: interleaved(contenders, count, plan.rounds, plan, folder) for count in plan.counts}
        slow = [
            one
            for one in contenders
            if one.name in {"smtp-source -s 1", "smtp-source -s 1 -d", "Flask-Mail, naive"} or "portal" in one.name
        ]
        delayed = interleaved(slow, plan.delayed_count, plan.delayed_rounds, plan, folder, plan.delay)
        report(
            Results(
                sent=sent,
                delayed=delayed,
                round_trip=delayed_road(plan, folder),
                memory=memory(portals, plan, folder),
                fan_out=fan_out(portals, plan),
                few=plan.few,
                many=plan.many,
                size=plan.size,
                load=load,
                fsync=fsync_seconds(folder),
                promise=stock.promise(),
            )
        )


if __name__ == "__main__":
    main()
