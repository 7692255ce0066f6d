"""Runs the whole comparison and writes the tables: `python -m bench.downloads`, options by `--help`."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.downloads import site, tables
from bench.downloads.client import Taken, download, time_first_byte, time_page
from bench.downloads.servers import ROOT, Contender, everyone, forget_peak, memory, web_processes
from bench.report import save

# Each person may have 20 downloads, so these are enough for some hundreds of clients.
CONTRACTS = 25
RATE = 500_000
PAGE_EVERY = 0.05
PATIENCE = 10.0


@dataclass(frozen=True)
class Plan:
    """What is run. Sizes in bytes, times in seconds."""

    size: int
    rounds: int
    requests: int
    clients: int
    crowd_seconds: float
    upload: int
    folder: Path
    quick: bool


def arguments(given: Sequence[str] | None = None) -> Plan:
    parser = argparse.ArgumentParser(
        prog="python -m bench.downloads", description="Downloads and uploads, against nginx and Flask's send_file."
    )
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that it runs; nothing is written to the results")
    parser.add_argument("--size", type=int, default=200_000_000, help="bytes of the file")
    parser.add_argument("--rounds", type=int, default=15, help="downloads of each kind from each contender")
    parser.add_argument("--requests", type=int, default=200, help="requests of one byte, for the time to the first byte")
    parser.add_argument("--clients", type=int, default=200, help="slow clients at a time")
    parser.add_argument("--crowd-seconds", type=float, default=30, help="how long they download")
    parser.add_argument("--upload", type=int, default=2_000_000_000, help="bytes of the upload")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where the file lies while it runs: a real disk")
    read = parser.parse_args(given)
    if read.quick:
        return Plan(20_000_000, 3, 20, 20, 4, 50_000_000, read.folder, quick=True)
    return Plan(read.size, read.rounds, read.requests, read.clients, read.crowd_seconds, read.upload, read.folder, quick=False)


# One client, as fast as it goes ------------------------------------------------------------------------------------------------


def throughput(contenders: Sequence[Contender], plan: Plan) -> dict[str, dict[str, list[Taken]]]:
    """Download whole and from the middle, all in turn, each round beginning with another."""
    found: dict[str, dict[str, list[Taken]]] = {one.name: {"whole": [], "resumed": []} for one in contenders}
    for number in range(plan.rounds + 1):  # the first round warms up
        turn = number % len(contenders)
        for contender in [*contenders[turn:], *contenders[:turn]]:
            for kind, first in (("whole", 0), ("resumed", plan.size // 2)):
                taken = download(contender, number, first)
                assert taken.size == plan.size - first, f"{contender.name} sent {taken.size} bytes"
                if number:
                    found[contender.name][kind].append(taken)
        say(f"full speed, round {number} of {plan.rounds}")
    return found


def first_bytes(contenders: Sequence[Contender], plan: Plan) -> dict[str, list[float]]:
    """Seconds until the first byte of one asked for, all in turn."""
    found: dict[str, list[float]] = {one.name: [] for one in contenders}
    for number in range(plan.requests + 5):
        for contender in contenders:
            spent = time_first_byte(contender, number)
            if number >= 5:
                found[contender.name].append(spent)
    return found


# Many at a time ----------------------------------------------------------------------------------------------------------------


def under_load(contender: Contender, kind: str, given: dict[str, Any]) -> tables.Meanwhile:
    """Put a load on a contender, and ask it for pages until the load is over."""
    processes = web_processes(contender.process)
    for _ in range(20):
        time_page(contender, PATIENCE)
    before = sum(memory(process, "VmRSS") for process in processes)
    for process in processes:
        forget_peak(process)
    command = [sys.executable, "-m", "bench.downloads.load", kind]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as load:
        assert load.stdin is not None
        assert load.stdout is not None
        load.stdin.write(json.dumps({"port": contender.port, **given}) + "\n")
        load.stdin.flush()
        assert load.stdout.readline() == "running\n", f"{kind} did not begin"
        pages = []
        while load.poll() is None:
            pages.append(time_page(contender, PATIENCE))
            time.sleep(PAGE_EVERY)
        said = load.stdout.read()
    assert load.returncode == 0, f"{kind} failed at {contender.name}"
    # gunicorn kills a worker that does not answer it, and starts another.
    peak = sum(memory(process, "VmHWM") for process in web_processes(contender.process))
    return tables.Meanwhile(json.loads(said), pages, before, peak)


def crowd(contender: Contender, plan: Plan) -> tables.Meanwhile:
    return under_load(
        contender,
        "crowd",
        {
            "file": contender.file, "headers": contender.headers, "clients": plan.clients, "rate": RATE, "seconds": plan.crowd_seconds,
            "resume_seconds": plan.crowd_seconds / 5,
        },
    )  # fmt: skip


def upload(contender: Contender, made: site.Site, plan: Plan) -> tables.Meanwhile:
    return under_load(contender, "upload", {"draft": site.DRAFT, "cookie": made.manager, "size": plan.upload})


def report(
    fast: tables.Speeds,
    first: dict[str, list[float]],
    slow: dict[str, tables.Meanwhile],
    uploaded: dict[str, tables.Meanwhile],
    plan: Plan,
    load: float,
) -> None:
    """Print the tables, and write the figures down unless it was a quick run."""
    print(
        f"\nOne client, {plan.size / 1e6:.0f} MB: medians of {plan.rounds} downloads and of {plan.requests} requests of one byte, in turn"
    )
    full_speed = tables.full_speed(fast, first)
    print(f"\n{plan.clients} clients of {RATE // 1000} KB/s for {plan.crowd_seconds:.0f} s, a quarter of them leaving and resuming")
    slow_clients = tables.slow_clients(slow, RATE * plan.crowd_seconds)
    print(f"\nAn upload of {plan.upload / 1e6:.0f} MB")
    uploads = tables.uploads(uploaded, plan.upload)
    if not plan.quick:
        figures = {"full_speed": full_speed, "slow_clients": slow_clients, "upload": uploads}
        save("downloads", {"size": plan.size, "rounds": plan.rounds, "load_before": load, **figures})


def say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def main() -> None:
    plan = arguments()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=plan.folder, prefix="portal-bench-") as name:
        folder = Path(name)
        made = site.make(folder, plan.size, CONTRACTS)
        with everyone(made, folder) as contenders:
            fast = throughput(contenders, plan)
            first = first_bytes(contenders, plan)
            slow = {}
            for contender in contenders[1:]:
                slow[contender.name] = crowd(contender, plan)
                say(f"slow clients: {contender.name}")
            uploaded = {contender.name: upload(contender, made, plan) for contender in contenders[2:3]}
        report(fast, first, slow, uploaded, plan, load)


if __name__ == "__main__":
    main()
