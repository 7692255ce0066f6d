"""Real gunicorn on SQLite, alone and behind a real nginx with the configuration that we ship."""

import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask

from portal import clock
from portal.account import access_tokens, contracts
from portal.app import create_app
from portal.config import Settings
from portal.database import db, transaction
from portal.releases.models import Channel, Download
from tests.builds import find_contract, find_seat, find_user, publish_release
from tests.cast import Cast, assemble
from tests.conftest import SECRET, make_settings

ROOT = Path(__file__).resolve().parents[3]
# Longer than all the buffers between two processes, so that a cut connection is noticed.
CONTENT = os.urandom(1 << 20) * 24
DIGEST = hashlib.sha256(CONTENT).hexdigest()
SIZE = len(CONTENT)
FILENAME = "studio x64 “neu”.msi"
START_SECONDS = 30
WAIT_SECONDS = 20
THREADS = 24


@dataclass(frozen=True)
class Server:
    """A running portal with one beta: where it answers, and the token with which alice fetches the build."""

    base: str
    app: Flask
    cast: Cast
    token: str
    data_dir: Path

    @property
    def url(self) -> str:
        return f"{self.base}/beta/macro-studio/15.3b2/download/studio%20x64%20%E2%80%9Cneu%E2%80%9D.msi"

    def curl(self, *arguments: str, cwd: Path | None = None, token: str | None = None) -> subprocess.CompletedProcess[bytes]:
        """Run curl on the build as alice. `--fail`: an error page is exit code 22 and never lands in a file."""
        return subprocess.run(self.command(*arguments, token=token), cwd=cwd, capture_output=True, timeout=120)

    def asked(self) -> list[tuple[int, str]]:
        """Each answer of the portal so far: its status, and the range that was asked for ("-" for none)."""
        lines = (self.data_dir / "access.log").read_text().splitlines()
        return [(int(status), wanted) for status, _, wanted in (line.partition(" ") for line in lines)]

    def command(self, *arguments: str, token: str | None = None) -> list[str]:
        by = f"Authorization: Bearer {self.token if token is None else token}"
        return ["curl", "--silent", "--show-error", "--fail", "--noproxy", "*", "-H", by, *arguments, self.url]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("the server did not start")


@contextmanager
def running(command: list[str], port: int, environment: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        wait_for(port, process)
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture
def portal(tmp_path: Path, sqlite_template: Path) -> tuple[Flask, Cast, str, Settings]:
    """A database and a store with one beta in them, and alice's token."""
    settings = make_settings(tmp_path)
    shutil.copyfile(sqlite_template, tmp_path / "portal.db")
    app = create_app(settings)
    with app.app_context():
        now = clock.now()
        cast = assemble(now)
        publish_release("15.3b2", Channel.BETA, now, files={FILENAME: CONTENT})
        with transaction():
            token = access_tokens.create(find_seat(cast.alice).id, "curl", actor=find_user(cast.alice), now=now)
        db.session.remove()
    return app, cast, token, settings


@contextmanager
def gunicorn(data_dir: Path, **changes: str) -> Iterator[int]:
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"], "DATA_DIR": str(data_dir), "SECRET_KEY": SECRET, "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "WEB_THREADS": str(THREADS), **changes,
    }  # fmt: skip
    command = [
        sys.executable, "-m", "gunicorn", "wsgi:app", "--worker-class", "gthread", "--threads", str(THREADS),
        "--bind", f"127.0.0.1:{port}", "--log-level", "warning", "--graceful-timeout", "2",
        "--access-logfile", str(data_dir / "access.log"), "--access-logformat", "%(s)s %({range}i)s",
    ]  # fmt: skip
    with running(command, port, environment):
        yield port


@pytest.fixture
def direct(portal: tuple[Flask, Cast, str, Settings]) -> Iterator[Server]:
    """gunicorn alone, sending the bytes itself."""
    app, cast, token, settings = portal
    with gunicorn(settings.data_dir) as port:
        yield Server(f"http://127.0.0.1:{port}", app, cast, token, settings.data_dir)


@pytest.fixture
def portal_with_two_slots(portal: tuple[Flask, Cast, str, Settings]) -> Iterator[Server]:
    """gunicorn alone, sending two downloads at a time."""
    app, cast, token, settings = portal
    with gunicorn(settings.data_dir, MAX_DOWNLOADS="2") as port:
        yield Server(f"http://127.0.0.1:{port}", app, cast, token, settings.data_dir)


@pytest.fixture
def behind_nginx(portal: tuple[Flask, Cast, str, Settings]) -> Iterator[Server]:
    """gunicorn behind nginx, which sends the bytes."""
    app, cast, token, settings = portal
    with gunicorn(settings.data_dir, ACCEL_PREFIX="/_builds/", PROXY_HOPS="1") as backend:
        port = free_port()
        configuration = write_nginx_configuration(settings, backend, port)
        with running(["nginx", "-c", str(configuration)], port, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}):
            yield Server(f"http://127.0.0.1:{port}", app, cast, token, settings.data_dir)


@pytest.fixture(params=["direct", "behind_nginx"])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(request.param)
    return found


def write_nginx_configuration(settings: Settings, backend: int, port: int) -> Path:
    """The shipped file, with other ports and paths and without TLS, inside the frame that a distribution brings."""
    shipped = (ROOT / "deploy" / "nginx.conf").read_text()
    site = shipped.replace("127.0.0.1:8000", f"127.0.0.1:{backend}").replace("/var/lib/portal/builds/", f"{settings.builds_dir}/")
    site = site.replace("listen 443 ssl http2;", f"listen 127.0.0.1:{port};").replace("listen 80;", f"listen 127.0.0.1:{free_port()};")
    site = re.sub(r"^\s*ssl_.*$", "", site, flags=re.MULTILINE)
    directory = settings.data_dir / "nginx"
    directory.mkdir()
    (directory / "site.conf").write_text(site)
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = "".join(f"{kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    frame = f"""
        {user} daemon off; pid {directory}/nginx.pid; error_log {directory}/error.log; worker_processes 1;
        events {{}}
        http {{ access_log off; {temporary} include {directory}/site.conf; }}
    """
    (directory / "nginx.conf").write_text(frame)
    return directory / "nginx.conf"


def entries(server: Server) -> list[Download]:
    with server.app.app_context():
        return list(db.session.scalars(sa.select(Download).order_by(Download.id)))


def wait_until_complete(server: Server) -> list[Download]:
    """The server notes what it sent after curl has it, so it may take a moment."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        found = entries(server)
        if found and all(entry.completed_at is not None for entry in found):
            return found
        time.sleep(0.1)
    raise AssertionError(f"not complete: {[(entry.ranges, entry.sent) for entry in entries(server)]}")


def suspend(server: Server) -> None:
    with server.app.app_context(), transaction():
        contracts.suspend(find_contract(server.cast.contract), actor=None, now=clock.now())
