"""From figures to tables, and the aims beside what was reached."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.notices.contenders import Figures
from bench.report import print_table, save

NAIVE = "Flask-Mail, naive"
SOURCE = "smtp-source -s 1"
AIMED_AT = "k = 16"
MEGABYTE = 1_000_000

Runs = Mapping[str, Sequence[Figures]]


@dataclass(frozen=True)
class Results:
    """Everything that was measured. `memory` holds peak bytes with few and with many and mails a second with many."""

    sent: Mapping[int, Runs]
    delayed: Runs
    round_trip: float
    memory: Mapping[str, tuple[int, int, float]]
    fan_out: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    few: int
    many: int
    size: int
    load: float
    fsync: float
    promise: str


@dataclass(frozen=True)
class Medians:
    per_second: float
    cpu_ms: float
    sink_cpu_ms: float
    slowest: float
    fastest: float


def medians(runs: Runs) -> dict[str, Medians]:
    return {
        name: Medians(
            statistics.median(run.per_second for run in figures),
            statistics.median(run.cpu / run.count * 1000 for run in figures),
            statistics.median(run.sink_cpu / run.count * 1000 for run in figures),
            min(run.per_second for run in figures),
            max(run.per_second for run in figures),
        )
        for name, figures in runs.items()
    }


def sending_table(runs: Runs) -> tuple[list[str], list[list[str]]]:
    found = medians(runs)
    naive, source = found[NAIVE], found[SOURCE]
    headers = ["sender", "mails/s", "slowest-fastest", "x naive", "x -s 1", "CPU ms/mail", "of naive's CPU", "sink's CPU ms/mail"]
    rows = [
        [
            name, f"{one.per_second:,.0f}", f"{one.slowest:,.0f}-{one.fastest:,.0f}", f"{one.per_second / naive.per_second:.2f}",
            f"{one.per_second / source.per_second:.2f}", f"{one.cpu_ms:.3f}", f"{one.cpu_ms / naive.cpu_ms:.1%}", f"{one.sink_cpu_ms:.3f}",
        ]
        for name, one in found.items()
    ]  # fmt: skip
    return headers, rows


def aims(results: Results) -> list[list[str]]:
    """Each aim, what was reached, and whether that is enough."""
    rows: list[list[str]] = []

    def add(what: str, reached: float, aim: float, *, at_least: bool, shown: str) -> None:
        met = reached >= aim if at_least else reached <= aim
        rows.append([what, f"{'at least' if at_least else 'at most'} {shown.format(aim)}", shown.format(reached), "yes" if met else "NO"])

    for count, runs in results.sent.items():
        found = medians(runs)
        for name in (name for name in found if name.endswith(AIMED_AT)):
            one, of = found[name], f"{name}, {count:,} mails"
            add(f"{of}: against naive Flask-Mail", one.per_second / found[NAIVE].per_second, 16, at_least=True, shown="{:.2f} x")
            add(f"{of}: against smtp-source -s 1", one.per_second / found[SOURCE].per_second, 1.2, at_least=True, shown="{:.2f} x")
            add(f"{of}: processor time of naive Flask-Mail's", one.cpu_ms / found[NAIVE].cpu_ms, 0.04, at_least=False, shown="{:.1%}")
    found = medians(results.delayed)
    for name in (name for name in found if name.endswith(AIMED_AT)):
        add(
            f"{name}, slow road: against smtp-source -s 1",
            found[name].per_second / found[SOURCE].per_second,
            8,
            at_least=True,
            shown="{:.2f} x",
        )
    for database, (few, many, _) in results.memory.items():
        what = f"{database}: growth of memory from {results.few:,} to {results.many:,} recipients"
        add(what, (many - few) / MEGABYTE, 20, at_least=False, shown="{:.1f} MB")
    for database, (announced, bare) in results.fan_out.items():
        ratio = statistics.median(announced) / statistics.median(bare)
        add(f"{database}: fan-out of {results.many:,} against a bare INSERT … SELECT", ratio, 2, at_least=False, shown="{:.2f} x")
    return rows


def report(results: Results) -> None:
    """Print every table and write `bench/results/notices.json`."""
    for count, runs in results.sent.items():
        print(f"\n{count:,} mails of {results.size:,} bytes, medians of {len(next(iter(runs.values())))} interleaved runs\n")
        print_table(*sending_table(runs))
    print(f"\nThe same on a road with a round trip of {results.round_trip * 1000:.2f} ms\n")
    print_table(*sending_table(results.delayed))
    print(f"\nMost memory held, k = 16, {results.few:,} and {results.many:,} recipients\n")
    print_table(
        ["database", "MB, few", "MB, many", "growth MB", "mails/s, many"],
        [
            [database, f"{few / MEGABYTE:.1f}", f"{many / MEGABYTE:.1f}", f"{(many - few) / MEGABYTE:.1f}", f"{rate:,.0f}"]
            for database, (few, many, rate) in results.memory.items()
        ],
    )
    print(f"\nFan-out of {results.many:,} deliveries, commit included, seconds\n")
    print_table(
        ["database", "announce", "bare INSERT … SELECT", "ratio"],
        [
            [database, f"{ours:.2f}", f"{bare:.2f}", f"{ours / bare:.2f}"]
            for database, ours, bare in (
                (name, statistics.median(announced), statistics.median(plain)) for name, (announced, plain) in results.fan_out.items()
            )
        ],
    )
    print("\nAims\n")
    print_table(["what", "aim", "reached", "met"], aims(results))
    print(f"\nAn fsync of 4 KB takes {results.fsync * 1000:.2f} ms. PostgreSQL: fsync, synchronous_commit {results.promise}.")
    if results.load > 0.5:
        print(f"The machine was not quiet when this began (load {results.load:.2f}): take the figures with care.")
    save("notices", figures(results))


def figures(results: Results) -> dict[str, Any]:
    def spread(runs: Runs) -> dict[str, Any]:
        return {name: {"medians": asdict(one), "runs": [asdict(run) for run in runs[name]]} for name, one in medians(runs).items()}

    return {
        "bytes": results.size,
        "load_at_start": results.load,
        "fsync_seconds": results.fsync,
        "postgresql_fsync_and_synchronous_commit": results.promise,
        "sent": {str(count): spread(runs) for count, runs in results.sent.items()},
        "slow_road": {"round_trip_seconds": results.round_trip, **spread(results.delayed)},
        "memory": {
            name: dict(zip(("few_bytes", "many_bytes", "mails_per_second"), values, strict=True)) for name, values in results.memory.items()
        },
        "fan_out_seconds": {name: {"announce": list(ours), "bare": list(bare)} for name, (ours, bare) in results.fan_out.items()},
        "aims": aims(results),
    }
