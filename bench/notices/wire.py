"""The receiving end: Postfix's `smtp-sink`, and where wanted a road to it that takes time."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SINK = "/usr/sbin/smtp-sink"
SOURCE = "/usr/sbin/smtp-source"
START_SECONDS = 10
BACKLOG = "1024"
ALL_CPUS = sorted(os.sched_getaffinity(0))
_COUNTERS = re.compile(rb"sess=(\d+) quit=\d+ mesg=(\d+)")


class Sink:
    """An `smtp-sink` on a free port of loopback. It throws mails away and counts them; `dump` keeps them in that file as well.

    Of several processors the first is its own, and senders get the others (`leave_the_sink_its_processor`). Otherwise the
    kernel puts both on one core in some runs and on two in others, which makes a sender that waits for each answer
    twice as fast or twice as slow by chance.
    """

    def __init__(self, folder: Path, dump: Path | None = None) -> None:
        self.port = free_port()
        self._counters = folder / "sink.counters"
        arguments = [SINK, "-c", *(["-D", str(dump)] if dump else []), *(["-u", "nobody"] if os.geteuid() == 0 else [])]
        with self._counters.open("wb") as out:
            self._process = subprocess.Popen([*arguments, f"127.0.0.1:{self.port}", BACKLOG], stdout=out)
        if len(ALL_CPUS) > 1:
            os.sched_setaffinity(self._process.pid, ALL_CPUS[:1])
        wait_for(self.port, self._process)
        self.cpu = 0.0

    def close(self) -> int:
        """Stop it. Returns how many messages it has taken; its processor seconds are in `cpu` then."""
        self._process.terminate()
        _, _, usage = os.wait4(self._process.pid, 0)
        self._process.returncode = 0
        self.cpu = usage.ru_utime + usage.ru_stime
        return last_count(self._counters.read_bytes())


def last_count(told: bytes) -> int:
    """Return the number of messages by what `smtp-sink -c` has written: counters that overwrite each other on a terminal."""
    counters = _COUNTERS.findall(told)
    return int(counters[-1][1]) if counters else 0


def leave_the_sink_its_processor() -> None:
    """From now on, run this process and those it starts on all processors but the sink's."""
    if len(ALL_CPUS) > 1:
        os.sched_setaffinity(0, ALL_CPUS[1:])


@dataclass(frozen=True)
class Dumped:
    """A mail as a sink has kept it: to whom, and how many bytes it had on the wire."""

    recipients: tuple[str, ...]
    size: int


def read_dump(path: Path) -> list[Dumped]:
    """Return the mails of a dump. The sink writes lines of its own before each, and ends lines with LF alone."""
    mails = []
    for text in re.split(rb"^X-Client-Addr: ", path.read_bytes(), flags=re.MULTILINE)[1:]:
        envelope, _, rest = text.partition(b"\nReceived: ")
        message = rest.split(b"\n", 3)[3].removesuffix(b"\n")
        recipients = re.findall(rb"^X-Rcpt-Args: <(.*?)>", envelope, re.MULTILINE)
        mails.append(Dumped(tuple(one.decode() for one in recipients), len(message) + message.count(b"\n")))
    return mails


@contextmanager
def sink(folder: Path, dump: Path | None = None) -> Iterator[Sink]:
    """Run a sink for the block. Whatever happens, it ends."""
    running = Sink(folder, dump)
    try:
        yield running
    finally:
        if running._process.returncode is None:
            running.close()


@contextmanager
def slow_road(port: int, seconds: float) -> Iterator[int]:
    """Forward a port of loopback to `port`, each way `seconds` late, and yield it."""
    here = free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench.notices.slow_road", str(here), str(port), str(seconds)])
    try:
        wait_for(here, process)
        yield here
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server greets on `port`."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert process.poll() is None, f"{process.args!r} did not start"
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.settimeout(START_SECONDS)
                assert connection.recv(4) == b"220 "
                connection.sendall(b"QUIT\r\n")
                connection.recv(100)
                return
        except OSError:
            assert time.monotonic() < deadline, f"{process.args!r} does not answer"
            time.sleep(0.02)


def round_trip(port: int, tries: int = 50) -> float:
    """Return the median seconds between a command and its answer."""
    times = []
    with socket.create_connection(("127.0.0.1", port), timeout=START_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.recv(200)
        for _ in range(tries):
            begin = time.perf_counter()
            connection.sendall(b"NOOP\r\n")
            connection.recv(200)
            times.append(time.perf_counter() - begin)
        connection.sendall(b"QUIT\r\n")
    return sorted(times)[tries // 2]
