"""Files of feedback whose upload breaks off, and what the documented clean-up leaves of them."""

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from portal import clock
from portal.config import Settings
from portal.database import db, transaction
from portal.feedback import attachments, drafts
from portal.feedback.models import Item
from portal.feedback.writing_models import Attachment, DraftPurpose
from portal.storage import store
from tests.board import person, write
from tests.cast import Cast
from tests.conftest import csrf_token
from tests.faults.test_uploads import MEGABYTE, WAIT_SECONDS, Web, files, incoming, start_web, sweep, wait_until
from tests.faults.test_uploads import draft as build_draft  # noqa: F401 - a fixture: a build that must survive whatever is swept

Running = tuple[subprocess.Popen[bytes], Web]


@pytest.fixture
def alice(cast: Cast, sign_in: Callable[[str], FlaskClient]) -> FlaskClient:
    return sign_in(cast.alice)


@pytest.fixture
def running(environment: dict[str, str], cast: Cast, sign_in: Callable[[str], FlaskClient], tmp_path: Path) -> Iterator[Running]:
    process, web = start_web(environment, sign_in(cast.paula), tmp_path)
    yield process, web
    process.terminate()
    process.wait()


def begin(web: Web, client: FlaskClient, announced: int) -> socket.socket:
    """Begin to send feedback with a file of so many bytes; half of it arrives."""
    token = csrf_token(client.get("/feedback/new").get_data(as_text=True))
    cookies = "; ".join(f"{cookie.key}={cookie.value}" for cookie in (client._cookies or {}).values())
    fields = {"csrf_token": token, "title": "Pause", "body": "Please.", "kind": "idea", "visibility": "subscribers"}
    head = "".join(f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items())
    head += '--x\r\nContent-Disposition: form-data; name="files"; filename="run.log"\r\n\r\n'
    body = head.encode() + b"x" * (announced // 2)
    length = len(head) + announced + len(b"\r\n--x--\r\n")
    connection = socket.create_connection(("127.0.0.1", web.port), timeout=WAIT_SECONDS)
    request = f"POST /feedback/new HTTP/1.1\r\nHost: 127.0.0.1:{web.port}\r\nCookie: {cookies}\r\n"
    request += f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {length}\r\n\r\n"
    connection.sendall(request.encode() + body)
    return connection


def rows(app: Flask) -> tuple[int, int]:
    with app.app_context():
        found = [db.session.scalar(sa.select(sa.func.count()).select_from(model)) or 0 for model in (Item, Attachment)]
        db.session.remove()
    return found[0], found[1]


@pytest.mark.usefixtures("build_draft")
def test_a_connection_cut_in_mid_file_leaves_no_row_and_no_file(
    app: Flask, settings: Settings, running: Running, alice: FlaskClient
) -> None:
    _, web = running
    connection = begin(web, alice, 4 * MEGABYTE)
    wait_until(lambda: incoming(settings), "nothing arrived")
    connection.close()
    wait_until(lambda: not incoming(settings), "the half file is still there")
    assert rows(app) == (0, 0)
    assert [path.read_bytes() for path in files(settings)] == [b"kept"]
    assert web.answers()


@pytest.mark.usefixtures("build_draft")
def test_a_process_killed_in_mid_file_leaves_only_what_the_sweep_removes(
    app: Flask, settings: Settings, running: Running, alice: FlaskClient
) -> None:
    process, web = running
    connection = begin(web, alice, 4 * MEGABYTE)
    wait_until(lambda: any(path.stat().st_size for path in incoming(settings)), "nothing arrived")
    found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
    for child in found.stdout.split():
        os.kill(int(child), signal.SIGKILL)
    connection.close()
    assert rows(app) == (0, 0)
    assert sweep(app, timedelta()) == 0, "it is too young to be told from an upload that is under way"
    assert sweep(app, timedelta(days=2)) == 1
    assert [path.read_bytes() for path in files(settings)] == [b"kept"]


@pytest.mark.usefixtures("build_draft")
def test_the_sweep_keeps_what_an_item_or_a_draft_names_and_removes_what_nothing_names(app: Flask, settings: Settings, cast: Cast) -> None:
    now = clock.now()
    with app.app_context():
        item_id = write(cast.alice, now=now)
        alice = person(cast.alice)
        stored = {name: store().write([name.encode()], 100) for name in ("of an item", "of a draft", "of nothing")}
        with transaction():
            attachments.add([attachments.Arrived("a.log", stored["of an item"])], alice, item_id=item_id, now=now)
            _, waiting = drafts.keep(DraftPurpose.ITEM, None, {"title": "x"}, alice.id, now=now)
            attachments.add([attachments.Arrived("b.log", stored["of a draft"])], alice, draft_id=waiting.id, now=now)
        db.session.remove()
    assert sweep(app, timedelta(days=2)) == 1
    assert {path.read_bytes() for path in files(settings)} == {b"kept", b"of an item", b"of a draft"}
    with app.app_context():
        with transaction():
            assert drafts.sweep(now + timedelta(days=8)) == 1
        db.session.remove()
    assert sweep(app, timedelta(days=2)) == 1
    assert {path.read_bytes() for path in files(settings)} == {b"kept", b"of an item"}
