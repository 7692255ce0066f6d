"""What ends a right ends it at the very next request, also in the middle of a download; and no slot is lost to the vanished."""

import hashlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from portal import clock
from portal.account import access_tokens, contacts, contracts
from portal.account.models import AccessToken
from portal.database import db, transaction
from portal.releases import publishing
from portal.releases.models import Channel, Download, Release
from tests.builds import find_contract, find_seat, find_user, publish_release
from tests.cast import Cast

# Longer than all the buffers between two processes, so that a download can be held in its middle.
CONTENT = os.urandom(1 << 20) * 24
SIZE = len(CONTENT)
PAGE = "/beta/macro-studio/15.3b2/"
FILE = f"{PAGE}download/studio.msi"
TAKEN = 100_000
WAIT_SECONDS = 30


@dataclass(frozen=True)
class Portal:
    """A running `portal serve` with one beta, alice's token and the cookie of her session."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    token: str
    cookie: str

    @property
    def by_token(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def by_session(self) -> dict[str, str]:
        return {"Cookie": self.cookie}

    def ask(self, path: str, headers: dict[str, str], method: str = "GET") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, body

    def begin_if_free(self) -> socket.socket | None:
        """Start a download and hold it up; None where it is put off."""
        connection, head, _ = self._ask_and_wait()
        if b" 503 " in head[:20]:
            connection.close()
            return None
        return connection

    def begin(self) -> tuple[socket.socket, bytearray]:
        """Start to download by the token, take a little, and hold the rest up. Returns the connection and what was taken."""
        connection, head, body = self._ask_and_wait()
        assert b" 200 " in head[:20]
        taken = bytearray(body)
        while len(taken) < TAKEN:
            taken += connection.recv(TAKEN - len(taken))
        return connection, taken

    def _ask_and_wait(self) -> tuple[socket.socket, bytes, bytes]:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.settimeout(30)
        connection.connect(("127.0.0.1", self.port))
        request = f"GET {FILE} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {self.token}\r\n\r\n"
        connection.sendall(request.encode())
        received = bytearray()
        while b"\r\n\r\n" not in received:
            received += connection.recv(4096)
        head, _, body = bytes(received).partition(b"\r\n\r\n")
        return connection, head, body


Serve = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def serve(environment: dict[str, str], tmp_path: Path) -> Iterator[Serve]:
    """Return a function that starts the web server on a port and waits until it answers. What runs at the end is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def start(port: int, code: str = "from portal.__main__ import main; main()", **changes: str) -> subprocess.Popen[bytes]:
        with (tmp_path / "web.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", code, "serve"], env={**environment, "WEB_PORT": str(port), "WEB_THREADS": "16", **changes},
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        started.append(process)
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            with suppress(OSError):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/healthz")
                if connection.getresponse().status == 200:
                    return process
            assert process.poll() is None, (tmp_path / "web.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)

    yield start
    for process in started:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def prepared(app: Flask, cast: Cast, sign_in: Callable[[str], FlaskClient]) -> tuple[str, str]:
    """One beta; alice's token, and the cookie of her session."""
    with app.app_context():
        now = clock.now()
        publish_release("15.3b2", Channel.BETA, now, files={"studio.msi": CONTENT})
        with transaction():
            token = access_tokens.create(find_seat(cast.alice).id, "curl", actor=find_user(cast.alice), now=now)
        db.session.remove()
    cookie = sign_in(cast.alice).get_cookie("portal")
    assert cookie is not None
    return token, f"portal={cookie.value}"


@pytest.fixture
def portal(serve: Serve, prepared: tuple[str, str], tmp_path: Path) -> Portal:
    port = free_port()
    return Portal(port, serve(port), tmp_path / "web.log", *prepared)


def entries(app: Flask) -> list[Download]:
    with app.app_context():
        found = list(db.session.scalars(sa.select(Download).order_by(Download.id)))
        db.session.remove()
    return found


# What ends a right ---------------------------------------------------------------------------------------------------------------


def end_contract(cast: Cast) -> None:
    """Its last day was yesterday."""
    contract = find_contract(cast.contract)
    for term in contract.terms:
        term.ends_on = clock.civil_date(clock.now(), contract.time_zone) - timedelta(days=1)


def suspend(cast: Cast) -> None:
    contracts.suspend(find_contract(cast.contract), actor=None, now=clock.now())


def cancel(cast: Cast) -> None:
    contracts.cancel(find_contract(cast.contract), actor=None, now=clock.now())


def release_seat(cast: Cast) -> None:
    contacts.release_contact(find_seat(cast.alice), actor=None, now=clock.now())


def replace_person(cast: Cast) -> None:
    contacts.replace_contact(find_seat(cast.alice), name="Zoe Example", email="zoe@logistics.example.org", actor=None, now=clock.now())


def revoke_token(cast: Cast) -> None:
    token = db.session.scalars(sa.select(AccessToken)).one()
    access_tokens.revoke(token.id, actor=find_user(cast.alice), now=clock.now())


def close_account(cast: Cast) -> None:
    find_user(cast.alice).active = False


def withdraw(cast: Cast) -> None:
    publishing.withdraw(_beta().id, "It can lose macros.", actor=None, now=clock.now())


def expire(cast: Cast) -> None:
    _beta().expires_on = clock.civil_date(clock.now(), "Europe/Berlin") - timedelta(days=1)


def _beta() -> Release:
    return db.session.scalars(sa.select(Release).where(Release.version == "15.3b2")).one()


@dataclass(frozen=True)
class End:
    """What ends alice's right, and what the next request of a program and of her browser are answered: status, and words."""

    act: Callable[[Cast], None]
    token: tuple[int, bytes]
    session: tuple[int, bytes]
    page: int


SIGN_IN = (302, b"/sign-in")
DEAD_TOKEN = (401, b"This token is not valid.")
ENDS = [
    End(end_contract, (403, b"The contract has ended."), (403, b"The contract has ended."), 403),
    End(suspend, (403, b"The contract is suspended."), (403, b"The contract is suspended."), 403),
    End(cancel, (403, b"The contract was cancelled."), (403, b"The contract was cancelled."), 403),
    End(release_seat, DEAD_TOKEN, SIGN_IN, 302),
    End(replace_person, DEAD_TOKEN, SIGN_IN, 302),
    End(close_account, DEAD_TOKEN, SIGN_IN, 302),
    End(revoke_token, DEAD_TOKEN, (206, CONTENT[TAKEN : TAKEN + 64]), 200),
    End(withdraw, (410, b"It can lose macros."), (410, b"It can lose macros."), 410),
    End(expire, (410, b"This beta has expired."), (410, b"This beta has expired"), 200),
]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.act.__name__)
def test_what_was_begun_may_end_and_nothing_more_is_given(app: Flask, cast: Cast, portal: Portal, end: End) -> None:
    connection, taken = portal.begin()
    assert portal.ask(FILE, {**portal.by_session, "Range": "bytes=0-9"}) == (206, CONTENT[:10])
    with app.app_context():
        with transaction():
            end.act(cast)
        db.session.remove()

    resumed = {"Range": f"bytes={TAKEN}-{TAKEN + 63}"}
    for headers, (status, words) in ((portal.by_token, end.token), (portal.by_session, end.session)):
        for wanted in (resumed, {"Range": "bytes=-64"}, {}) if status != 206 else (resumed,):
            found, body = portal.ask(FILE, {**headers, **wanted})
            assert found == status, (headers.keys(), wanted)
            assert words in body
            assert status == 206 or CONTENT[TAKEN : TAKEN + 64] not in body
        assert portal.ask(FILE, headers, "HEAD")[0] == (200 if status == 206 else status)
    assert portal.ask(PAGE, portal.by_session)[0] == end.page
    if end.page == 302:
        assert portal.ask("/", portal.by_session)[0] == 302

    while part := connection.recv(1 << 20):
        taken += part
    connection.close()
    assert hashlib.sha256(taken).digest() == hashlib.sha256(CONTENT).digest(), "the transfer that had begun came to its end"
    (entry,) = entries(app)
    assert entry.ranges == [[0, SIZE - 1]]


