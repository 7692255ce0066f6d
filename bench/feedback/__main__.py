"""Measures the board at three sizes on both databases and writes the table: `python -m bench.feedback`, options by `--help`.

Server time of one request: from the WSGI call to the end of its answer, in this process, without a network. All pages are asked for in
turn, round after round, so that nothing is measured in a stretch of its own.
"""

import argparse
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import event

from bench.feedback import corpus
from bench.feedback.pages import Page, pages_of
from bench.notices.databases import NAMES, databases
from bench.report import print_table, save
from portal.app import create_app
from portal.config import read
from portal.database import db

AIM_MS = 50.0
WARM_UP = 2


@dataclass(frozen=True)
class Plan:
    sizes: Sequence[int]
    rounds: int
    folder: Path
    quick: bool


@dataclass(frozen=True)
class Figures:
    """Of one page with one number of items on one database: milliseconds, and statements."""

    p50: float
    p95: float
    statements: int


Results = dict[tuple[str, int], dict[str, Figures]]


def arguments(given: Sequence[str] | None = None) -> Plan:
    parser = argparse.ArgumentParser(prog="python -m bench.feedback", description="The board, its search and the inbox at size.")
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that it runs; nothing is written to the results")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000], metavar="N", help="items; ten times as many votes"
    )
    parser.add_argument("--rounds", type=int, default=40, help="requests of each page")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where databases lie while it runs: a real disk")
    given_plan = parser.parse_args(given)
    if given_plan.quick:
        return Plan([300, 1_000], 3, given_plan.folder, quick=True)
    return Plan(given_plan.sizes, given_plan.rounds, given_plan.folder, quick=False)


def main() -> None:
    plan = arguments()
    load_before = os.getloadavg()[0]
    results: Results = {}
    made: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=plan.folder) as folder, databases(Path(folder)) as stock:
        for size in plan.sizes:
            for database in NAMES:
                portal = stock.new(database)
                environment = {
                    **portal.environment(SIGN_IN_LIMIT="1000 per minute", STAFF_SECOND_FACTOR="optional"),
                    "DATA_DIR": str(portal.data_dir),
                }
                results[database, size], figures = measure(environment, size, plan.rounds)
                made[f"{database}, {size}"] = figures
                print(f"{database}, {size:,} items: {figures['votes']:,} votes made in {figures['seconds']:.0f} s", flush=True)
    report(plan, results, made, load_before)


def measure(environment: dict[str, str], size: int, rounds: int) -> tuple[dict[str, Figures], dict[str, Any]]:
    """Make a portal with so many items, and ask for each page so often."""
    app = create_app(read(environment).check())
    begin = time.perf_counter()
    made = corpus.make(app, size)
    facts = {"items": made.items, "votes": made.votes, "seconds": time.perf_counter() - begin}
    pages = pages_of(app, made)
    statements: list[str] = []
    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    # As `portal serve` does before it answers: else the collector looks through all of this again and again, in the midst of a request.
    gc.collect()
    gc.freeze()
    times: dict[str, list[float]] = {page.name: [] for page in pages}
    counts: dict[str, int] = {}
    for turn in range(rounds + WARM_UP):
        for page in pages:
            statements.clear()
            spent = _time(page)
            counts[page.name] = len(statements)
            if turn >= WARM_UP:
                times[page.name].append(spent * 1000)
    with app.app_context():
        db.engine.dispose()
    return {
        name: Figures(statistics.median(spent), statistics.quantiles(spent, n=20)[18], counts[name]) for name, spent in times.items()
    }, facts


def _time(page: Page) -> float:
    begin = time.perf_counter()
    answer = page.ask()
    answer.get_data()
    spent = time.perf_counter() - begin
    assert answer.status_code == 200, (page.name, answer.status_code)
    return spent


def report(plan: Plan, results: Results, made: dict[str, Any], load_before: float) -> None:
    """Print a line for each page: p95 with the most items, and before it with fewer, on both databases. Slower ones are marked."""
    names = list(next(iter(results.values())))
    headers = ["p95, ms", *(f"{database} {size:,}" for database in NAMES for size in plan.sizes), "p50 at most", "statements"]
    rows = []
    for name in names:
        all_of_it = [results[database, size][name] for database in NAMES for size in plan.sizes]
        cells = [f"{figures.p95:.1f}{' !' if figures.p95 >= AIM_MS else ''}" for figures in all_of_it]
        statements = {figures.statements for figures in all_of_it}
        rows.append([name, *cells, f"{max(figures.p50 for figures in all_of_it):.1f}", " to ".join(str(n) for n in sorted(statements))])
    print_table(headers, rows)
    print(f"\nLoad: {load_before:.1f} before, {os.getloadavg()[0]:.1f} after. ! means {AIM_MS:.0f} ms and more.")
    if plan.quick:
        return
    save("feedback", {
        "rounds": plan.rounds,
        "load": {"before": load_before, "after": os.getloadavg()[0]},
        "made": made,
        "aim_p95_ms": AIM_MS,
        "pages": {
            f"{database}, {size}": {name: vars(figures) for name, figures in of_pages.items()}
            for (database, size), of_pages in results.items()
        },
    })  # fmt: skip


if __name__ == "__main__":
    main()
