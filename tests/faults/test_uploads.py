"""Uploads that break off, in whatever way: no row without its file, no file for good without its row."""

import http.client
import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from portal import clock
from portal.config import Settings
from portal.database import db, transaction
from portal.products.catalog import find_product
from portal.releases import builds, drafts
from portal.releases.models import Build, Channel
from portal.storage import store
from tests.cast import Cast
from tests.conftest import csrf_token

PATH = "/staff/releases/macro-studio/15.3b2/builds"
MEGABYTE = 1 << 20
WAIT_SECONDS = 30
HEAD = b'--x\r\nContent-Disposition: form-data; name="file"; filename="big.bin"\r\n\r\n'
TAIL = b"\r\n--x--\r\n"


@pytest.fixture
def draft(app: Flask, cast: Cast) -> int:
    """A draft, and a published-to-be file that must survive whatever is swept."""
    with app.app_context():
        with transaction():
            now = clock.now()
            release = drafts.create_release(find_product(cast.product), "15.3b2", Channel.BETA, notes="New", actor=None, now=now)
            builds.add_build(release.id, "kept.bin", store().write([b"kept"], 10), actor=None, now=now)
            release_id = release.id
        db.session.remove()
    return release_id


def names(app: Flask) -> list[str]:
    with app.app_context():
        found = sorted(db.session.scalars(sa.select(Build.filename)))
        db.session.remove()
    return found


def files(settings: Settings) -> list[Path]:
    return [path for path in settings.builds_dir.rglob("*") if path.is_file()]


def sweep(app: Flask, after: timedelta) -> int:
    """Run what `portal release sweep` runs, so long after now."""
    with app.app_context():
        removed = builds.sweep_storage(clock.now() + after)
        db.session.remove()
    return removed


