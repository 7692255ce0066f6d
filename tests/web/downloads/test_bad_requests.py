"""Odd conditions are answered as RFC 9110 has it; what must not be seen yet, or any more, is answered with a reason and no byte."""

import re
from collections.abc import Callable
from datetime import date, timedelta

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal.account import access_tokens
from portal.database import db, transaction
from portal.releases import publishing, scheduling
from portal.releases.models import Channel, Download, Release
from tests.builds import CONTENT, find_seat, find_user, publish_release
from tests.cast import Cast
from tests.conftest import NOW
from tests.integration.releases.helpers import make_draft

SignIn = Callable[[str], FlaskClient]
SIZE = len(CONTENT)
BETA, STABLE = "/beta/macro-studio/15.3b2/", "/releases/macro-studio/15.2.1/"
NO_VERSION = "9.9b9"


@pytest.fixture(params=[STABLE, BETA], ids=["release", "beta"])
def path(request: pytest.FixtureRequest, app: Flask, cast: Cast) -> str:
    with app.app_context():
        publish_release("15.2.1", Channel.STABLE, NOW)
        publish_release("15.3b2", Channel.BETA, NOW)
        db.session.remove()
    return f"{request.param}download/studio.msi"


def entries(app: Flask) -> int:
    with app.app_context():
        return db.session.scalar(sa.select(sa.func.count()).select_from(Download)) or 0


@pytest.mark.parametrize(
    ("headers", "status", "content"),
    [
        ({"Range": "bytes=-64"}, 206, CONTENT[-64:]),
        ({"Range": f"bytes=-{SIZE * 2}"}, 206, CONTENT),
        ({"Range": "bytes=5-9", "If-Range": '"stale"'}, 200, CONTENT),
        ({"Range": "bytes=5-2", "If-Range": '"stale"'}, 200, CONTENT),
        ({"Range": "bytes=5-9", "If-Range": "Tue, 24 Nov 2026 09:00:00 GMT"}, 200, CONTENT),
        ({"Range": "bytes=5-9", "If-Range": ""}, 200, CONTENT),
        ({"Range": "bytes=0-1,4-5"}, 200, CONTENT),
        ({"Range": "lines=1-2"}, 200, CONTENT),
        ({"Range": "bytes=a-b"}, 200, CONTENT),
    ],
)
def test_what_does_not_hold_is_ignored(
    cast: Cast, path: str, sign_in: SignIn, headers: dict[str, str], status: int, content: bytes
) -> None:
    answer = sign_in(cast.alice).get(path, headers=headers)
    assert (answer.status_code, answer.data) == (status, content)


@pytest.mark.parametrize(
    "wanted", ["bytes=5-2", "bytes=-0", f"bytes={SIZE}-", "bytes=" + "0-0," * 10_000, "bytes=" + "9" * 40 + "-"], ids=lambda one: one[:12]
)
def test_what_makes_no_sense_is_refused_with_the_size_and_a_reason(app: Flask, cast: Cast, path: str, sign_in: SignIn, wanted: str) -> None:
    alice = sign_in(cast.alice)
    answer = alice.get(path, headers={"Range": wanted})
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, f"bytes */{SIZE}")
    assert answer.get_data(as_text=True).startswith(f"This range cannot be sent: the file has {SIZE} bytes")
    assert CONTENT[:64] not in answer.data
    assert alice.head(path, headers={"Range": wanted}).status_code == 200
    assert entries(app) == 0


def test_a_condition_on_another_file_is_refused_with_a_reason(app: Flask, cast: Cast, path: str, sign_in: SignIn) -> None:
    answer = sign_in(cast.alice).get(path, headers={"If-Match": '"another"'})
    assert answer.status_code == 412
    assert "another one than you have" in answer.get_data(as_text=True)
    assert entries(app) == 0


# Guessed addresses ---------------------------------------------------------------------------------------------------------------


def draft(version: str) -> None:
    make_draft(version=version, notes="Nobody may read this yet.")


def scheduled(version: str) -> None:
    release_id = make_draft(version=version, notes="Nobody may read this yet.")
    with transaction():
        scheduling.schedule(release_id, NOW + timedelta(days=1), actor=None, now=NOW)


@pytest.fixture
def clients(app: Flask, cast: Cast, sign_in: SignIn) -> list[tuple[FlaskClient, dict[str, str]]]:
    """Alice's browser and her program."""
    with app.app_context(), transaction():
        token = access_tokens.create(find_seat(cast.alice).id, "curl", actor=find_user(cast.alice), now=NOW)
    return [(sign_in(cast.alice), {}), (app.test_client(), {"Authorization": f"Bearer {token}"})]


def ask_all(client: FlaskClient, headers: dict[str, str], path: str) -> list[TestResponse]:
    return [
        client.get(path, headers=headers),
        client.head(path, headers=headers),
        client.get(path, headers={**headers, "Range": "bytes=0-9"}),
        client.get(path, headers={**headers, "Range": "bytes=5-2"}),
        client.get(path, headers={**headers, "If-None-Match": "*"}),
    ]


def without_echo(answer: TestResponse, version: str) -> str:
    """A page without the secret of its form, and without the address that was asked for."""
    return re.sub(r'name="csrf_token" value="[^"]+"', "", answer.get_data(as_text=True)).replace(version, "")


@pytest.mark.parametrize("make", [draft, scheduled])
def test_what_is_not_out_yet_is_answered_like_what_does_not_exist(
    app: Flask, clients: list[tuple[FlaskClient, dict[str, str]]], make: Callable[[str], None]
) -> None:
    version = "15.4b1"
    with app.app_context():
        make(version)
        name = db.session.scalars(sa.select(Release).where(Release.version == version)).one().builds[0].filename
        db.session.remove()
    for client, headers in clients:
        for root in ("beta", "releases"):
            found = ask_all(client, headers, f"/{root}/macro-studio/{version}/download/{name}")
            absent = ask_all(client, headers, f"/{root}/macro-studio/{NO_VERSION}/download/{name}")
            assert [one.status_code for one in found] == [404] * 5
            assert [without_echo(one, version) for one in found] == [without_echo(one, NO_VERSION) for one in absent]
            assert not any({"ETag", "Content-Range", "Accept-Ranges", "Content-Disposition"} & set(dict(one.headers)) for one in found)


@pytest.mark.parametrize(("end", "reason"), [("expire", "This beta has expired"), ("withdraw", "It can lose macros.")])
def test_what_is_no_longer_out_is_refused_with_a_reason_and_no_byte(
    app: Flask, clients: list[tuple[FlaskClient, dict[str, str]]], end: str, reason: str
) -> None:
    with app.app_context():
        beta = publish_release("15.3b2", Channel.BETA, NOW, expires_on=date(2026, 12, 1))
        with transaction() as session:
            if end == "withdraw":
                publishing.withdraw(beta, "It can lose macros.", actor=None, now=NOW)
            else:
                session.get_one(Release, beta).expires_on = date(2026, 11, 23)
        db.session.remove()
    for client, headers in clients:
        answers = ask_all(client, headers, f"{BETA}download/studio.msi")
        assert [answer.status_code for answer in answers] == [410] * 5
        assert all(reason in answer.get_data(as_text=True) for answer in answers if answer.request.method == "GET")
        assert not any("ETag" in answer.headers or CONTENT[:10] in answer.data for answer in answers)
        assert client.get(f"{BETA}download/other.msi", headers=headers).status_code == 404
    assert entries(app) == 0
