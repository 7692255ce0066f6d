"""The home page against a bare signed-in Flask and Jinja page of the same size, on the same server, in one interleaved run.

Both run under gunicorn as `portal serve` configures it. One client asks in turn, over kept connections, so the figures
are times of one request on an idle machine.
"""

import contextlib
import http.client
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from bench.report import write
from portal.config import load
from portal.demo import sample
from portal.demo.supervisor import choose_ports, write_environment, written_environment

REQUESTS = 400
WARM_UP = 40
START_SECONDS = 60


class Client:
    """A browser as simple as can be: one kept connection and its cookies."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.cookies: dict[str, str] = {}

    def request(self, method: str, path: str, form: dict[str, str] | None = None) -> tuple[int, str]:
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        body = None
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urllib.parse.urlencode(form)
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie":
                key, _, rest = value.partition("=")
                self.cookies[key] = rest.partition(";")[0]
        return answer.status, answer.read().decode()

    def time(self, path: str) -> float:
        """Return the seconds one GET takes, body included."""
        begin = time.perf_counter()
        status, _ = self.request("GET", path)
        spent = time.perf_counter() - begin
        assert status == 200, status
        return spent


@contextlib.contextmanager
def server(arguments: list[str], port: int, environment: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(arguments, env={**os.environ, **environment})
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                http.client.HTTPConnection("127.0.0.1", port, timeout=1).request("GET", "/")
                break
            except OSError:
                assert time.monotonic() < deadline, "the server did not start"
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(15)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        ports = choose_ports(data_dir / "demo.json", 0)
        write_environment(data_dir, ports)
        environment = {**written_environment(data_dir), "DATA_DIR": folder}
        state = sample.prepare(load(environment), data_dir / "demo.json", {})
        subscriber = next(account for account in state["accounts"] if account["role"] == "subscriber")
        with server([sys.executable, "-m", "portal", "serve"], ports.web, environment):
            ours = Client(ports.web)
            token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', ours.request("GET", "/sign-in")[1])
            assert token is not None
            ours.request("POST", "/sign-in", {"email": subscriber["email"], "password": subscriber["password"], "csrf_token": token[1]})
            status, page = ours.request("GET", "/")
            assert status == 200, status
            with bare_server(data_dir, len(page.encode()), environment["SECRET_KEY"], ports.smtp):
                bare = Client(ports.smtp)
                bare.request("GET", "/sign-in")
                measure(ours, bare, len(page.encode()))


@contextlib.contextmanager
def bare_server(data_dir: Path, size: int, secret: str, port: int) -> Iterator[None]:
    arguments = [
        sys.executable, "-m", "gunicorn", "--worker-class", "gthread", "--threads", "256", "--log-level", "warning",
        "--bind", f"127.0.0.1:{port}", "bench.bare:create_app()",
    ]  # fmt: skip
    with server(arguments, port, {"BENCH_BYTES": str(size), "BENCH_DATABASE": str(data_dir / "bare.db"), "SECRET_KEY": secret}):
        yield


def measure(ours: Client, bare: Client, size: int) -> None:
    for client in (ours, bare):
        for _ in range(WARM_UP):
            client.time("/")
    times: dict[str, list[float]] = {"home page": [], "bare page": []}
    for _ in range(REQUESTS):
        times["home page"].append(ours.time("/"))
        times["bare page"].append(bare.time("/"))
    medians = {name: statistics.median(values) * 1000 for name, values in times.items()}
    p95 = {name: statistics.quantiles(values, n=20)[18] * 1000 for name, values in times.items()}
    ratio = medians["home page"] / medians["bare page"]
    rows = [[name, f"{medians[name]:.2f}", f"{p95[name]:.2f}", f"{medians[name] / medians['bare page']:.2f}"] for name in times]
    write(
        "home",
        ["page", "median ms", "p95 ms", "ratio"],
        rows,
        {"requests": REQUESTS, "page_bytes": size, "median_ms": medians, "p95_ms": p95, "ratio_of_medians": ratio},
    )


if __name__ == "__main__":
    main()
