"""Files that come with feedback: who gets them, as what, which are taken, and what is left of those that are not."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from threading import Barrier

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal.config import Settings
from portal.database import db
from portal.feedback.models import Item
from portal.feedback.writing_models import Attachment, Draft
from tests.board import answer, release, suspended, write
from tests.cast import Cast
from tests.conftest import csrf_token, make_settings
from tests.web.feedback.pages import forms, text, words
from tests.web.releases.test_uploads import Unreadable

SignIn = Callable[[str], FlaskClient]
LIMIT = 100_000
PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 50
LOG = b"12:01 Verbindung verloren\n"
File = tuple[bytes, str]


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return make_settings(tmp_path, database_url, feedback_attachment_bytes=LIMIT, feedback_attachments=3)


def send(client: FlaskClient, page: str, form: str, *files: File, **typed: str) -> TestResponse:
    """Open a page and send its form to `form` with files, the way a browser does."""
    return post(client, form, {**forms(text(client, page))[form], **typed}, *files)


def post(client: FlaskClient, form: str, filled: dict[str, str], *files: File, keep: list[str] | None = None, **typed: str) -> TestResponse:
    data: dict[str, object] = {**filled, **typed, "files": [(BytesIO(content), name) for content, name in files]}
    if keep is not None:
        data["keep"] = keep
    return client.post(form, data=data, content_type="multipart/form-data")


def new(client: FlaskClient, *files: File, **typed: str) -> TestResponse:
    return send(client, "/feedback/new", "/feedback/new", *files, **{"title": "Pause", "body": "Please."} | typed)


def rows(app: Flask) -> list[tuple[str, int | None, int | None]]:
    with app.app_context():
        found = db.session.execute(sa.select(Attachment.filename, Attachment.item_id, Attachment.draft_id).order_by(Attachment.id))
        return [(name, item_id, draft_id) for name, item_id, draft_id in found]


def stored(settings: Settings) -> list[Path]:
    return [path for path in settings.builds_dir.rglob("*") if path.is_file()]


def test_the_own_organisation_and_staff_get_a_file_and_nobody_else(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    assert new(alice, (PNG, "screen.png"), (LOG, "größe.log")).status_code == 302
    address = "/feedback/1/attachments/1/screen.png"
    page = text(alice, "/feedback/1/")
    assert f'href="{address}"' in page
    assert "Only your organisation and Northwind Automation can open them." in words(page)
    for email in (cast.alice, cast.bob, cast.petra):
        assert sign_in(email).get(address).data == PNG
    for email in (cast.carol, cast.dave, cast.erin, cast.frank):
        client = sign_in(email)
        assert client.get(address).status_code == 404, email
        assert client.get("/feedback/1/attachments/2/x").status_code == 404, email
        assert "screen.png" not in client.get("/feedback/1/").get_data(as_text=True)
    assert app.test_client().get(address).status_code == 302


def test_a_file_is_saved_and_never_shown(cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    new(alice, (b"<script>alert(1)</script>", "page.html"))
    got = alice.get("/feedback/1/attachments/1/page.html")
    assert got.data == b"<script>alert(1)</script>"
    assert got.headers["Content-Type"] == "application/octet-stream"
    assert got.headers["Content-Disposition"] == "attachment; filename=\"page.html\"; filename*=UTF-8''page.html"
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in got.headers["Content-Security-Policy"]
    assert "default-src 'none'" in got.headers["Content-Security-Policy"]
    assert got.headers["Cache-Control"] == "private, no-store"
    head = alice.head("/feedback/1/attachments/1/page.html")
    assert (head.data, head.headers["Content-Length"]) == (b"", "25")


def test_a_file_of_a_comment_is_the_commenter_s_organisation_s(cast: Cast, sign_in: SignIn) -> None:
    alice, carol = sign_in(cast.alice), sign_in(cast.carol)
    new(alice)
    assert send(carol, "/feedback/1/", "/feedback/1/comments", (LOG, "carol.log"), body="Here too.").status_code == 302
    assert "carol.log" in text(carol, "/feedback/1/")
    address = "/feedback/1/attachments/1/carol.log"
    assert carol.get(address).data == LOG
    assert sign_in(cast.petra).get(address).data == LOG
    assert "carol.log" not in text(alice, "/feedback/1/")
    assert alice.get(address).status_code == 404


def test_the_lapsed_get_no_file_that_was_sent_about_a_beta(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        release("15.3b2")
        item_id = write(cast.alice)
        answer(item_id, by=cast.petra)
    carol = sign_in(cast.carol)
    new(carol, (LOG, "a.log"), version="15.3b2")
    with app.app_context(), suspended(cast.other_contract):
        assert carol.get("/feedback/2/attachments/1/a.log").status_code == 404
    assert carol.get("/feedback/2/attachments/1/a.log").data == LOG


@pytest.mark.parametrize(
    ("content", "name", "why"),
    [
        (b"x" * (LIMIT + 1), "large.txt", "large.txt is larger than 100 KB"),
        (b"<html>", "picture.png", "does not begin like what its name says it is"),
        (b"MZ\0\0\1\2\3", "setup.exe", "Zip it and send the zip"),
        (b"", "empty.txt", "empty.txt is empty"),
        (LOG, "<img src=x onerror=alert(1)>.log", "which Windows does not allow"),
        (LOG, "a\u202egnp.log", "characters that cannot be seen"),
        (LOG, "con.log", "Windows reserves con"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_taken_says_why_and_the_rest_waits_in_the_form(
    app: Flask, settings: Settings, cast: Cast, sign_in: SignIn, content: bytes, name: str, why: str
) -> None:
    alice = sign_in(cast.alice)
    refused = new(alice, (LOG, "good.log"), (content, name), title="A title to keep")
    page = refused.get_data(as_text=True)
    assert refused.status_code == 400
    assert why in words(page)
    filled = forms(page)["/feedback/new"]
    assert filled["title"] == "A title to keep"
    assert [found for found, *_ in rows(app)] == ["good.log"]
    assert len(stored(settings)) == 1
    assert post(alice, "/feedback/new", filled).status_code == 302
    assert rows(app) == [("good.log", 1, None)]
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Draft)) == 0


def test_more_files_than_go_with_one_text_are_named(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    refused = new(alice, *((LOG, f"{number}.log") for number in range(4)))
    assert "More than 3 files do not go with one text." in words(refused.get_data(as_text=True))
    filled = forms(refused.get_data(as_text=True))["/feedback/new"]
    assert len(rows(app)) == 3
    again = post(alice, "/feedback/new", filled, (LOG, "3.log"), keep=["1", "2", "3"])
    assert again.status_code == 400
    assert post(alice, "/feedback/new", filled, (LOG, "3.log"), keep=["1", "2"]).status_code == 302
    assert [(name, item) for name, item, _ in rows(app)] == [("0.log", 1), ("1.log", 1), ("3.log", 1)]


def test_files_wait_while_the_text_is_previewed_and_are_left_out_at_will(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    shown = new(alice, (LOG, "a.log"), (LOG, "b.log"), preview="1", body="It is **bold**.")
    page = shown.get_data(as_text=True)
    assert shown.status_code == 200
    assert "<strong>bold</strong>" in page
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Item)) == 0
    filled = forms(page)["/feedback/new"]
    assert post(alice, "/feedback/new", filled, keep=["2"]).status_code == 302
    assert [(name, item) for name, item, _ in rows(app)] == [("b.log", 1)]


def test_nobody_takes_files_out_of_somebody_else_s_draft(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice, bob = sign_in(cast.alice), sign_in(cast.bob)
    filled = forms(new(alice, (LOG, "a.log"), preview="1").get_data(as_text=True))["/feedback/new"]
    theirs = forms(text(bob, "/feedback/new"))["/feedback/new"]
    refused = post(bob, "/feedback/new", {**theirs, "draft": filled["draft"]}, keep=["1"], title="Bob's", body="Mine")
    assert refused.status_code == 400
    assert "a.log" not in refused.get_data(as_text=True)
    assert post(bob, "/feedback/new", forms(refused.get_data(as_text=True))["/feedback/new"], keep=["1"]).status_code == 302
    assert [item for _, item, _ in rows(app)] == [None]
    assert "a.log" not in text(bob, "/feedback/1/")


def test_a_form_far_beyond_the_limits_is_refused_unread(cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    refused = alice.post(
        "/feedback/new",
        input_stream=Unreadable(),
        environ_overrides={"CONTENT_LENGTH": str(10**12)},
        content_type="multipart/form-data; boundary=x",
    )
    assert refused.status_code == 413


def test_an_upload_that_breaks_off_leaves_nothing(app: Flask, settings: Settings, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    token = forms(text(alice, "/feedback/new"))["/feedback/new"]["csrf_token"]
    head = f'--x\r\nContent-Disposition: form-data; name="csrf_token"\r\n\r\n{token}\r\n'.encode()
    head += b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.log"\r\n\r\n' + b"x" * 70_000
    answered = alice.post("/feedback/new", data=head, content_type="multipart/form-data; boundary=x")
    assert answered.status_code == 400
    assert rows(app) == []
    assert stored(settings) == []


def test_without_a_token_of_ours_no_file_is_stored(app: Flask, settings: Settings, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    refused = post(alice, "/feedback/new", {"title": "x", "body": "y"}, (LOG, "a.log"))
    assert refused.status_code == 400
    assert "no longer valid" in refused.get_data(as_text=True)
    assert rows(app) == []
    assert stored(settings) == []


def test_the_button_pressed_twice_sends_a_draft_once(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    filled = forms(new(alice, (LOG, "a.log"), preview="1").get_data(as_text=True))["/feedback/new"]
    twins = [sign_in(cast.alice) for _ in range(4)]
    tokens = [csrf_token(text(twin, "/feedback/new")) for twin in twins]
    together = Barrier(len(twins))

    def press(number: int) -> int:
        together.wait(10)
        return post(twins[number], "/feedback/new", {**filled, "csrf_token": tokens[number]}, keep=["1"]).status_code

    with ThreadPoolExecutor(len(twins)) as pool:
        codes = sorted(pool.map(press, range(len(twins))))
    assert codes == [302, 400, 400, 400]
    with app.app_context():
        (sent,) = db.session.scalars(sa.select(Item.id))
    assert [item for _, item, _ in rows(app)] == [sent]