# Those who vanish ------------------------------------------------------------------------------------------------------------------


def test_a_web_process_killed_in_mid_download_leaves_one_entry_that_goes_on(
    app: Flask, serve: Serve, portal: Portal, tmp_path: Path
) -> None:
    connection, taken = portal.begin()
    kill(portal.process)
    with suppress(ConnectionError):
        while part := connection.recv(1 << 20):
            taken += part
    connection.close()
    assert len(taken) < SIZE
    serve(portal.port)
    status, rest = portal.ask(FILE, {**portal.by_token, "Range": f"bytes={len(taken)}-"})
    assert (status, bytes(taken) + rest == CONTENT) == (206, True)
    (entry,) = entries(app)
    assert (entry.ranges, entry.completed_at) == ([[0, SIZE - 1]], None)


def test_a_client_that_stops_taking_gives_its_slot_back(app: Flask, serve: Serve, prepared: tuple[str, str], tmp_path: Path) -> None:
    """A laptop that went to sleep: its connection stays, and nothing is taken any more."""
    port = free_port()
    impatient = "from portal.releases import sending; sending.STALLED_SECONDS = 1; from portal.__main__ import main; main()"
    portal = Portal(port, serve(port, impatient, MAX_DOWNLOADS="1"), tmp_path / "web.log", *prepared)
    connection, _ = portal.begin()
    assert portal.ask(FILE, portal.by_session)[0] == 503
    assert portal.ask(PAGE, portal.by_session)[0] == 200
    deadline = time.monotonic() + WAIT_SECONDS
    while (found := portal.ask(FILE, {**portal.by_session, "Range": "bytes=0-9"})) != (206, CONTENT[:10]):
        assert found[0] == 503
        assert time.monotonic() < deadline
        time.sleep(0.1)
    connection.close()
    assert "Traceback" not in portal.log.read_text()


def test_a_client_that_is_gone_gives_its_slot_back(app: Flask, serve: Serve, prepared: tuple[str, str], tmp_path: Path) -> None:
    port = free_port()
    portal = Portal(port, serve(port, MAX_DOWNLOADS="1"), tmp_path / "web.log", *prepared)
    for _ in range(3):
        deadline = time.monotonic() + WAIT_SECONDS
        while (connection := portal.begin_if_free()) is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert portal.ask(FILE, portal.by_session)[0] == 503
        connection.close()
    assert "Traceback" not in portal.log.read_text()
