"""Uploads: straight into storage, refused early, and never half saved."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.config import Settings
from portal.releases import catalog
from portal.releases.models import Channel
from tests.builds import publish_release
from tests.cast import Cast
from tests.conftest import NOW, csrf_token, make_settings
from tests.web.releases.helpers import DRAFT, MSI, STAFF, upload
from tests.web.releases.test_manager_story import make_draft

SignIn = Callable[[str], FlaskClient]
LIMIT = 200_000


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return make_settings(tmp_path, database_url, max_build_bytes=LIMIT)


@pytest.fixture
def paula(cast: Cast, sign_in: SignIn) -> FlaskClient:
    client = sign_in(cast.paula)
    make_draft(client)
    return client


def names(app: Flask) -> list[str]:
    with app.app_context():
        return [build.filename for build in catalog.find_release("macro-studio", "15.3b2").builds]


def stored_files(settings: Settings) -> list[Path]:
    return [path for path in settings.builds_dir.rglob("*") if path.is_file()]


def test_a_form_without_javascript_uploads_and_keeps_the_platform(app: Flask, paula: FlaskClient) -> None:
    assert upload(paula, platform="Windows 64-bit").status_code == 200
    with app.app_context():
        assert catalog.find_release("macro-studio", "15.3b2").builds[0].platform == "Windows 64-bit"


def test_the_largest_file_is_accepted_and_one_byte_more_is_not(app: Flask, paula: FlaskClient, settings: Settings) -> None:
    assert upload(paula, b"x" * LIMIT, "largest.bin").status_code == 200
    answer = upload(paula, b"x" * (LIMIT + 1), "larger.bin")
    assert answer.status_code == 413
    assert "The file is too large: the limit is 200\u00a0KB" in answer.get_data(as_text=True)
    assert names(app) == ["largest.bin"]
    assert len(stored_files(settings)) == 1


@pytest.mark.parametrize("line", [b"\r\n", b"\n--", b"\r\n--x", b"\r", bytes(range(256)) * 4])
def test_bytes_that_look_like_a_form_arrive_as_they_are(app: Flask, paula: FlaskClient, settings: Settings, line: bytes) -> None:
    content = (b"z" * 70_000 + line * 1_000 + b"y" * 65_000)[:LIMIT]
    assert upload(paula, content, "studio.bin").status_code == 200
    (stored,) = stored_files(settings)
    assert stored.read_bytes() == content


class Unreadable(BytesIO):
    """A body that nobody may read."""

    def read(self, *_: Any) -> bytes:
        raise AssertionError("the body was read")

    readline = readinto = read  # type: ignore[assignment]


def test_a_body_announced_as_too_large_is_refused_before_it_is_read(app: Flask, paula: FlaskClient) -> None:
    answer = paula.post(
        f"{DRAFT}builds",
        input_stream=Unreadable(),
        environ_overrides={"CONTENT_LENGTH": str(10**12)},
        content_type="multipart/form-data; boundary=x",
        headers={"Accept": "application/json", "X-CSRFToken": csrf_token(paula.get(DRAFT).get_data(as_text=True))},
    )
    assert answer.status_code == 413
    assert "limit is 200" in answer.get_json()["error"]


@pytest.mark.parametrize("email", ["alice", "petra", None])
def test_nobody_else_gets_as_far_as_the_body(cast: Cast, paula: FlaskClient, sign_in: SignIn, email: str | None, app: Flask) -> None:
    client = sign_in(getattr(cast, email)) if email else app.test_client()
    answer = client.post(
        f"{DRAFT}builds",
        input_stream=Unreadable(),
        environ_overrides={"CONTENT_LENGTH": "1000"},
        content_type="multipart/form-data; boundary=x",
    )
    assert answer.status_code == (404 if email else 302)


@pytest.mark.parametrize("token", [{}, {"csrf_token": "forged"}])
def test_a_missing_or_forged_token_is_refused_and_nothing_is_kept(
    app: Flask, paula: FlaskClient, settings: Settings, token: dict[str, str]
) -> None:  # fmt: skip
    answer = paula.post(f"{DRAFT}builds", data={**token, "file": (BytesIO(b"bytes"), "studio.msi")})
    assert answer.status_code == 400
    assert "no longer valid" in answer.get_data(as_text=True)
    assert names(app) == []
    assert stored_files(settings) == []


def test_a_forged_token_in_the_header_is_refused_before_the_body_is_read(paula: FlaskClient) -> None:
    answer = paula.post(
        f"{DRAFT}builds",
        input_stream=Unreadable(),
        environ_overrides={"CONTENT_LENGTH": "1000"},
        content_type="multipart/form-data; boundary=x",
        headers={"X-CSRFToken": "forged"},
    )
    assert answer.status_code == 400


def test_a_script_gets_json(app: Flask, paula: FlaskClient) -> None:
    headers = {"Accept": "application/json", "X-CSRFToken": csrf_token(paula.get(DRAFT).get_data(as_text=True))}
    answer = paula.post(f"{DRAFT}builds", data={"file": (BytesIO(MSI), "studio.msi")}, headers=headers)
    assert answer.status_code == 201
    assert answer.get_json()["size"] == len(MSI)
    answer = paula.post(f"{DRAFT}builds", data={"file": (BytesIO(MSI), "studio.msi")}, headers=headers)
    assert answer.status_code == 409
    assert "already has a build called studio.msi" in answer.get_json()["error"]


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "C:\\setup.exe", "CON.txt", ".hidden", "exe.\u202emsi", "x" * 121, "nul\x00.zip", "del\x7f.zip"]
)
def test_unsafe_names_are_refused_with_the_reason(app: Flask, paula: FlaskClient, settings: Settings, name: str) -> None:
    answer = upload(paula, name=name, platform="Windows 64-bit")
    assert answer.status_code == 400
    page = answer.get_data(as_text=True)
    assert "We do not take a file with this name" in page
    assert names(app) == []
    assert stored_files(settings) == []


def test_what_was_typed_is_still_there_after_a_refusal(paula: FlaskClient) -> None:
    page = upload(paula, name="CON.txt", platform="Windows 64-bit").get_data(as_text=True)
    assert 'value="Windows 64-bit"' in page


def test_an_empty_file_no_file_and_two_files_are_refused(app: Flask, paula: FlaskClient, settings: Settings) -> None:
    assert "The file is empty" in upload(paula, b"").get_data(as_text=True)
    assert "Choose a file" in upload(paula, b"", "").get_data(as_text=True)
    token = csrf_token(paula.get(DRAFT).get_data(as_text=True))
    assert "Choose a file" in paula.post(f"{DRAFT}builds", data={"csrf_token": token, "platform": ""}).get_data(as_text=True)
    two = {"csrf_token": token, "file": [(BytesIO(b"one"), "one.zip"), (BytesIO(b"two"), "two.zip")]}
    answer = paula.post(f"{DRAFT}builds", data=two, content_type="multipart/form-data")
    assert "one file at a time" in answer.get_data(as_text=True)
    assert names(app) == []
    assert stored_files(settings) == []


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data; boundary=x", b"not a form"),
        ("multipart/form-data", b"--x--"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=file; filename=a.zip\r\n\r\nhalf a fi"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="file"; filename="a\n.zip"\r\n\r\nb\r\n--x--'),
        ("application/octet-stream", b"bytes"),
        ("multipart/form-data; boundary=\xe9", b"--x--"),
    ],
)
def test_damaged_bodies_are_refused(app: Flask, paula: FlaskClient, settings: Settings, content_type: str, body: bytes) -> None:
    headers = {"X-CSRFToken": csrf_token(paula.get(DRAFT).get_data(as_text=True))}
    answer = paula.post(f"{DRAFT}builds", data=body, content_type=content_type, headers=headers)
    assert answer.status_code == 400
    assert names(app) == []
    assert stored_files(settings) == []


@pytest.mark.parametrize(
    ("content_type", "status"), [("application/x-www-form-urlencoded", 400), ("text/plain", 400), ("application/json", 415), ("", 400)]
)
def test_a_body_that_says_it_is_no_upload_is_not_read(paula: FlaskClient, content_type: str, status: int) -> None:
    """The parser would hold the whole of a URL-encoded form in memory, however long. No page of ours takes JSON."""
    answer = paula.post(
        f"{DRAFT}builds",
        input_stream=Unreadable(),
        environ_overrides={"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True},
        content_type=content_type,
        headers={"X-CSRFToken": csrf_token(paula.get(DRAFT).get_data(as_text=True))},
    )
    assert answer.status_code == status
    assert status != 400 or "send it as multipart/form-data." in answer.get_data(as_text=True)


def test_an_upload_that_breaks_off_leaves_nothing(app: Flask, paula: FlaskClient, settings: Settings) -> None:
    body = b"--x\r\nContent-Disposition: form-data; name=file; filename=a.zip\r\n\r\nhalf a fi"
    answer = paula.post(
        f"{DRAFT}builds",
        input_stream=BytesIO(body),
        environ_overrides={"CONTENT_LENGTH": str(len(body) + 5_000)},
        content_type="multipart/form-data; boundary=x",
        headers={"X-CSRFToken": csrf_token(paula.get(DRAFT).get_data(as_text=True))},
    )
    assert answer.status_code == 400
    assert names(app) == []
    assert stored_files(settings) == []


def test_a_published_release_takes_no_build(app: Flask, paula: FlaskClient) -> None:
    with app.app_context():
        publish_release("15.2.1", Channel.STABLE, NOW)
    answer = upload(paula, url=f"{STAFF}/macro-studio/15.2.1/")
    assert answer.status_code == 409
    assert "builds cannot change" in answer.get_data(as_text=True)


def test_other_forms_keep_their_own_small_limit(paula: FlaskClient) -> None:
    answer = paula.post(f"{STAFF}/new", data={"notes": "x" * 3_000_000})
    assert answer.status_code == 413
