"""The servers that are compared, each on a port of its own: nginx with the file alone, the portal behind it and by itself, the peer."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.downloads import site
from bench.downloads.site import Site

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60


@dataclass(frozen=True)
class Contender:
    """A server with the file and a page: where, what to send along, and the process that is asked for its memory (0: none)."""

    name: str
    port: int
    file: str
    page: str
    headers: list[dict[str, str]] = field(default_factory=lambda: [{}])
    page_headers: dict[str, str] = field(default_factory=dict)
    process: int = 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], port: int, environment: dict[str, str]) -> Iterator[int]:
    """Run a server until the end of the block; yields its process id, once it listens."""
    process = subprocess.Popen(command, cwd=ROOT, env={"PATH": f"{os.environ['PATH']}:/usr/sbin", **environment})
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None, f"{command} ended"
            assert time.monotonic() < deadline, f"{command} does not answer"
            time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def everyone(made: Site, folder: Path) -> Iterator[list[Contender]]:
    """Run all contenders side by side. The portals share their database; the first contender is the measure of the others."""
    tokens = [{"Authorization": f"Bearer {token}"} for token in made.tokens]
    signed_in = {"Cookie": made.subscriber}
    with contextlib.ExitStack() as stack:
        alone, backend, plain, front, one, many = (free_port() for _ in range(6))
        direct = stack.enter_context(_portal(alone, made))
        behind = stack.enter_context(_portal(backend, made, ACCEL_PREFIX="/_builds/", PROXY_HOPS="1"))
        configuration = _nginx_configuration(folder, made, backend, front, plain)
        stack.enter_context(running(["nginx", "-c", str(configuration)], plain, {}))
        default = stack.enter_context(_peer(one, made))
        threaded = stack.enter_context(_peer(many, made, "--threads", "256"))
        yield [
            Contender("nginx, the file alone", plain, f"/{made.stored.name}", "/"),
            Contender("portal behind nginx (X-Accel)", front, site.FILE, site.PAGE, tokens, signed_in, behind),
            Contender("portal, gunicorn alone", alone, site.FILE, site.PAGE, tokens, signed_in, direct),
            Contender("send_file, gunicorn's defaults", one, "/file", "/page", process=default),
            Contender("send_file, gunicorn --threads 256", many, "/file", "/page", process=threaded),
        ]


def _portal(port: int, made: Site, **changes: str) -> contextlib.AbstractContextManager[int]:
    environment = {**made.environment, "WEB_PORT": str(port), "PUBLIC_URL": f"http://127.0.0.1:{port}", **changes}
    return running([sys.executable, "-m", "portal", "serve"], port, environment)


def _peer(port: int, made: Site, *options: str) -> contextlib.AbstractContextManager[int]:
    command = [sys.executable, "-m", "gunicorn", "--log-level", "error", "--bind", f"127.0.0.1:{port}", *options]
    return running([*command, "bench.downloads.send_file_peer:app"], port, {"BENCH_FILE": str(made.stored)})


def _nginx_configuration(folder: Path, made: Site, backend: int, front: int, plain: int) -> Path:
    """The configuration that we ship, with other ports and paths and without TLS; and beside it a site that is the file alone."""
    builds_dir = made.stored.parents[2]
    shipped = (ROOT / "deploy" / "nginx.conf").read_text()
    ours = shipped.replace("127.0.0.1:8000", f"127.0.0.1:{backend}").replace("/var/lib/portal/builds/", f"{builds_dir}/")
    ours = ours.replace("listen 443 ssl http2;", f"listen 127.0.0.1:{front};").replace("listen 80;", f"listen 127.0.0.1:{free_port()};")
    ours = re.sub(r"^\s*ssl_.*$", "", ours, flags=re.MULTILINE)
    (folder / "ours.conf").write_text(ours)
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(f"""
        {user} daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; worker_processes 1;
        events {{ worker_connections 2048; }}
        http {{
            access_log off; {temporary}
            include {folder}/ours.conf;
            server {{ listen 127.0.0.1:{plain}; sendfile on; tcp_nopush on; root {made.stored.parent}; }}
        }}
    """)
    return folder / "nginx.conf"


def web_processes(master: int) -> list[int]:
    """The processes that gunicorn's master let answer."""
    return [int(child) for child in Path(f"/proc/{master}/task/{master}/children").read_text().split()]


def forget_peak(process: int) -> None:
    Path(f"/proc/{process}/clear_refs").write_text("5")


def memory(process: int, what: str) -> int:
    """Bytes of memory of a process: `VmRSS` now, `VmHWM` the most since it was last forgotten (proc(5))."""
    line = next(line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith(f"{what}:"))
    return int(line.split()[1]) * 1024