def wait_until(done: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def add_build(environment: dict[str, str], file: Path, limit_file_bytes: int | None = None) -> subprocess.Popen[str]:
    """Start `portal release add-build`; with `limit_file_bytes`, on a disk that takes no longer file."""
    command = [sys.executable, "-m", "portal", "release", "add-build", "macro-studio", "15.3b2", str(file)]
    command = limited(command, limit_file_bytes)
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def limited(command: list[str], limit_file_bytes: int | None) -> list[str]:
    """Return a command that cannot write files longer than that: it fails in mid-file, as on a full disk."""
    return command if limit_file_bytes is None else ["prlimit", f"--fsize={limit_file_bytes}", *command]


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_process_killed_between_file_and_row_leaves_only_what_the_sweep_removes(
    app: Flask, draft: int, settings: Settings, environment: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "orphan.bin"
    file.write_bytes(b"x" * MEGABYTE)
    with app.app_context(), transaction():
        drafts.lock_release(draft)  # so that the file is stored, and its row has to wait
        process = add_build(environment, file)
        wait_until(lambda: any(path.stat().st_size == MEGABYTE and path.parent.name != "incoming" for path in files(settings)), "no file")
        kill(process)
    assert names(app) == ["kept.bin"]
    assert len(files(settings)) == 2
    assert sweep(app, timedelta()) == 0, "it is too young to be told from an upload that is under way"
    assert sweep(app, timedelta(days=2)) == 1
    assert [path.read_bytes() for path in files(settings)] == [b"kept"]


def test_a_process_killed_while_it_writes_leaves_only_what_the_sweep_removes(
    app: Flask, draft: int, settings: Settings, environment: dict[str, str], tmp_path: Path
) -> None:
    pipe = tmp_path / "endless.bin"
    os.mkfifo(pipe)
    process = add_build(environment, pipe)
    with pipe.open("wb") as end:
        end.write(b"x" * 3 * MEGABYTE)
        end.flush()
        wait_until(lambda: any(path.parent.name == "incoming" and path.stat().st_size for path in files(settings)), "nothing arrived")
        kill(process)
        with suppress(BrokenPipeError):
            end.flush()
    assert names(app) == ["kept.bin"]
    assert sweep(app, timedelta()) == 0
    assert sweep(app, timedelta(days=2)) == 1
    assert [path.read_bytes() for path in files(settings)] == [b"kept"]


def test_a_disk_that_is_full_at_half_is_said_and_leaves_nothing(
    app: Flask, draft: int, settings: Settings, environment: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "big.bin"
    file.write_bytes(b"x" * 8 * MEGABYTE)
    process = add_build(environment, file, limit_file_bytes=4 * MEGABYTE)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "could not store the file: File too large. Nothing of it was kept." in stderr
    assert "Traceback" not in stderr
    assert names(app) == ["kept.bin"]
    assert [path.read_bytes() for path in files(settings)] == [b"kept"]


class Held(io.BytesIO):
    """A form whose last bytes come when all others have come as far."""

    def __init__(self, content: bytes, barrier: Barrier) -> None:
        super().__init__()
        self._parts = [HEAD + content, TAIL]
        self._barrier = barrier

    def read(self, size: int | None = -1, /) -> bytes:
        if len(self._parts) == 1:
            self._barrier.wait(WAIT_SECONDS)
        return self._parts.pop(0) if self._parts else b""

    def readinto(self, buffer: Any, /) -> int:
        data = self.read()
        buffer[: len(data)] = data
        return len(data)


def test_two_uploads_of_one_name_at_once_are_one_build_and_one_conflict(
    app: Flask, cast: Cast, draft: int, settings: Settings, sign_in: Callable[[str], FlaskClient]
) -> None:
    rivals = 4
    clients = [sign_in(cast.paula) for _ in range(rivals)]
    tokens = [csrf_token(client.get("/staff/releases/new").get_data(as_text=True)) for client in clients]
    barrier = Barrier(rivals)

    def send(index: int) -> tuple[int, str]:
        content = b"%d" % index * 100
        answer = clients[index].post(
            PATH,
            input_stream=Held(content, barrier),
            environ_overrides={"CONTENT_LENGTH": str(len(HEAD) + len(content) + len(TAIL))},
            content_type="multipart/form-data; boundary=x",
            headers={"X-CSRFToken": tokens[index], "Accept": "application/json"},
        )
        return answer.status_code, answer.get_json().get("error", "")

    with ThreadPoolExecutor(rivals) as pool:
        answers = sorted(pool.map(send, range(rivals)))
    assert [status for status, _ in answers] == [201, 409, 409, 409]
    assert all("already has a build called big.bin" in error for _, error in answers[1:])
    assert names(app) == ["big.bin", "kept.bin"]
    assert sweep(app, timedelta(days=2)) == rivals - 1
    assert len(files(settings)) == 2


# Over a real connection --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Web:
    """A running portal, and what paula's browser sends with each request."""

    port: int
    headers: str

    def upload(self, announced: int | str) -> socket.socket:
        """Begin an upload of so many bytes, as announced."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_SECONDS)
        head = f"POST {PATH} HTTP/1.1\r\n{self.headers}Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {announced}\r\n\r\n"
        connection.sendall(head.encode())
        return connection

    def answer(self, connection: socket.socket) -> int:
        """Return the status of the answer."""
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status

    def answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_SECONDS)
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200


def start_web(
    environment: dict[str, str], client: FlaskClient, tmp_path: Path, limit_file_bytes: int | None = None
) -> tuple[subprocess.Popen[bytes], Web]:
    """Start gunicorn on the test's database. `client` is signed in on the same."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (tmp_path / "web.log").open("wb")
    command = [sys.executable, "-m", "gunicorn", "wsgi:app", "--worker-class", "gthread", "--threads", "8", "--bind", f"127.0.0.1:{port}"]
    process = subprocess.Popen(limited(command, limit_file_bytes), env={**environment, "WEB_THREADS": "8"}, stdout=log, stderr=log)
    log.close()
    token = csrf_token(client.get("/staff/releases/new").get_data(as_text=True))
    cookies = "; ".join(f"{cookie.key}={cookie.value}" for cookie in (client._cookies or {}).values())
    headers = f"Host: 127.0.0.1:{port}\r\nCookie: {cookies}\r\nX-CSRFToken: {token}\r\nAccept: application/json\r\n"
    web = Web(port, headers)
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        with suppress(OSError):
            if web.answers():
                return process, web
        assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "web.log").read_text()  # noqa: PT018
        time.sleep(0.05)


@pytest.fixture
def paula(cast: Cast, sign_in: Callable[[str], FlaskClient]) -> FlaskClient:
    return sign_in(cast.paula)


@pytest.fixture
def web(environment: dict[str, str], paula: FlaskClient, tmp_path: Path) -> Iterator[Web]:
    process, web = start_web(environment, paula, tmp_path)
    yield web
    process.terminate()
    process.wait()


def incoming(settings: Settings) -> list[Path]:
    return list((settings.builds_dir / "incoming").glob("*"))


def test_a_connection_cut_in_mid_upload_leaves_nothing(app: Flask, draft: int, settings: Settings, web: Web) -> None:
    connection = web.upload(len(HEAD) + 20 * MEGABYTE + len(TAIL))
    connection.sendall(HEAD + b"x" * 10 * MEGABYTE)
    wait_until(lambda: incoming(settings), "nothing arrived")
    connection.close()
    wait_until(lambda: not incoming(settings), "the half file is still there")
    assert names(app) == ["kept.bin"]
    assert [path.read_bytes() for path in files(settings)] == [b"kept"]
    assert web.answers()


def test_a_content_length_that_says_too_much_leaves_nothing(app: Flask, draft: int, settings: Settings, web: Web) -> None:
    connection = web.upload(len(HEAD) + 1000 + len(TAIL))
    connection.sendall(HEAD + b"x" * 100)
    connection.shutdown(socket.SHUT_WR)
    assert web.answer(connection) == 400
    assert names(app) == ["kept.bin"]
    assert [path.read_bytes() for path in files(settings)] == [b"kept"]


def test_a_content_length_that_says_too_little_leaves_nothing(app: Flask, draft: int, settings: Settings, web: Web) -> None:
    connection = web.upload(len(HEAD) + 100)
    connection.sendall(HEAD + b"x" * 1000 + TAIL)
    assert web.answer(connection) == 400
    assert names(app) == ["kept.bin"]
    assert [path.read_bytes() for path in files(settings)] == [b"kept"]
    assert web.answers()


@pytest.mark.parametrize("length", ["-1", "1e9", "a lot", "0"])
def test_a_content_length_that_is_no_length_is_refused(app: Flask, draft: int, settings: Settings, web: Web, length: str) -> None:
    connection = web.upload(length)
    connection.sendall(HEAD + b"x" + TAIL)
    assert web.answer(connection) == 400
    assert names(app) == ["kept.bin"]
    assert [path.read_bytes() for path in files(settings)] == [b"kept"]


def test_a_disk_that_is_full_at_half_is_said_to_the_browser(
    app: Flask, draft: int, settings: Settings, environment: dict[str, str], paula: FlaskClient, tmp_path: Path
) -> None:
    """The whole form is read all the same: whoever is cut off while sending sees no answer."""
    process, web = start_web(environment, paula, tmp_path, limit_file_bytes=4 * MEGABYTE)
    try:
        connection = web.upload(len(HEAD) + 8 * MEGABYTE + len(TAIL))
        connection.sendall(HEAD + b"x" * 8 * MEGABYTE + TAIL)
        assert web.answer(connection) == 503
        assert web.answers()
    finally:
        process.terminate()
        process.wait()
    assert names(app) == ["kept.bin"]
    assert [path.read_bytes() for path in files(settings)] == [b"kept"]
