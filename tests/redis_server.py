"""A real Redis for tests: Debian's server on loopback, in memory alone."""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import redis

from tests.seaweedfs import free_ports

START_SECONDS = 30


@contextlib.contextmanager
def running(directory: Path) -> Iterator[str]:
    """Run a server in `directory`, give its RATE_LIMIT_URL, and end it by its process."""
    server = shutil.which("redis-server")
    assert server is not None, "redis-server is missing: run tests/install-system-packages"
    port = free_ports(1)[0]
    command = [server, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no", "--dir", str(directory)]
    with (directory / "redis.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_for(port, process)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait(START_SECONDS)


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    with contextlib.closing(redis.Redis(port=port)) as client:
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(redis.ConnectionError):
                client.ping()
                return
            time.sleep(0.02)
    raise AssertionError(f"redis-server does not answer, exit code {process.poll()}")
