"""Over the cap a download is put off in plain words, and every slot comes back."""

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal import clock
from portal.account import access_tokens
from portal.app import create_app
from portal.config import Settings
from portal.database import db, transaction
from portal.products.catalog import find_product
from portal.products.models import StableAccess
from portal.releases.capacity import Slots
from portal.releases.models import Download
from tests.builds import CONTENT, find_seat, find_user
from tests.cast import Cast
from tests.conftest import make_settings

SignIn = Callable[[str], FlaskClient]
FILE = "/releases/macro-studio/15.2.1/download/studio.msi"


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return make_settings(tmp_path, database_url, max_downloads=3, max_downloads_per_person=2)


def begin(client: FlaskClient, **headers: str) -> TestResponse:
    """Start a download and take none of it yet. It must be closed."""
    return client.get(FILE, headers=headers, buffered=False)


def slots(app: Flask) -> Slots:
    found: Slots = app.extensions["portal.downloads"]
    return found


def entries(app: Flask) -> int:
    with app.app_context():
        return db.session.scalar(sa.select(sa.func.count()).select_from(Download)) or 0


def assert_put_off(answer: TestResponse, says: str) -> None:
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "30"
    assert says in answer.get_data(as_text=True)
    assert CONTENT[:64] not in answer.data
    assert "Content-Disposition" not in answer.headers
    assert "ETag" not in answer.headers


def test_over_the_cap_downloads_wait_and_pages_answer(app: Flask, cast: Cast, stable: int, sign_in: SignIn) -> None:
    alice, bob, carol = sign_in(cast.alice), sign_in(cast.bob), sign_in(cast.carol)
    running = [begin(alice), begin(alice, Range="bytes=10-19"), begin(bob)]
    assert [answer.status_code for answer in running] == [200, 206, 200]
    assert_put_off(carol.get(FILE), "Many downloads are running")
    assert carol.get("/releases/macro-studio/15.2.1/").status_code == 200
    assert carol.head(FILE).status_code == 200
    assert entries(app) == 2, "what was put off was not granted"
    running[1].close()
    assert carol.get(FILE).data == CONTENT
    for answer in running:
        answer.close()
    assert slots(app).running == 0


def test_one_person_leaves_the_rest_to_others(app: Flask, cast: Cast, stable: int, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    running = [begin(alice), begin(alice)]
    assert_put_off(alice.get(FILE), "You have many downloads running")
    assert sign_in(cast.bob).get(FILE).data == CONTENT
    running[0].close()
    assert alice.get(FILE, headers={"Range": "bytes=5-9"}).data == CONTENT[5:10]
    running[1].close()
    assert slots(app).running == 0


def test_session_and_token_of_a_person_count_together_and_a_program_is_told_in_plain_text(
    app: Flask, cast: Cast, stable: int, sign_in: SignIn
) -> None:
    with app.app_context(), transaction():
        token = access_tokens.create(find_seat(cast.alice).id, "curl", actor=find_user(cast.alice), now=clock.now())
    by_token = {"Authorization": f"Bearer {token}"}
    running = [begin(sign_in(cast.alice)), begin(app.test_client(), **by_token)]
    refused = app.test_client().get(FILE, headers=by_token)
    assert_put_off(refused, "You have many downloads running.\nLet one of them end, then start this one again.\n")
    assert refused.content_type == "text/plain; charset=utf-8"
    for answer in running:
        answer.close()


def test_strangers_are_counted_by_address(app: Flask, cast: Cast, stable: int) -> None:
    with app.app_context(), transaction():
        find_product(cast.product).stable_access = StableAccess.PUBLIC
    here, elsewhere = app.test_client(), {"REMOTE_ADDR": "192.0.2.7"}
    running = [begin(here), begin(here)]
    assert_put_off(here.get(FILE), "You have many downloads running")
    assert here.get(FILE, environ_overrides=elsewhere).data == CONTENT
    for answer in running:
        answer.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Range": "bytes=9999999-"}, 416), ({"If-None-Match": "*"}, 304), ({"If-Match": '"another"'}, 412)],
)
def test_an_answer_without_bytes_takes_no_slot(
    app: Flask, cast: Cast, stable: int, sign_in: SignIn, headers: dict[str, str], status: int
) -> None:
    alice = sign_in(cast.alice)
    running = [begin(alice), begin(alice)]
    assert alice.get(FILE, headers=headers).status_code == status
    assert slots(app).running == 2
    for answer in running:
        answer.close()


def test_a_failure_after_the_slot_was_taken_gives_it_back(app: Flask, cast: Cast, stable: int, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    with app.app_context(), transaction() as session:
        session.execute(sa.text("DROP TABLE downloads"))
    for _ in range(4):  # one more than there are slots
        assert alice.get(FILE).status_code >= 500
    assert slots(app).running == 0


def test_an_answer_that_nobody_closes_gives_its_slot_back(app: Flask, cast: Cast, stable: int, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    for _ in range(4):
        begin(alice)
    assert alice.get(FILE).data == CONTENT


def test_where_nginx_sends_nobody_waits(app: Flask, settings: Settings, cast: Cast, stable: int, sign_in: SignIn) -> None:
    with_nginx = create_app(make_settings(settings.data_dir, settings.database_url, max_downloads=1, accel_prefix="/_builds/"))
    with app.app_context(), transaction():
        find_product(cast.product).stable_access = StableAccess.PUBLIC
    running = [begin(with_nginx.test_client()) for _ in range(4)]
    assert ["X-Accel-Redirect" in answer.headers for answer in running] == [True] * 4
    assert slots(with_nginx).running == 0
    with with_nginx.app_context():
        db.engine.dispose()
