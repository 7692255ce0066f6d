"""Who takes part, and how one run of each goes."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from bench.notices.databases import Portal
from bench.notices.peer_mail import SENDER
from bench.notices.wire import SOURCE, sink, slow_road

BENCH_PYTHON = Path(".venv-bench/bin/python")
# About what smtp-source writes before the bytes it was asked for.
SOURCE_HEADERS = 160


@dataclass(frozen=True)
class Figures:
    """What one run came to, for the `count` mails that the clock saw: seconds, processor seconds of the sender and of the sink, bytes."""

    count: int
    seconds: float
    cpu: float
    sink_cpu: float
    peak_bytes: int

    @property
    def per_second(self) -> float:
        return self.count / self.seconds


# Given the sink's port, how many mails, of how many bytes, and a folder of its own: how it went.
Run = Callable[[int, int, int, Path], Figures]


@dataclass(frozen=True)
class Contender:
    name: str
    run: Run


class Wrong(Exception):
    """The sink or the database counted something else than what was to be sent."""


def take_turn(contender: Contender, count: int, size: int, folder: Path, *, delay: float = 0, dump: Path | None = None) -> Figures:
    """Let a contender send `count` mails to a fresh sink, and check that all arrived and none twice.

    `delay` seconds are added to each direction of the road to the sink. Raises Wrong.
    """
    own = folder / "turn"
    own.mkdir()
    try:
        with ExitStack() as stack:
            server = stack.enter_context(sink(folder, dump))
            port = stack.enter_context(slow_road(server.port, delay)) if delay else server.port
            figures = contender.run(port, count, size, own)
            arrived = server.close()
        if arrived != count:
            raise Wrong(f"{contender.name}: {arrived} mails arrived where {count} were to be sent")
        return replace(figures, sink_cpu=server.cpu)
    finally:
        shutil.rmtree(own)


def source(*options: str) -> Run:
    """Postfix's own generator of mail, which neither reads nor writes anything and asks for no pipelining.

    It sends the same bytes to the same address again and again.
    """

    def run(port: int, count: int, size: int, folder: Path) -> Figures:
        del folder
        length = str(size - SOURCE_HEADERS)
        arguments = [SOURCE, *options, "-m", str(count), "-l", length, "-M", "bench.example.org", "-f", SENDER, "-t", "person@example.org"]
        begin = time.perf_counter()
        process = subprocess.Popen([*arguments, f"127.0.0.1:{port}"])
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise Wrong(f"smtp-source ended with {process.returncode}")
        return Figures(count, seconds, usage.ru_utime + usage.ru_stime, 0, 0)

    return run


def peer(interpreter: Path | str, module: str, *arguments: str) -> Run:
    """A program in Python that tells its figures itself."""

    def run(port: int, count: int, size: int, folder: Path) -> Figures:
        command = [str(interpreter), "-m", module, *arguments, str(port), str(count), str(size), str(folder)]
        told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        return told_figures(told, count, module)

    return run


def ours(copy: Callable[[int], AbstractContextManager[Portal]], connections: int) -> Run:
    """`deliver_due()` on an outbox that one enqueue has filled. `copy` gives a portal that has announced to so many."""

    def run(port: int, count: int, size: int, folder: Path) -> Figures:
        del size, folder
        with copy(count) as portal:
            return deliver(portal, port, count, connections)

    return run


def deliver(portal: Portal, port: int, count: int, connections: int) -> Figures:
    told = portal.run("deliver", SMTP_URL=f"smtp://127.0.0.1:{port}", SMTP_CONNECTIONS=str(connections))
    return told_figures(told, count, "ours")


def told_figures(told: str, count: int, name: str) -> Figures:
    """Read the line that a `Stopwatch` printed. Raises Wrong if the sender itself counts something else."""
    line = json.loads(told.strip().splitlines()[-1])
    if line["sent"] != count:
        raise Wrong(f"{name}: {line['sent']} rows say sent where {count} were to be")
    return Figures(count - line["before"], line["seconds"], line["cpu"], 0, line["peak_bytes"])
