"""Failed tries are counted by client and by all together, for sign-in, reset and everything like it at once; successes are not."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from portal.account.models import Contact, User
from portal.app import create_app
from portal.config import Settings
from portal.database import db
from tests.cast import PASSWORD, Cast, assemble
from tests.conftest import NOW, csrf_token, make_settings
from tests.web.account.pages import invite_somebody, mails, send, text_of, try_password

WRONG = "not the right one at all"
CAST = Cast()
Make = Callable[..., Flask]


@pytest.fixture(scope="module")
def populated(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the cast, for copies: making it costs more than most of these tests."""
    directory = tmp_path_factory.mktemp("populated")
    shutil.copyfile(sqlite_template, directory / "portal.db")
    app = create_app(make_settings(directory))
    with app.app_context():
        assemble(NOW)
        db.session.remove()
        db.engine.dispose()
    return directory / "portal.db"


@pytest.fixture
def make_app(populated: Path, tmp_path: Path) -> Iterator[Make]:
    """Return a function that builds an app with the given settings, each on the same database."""
    shutil.copyfile(populated, tmp_path / "portal.db")
    made: list[Flask] = []

    def make(**changes: object) -> Flask:
        made.append(create_app(make_settings(tmp_path, "", **changes)))
        return made[-1]

    yield make
    for app in made:
        with app.app_context():
            db.session.remove()
            db.engine.dispose()


def from_address(client: FlaskClient, address: str, email: str, password: str = WRONG) -> int:
    place = {"REMOTE_ADDR": address}
    token = csrf_token(client.get("/sign-in", environ_base=place).text)
    data = {"email": email, "password": password, "csrf_token": token}
    return client.post("/sign-in", data=data, environ_base=place).status_code


def test_sign_in_reset_and_invitation_count_together(make_app: Make) -> None:
    app = make_app(sign_in_limit="4 per minute")
    client = app.test_client()
    assert try_password(client, CAST.alice, WRONG).status_code == 200
    assert send(client, "/account/password/reset", email=CAST.bob).status_code == 200
    assert send(client, "/account/invitations/no-such-invitation", "/sign-in", password=WRONG).status_code == 404
    assert send(client, "/account/password/reset/no-such-link", "/sign-in", password=WRONG, password_confirm=WRONG).status_code == 302
    answer = try_password(client, CAST.carol, PASSWORD)
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert "Too many tries" in text_of(answer)
    assert f"Wait {answer.headers['Retry-After']} seconds" in text_of(answer)


def test_successes_are_not_counted(make_app: Make) -> None:
    app = make_app(sign_in_limit="2 per minute", sign_in_limit_overall="2 per minute")
    for _ in range(5):
        client = app.test_client()
        assert try_password(client, CAST.alice, PASSWORD).status_code == 302
        assert send(client, "/account/verify", password=PASSWORD).status_code == 302


def test_a_form_without_its_token_is_no_try(make_app: Make) -> None:
    app = make_app(sign_in_limit="1 per minute")
    for _ in range(3):
        assert app.test_client().post("/sign-in", data={"email": CAST.alice, "password": WRONG}).status_code == 400
    assert try_password(app.test_client(), CAST.alice, PASSWORD).status_code == 302


def test_another_process_counts_on(make_app: Make) -> None:
    """Two apps on one database stand for two processes; tests/integration/account/test_rate_counts.py runs real ones."""
    one, other = make_app(sign_in_limit="3 per minute"), make_app(sign_in_limit="3 per minute")
    codes = [try_password(app.test_client(), "nobody@example.org", WRONG).status_code for app in (one, other, one, other, one)]
    assert codes == [200, 200, 200, 429, 429]


@pytest.mark.parametrize(
    ("addresses", "codes"),
    [
        (["2001:db8:1:2::1", "2001:db8:1:2:ffff::2", "2001:db8:1:2:1:2:3:4"], [200, 200, 429]),
        (["2001:db8:1:2::1", "2001:db8:1:3::1", "2001:db8:1:4::1"], [200, 200, 200]),
        (["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1"], [200, 200, 429]),
        (["192.0.2.1", "192.0.2.2", "192.0.2.3"], [200, 200, 200]),
    ],
)
def test_a_64_of_ipv6_is_one_client(make_app: Make, addresses: list[str], codes: list[int]) -> None:
    app = make_app(sign_in_limit="2 per minute")
    assert [from_address(app.test_client(), address, f"nobody{number}@example.org") for number, address in enumerate(addresses)] == codes


def test_when_all_together_fail_too_often_people_get_in_on_devices_they_used_before(make_app: Make) -> None:
    app = make_app(sign_in_limit_overall="5 per minute")
    known = app.test_client()
    assert from_address(known, "192.0.2.200", CAST.alice, PASSWORD) == 302
    send(known, "/sign-out", "/account/")
    for number in range(5):
        assert from_address(app.test_client(), f"198.51.100.{number}", f"nobody{number}@example.org") == 200
    assert from_address(app.test_client(), "192.0.2.100", CAST.bob, PASSWORD) == 429
    assert from_address(known, "192.0.2.200", CAST.bob, PASSWORD) == 429
    assert from_address(known, "192.0.2.200", CAST.alice, PASSWORD) == 302


def test_a_claimed_address_counts_only_behind_a_proxy(make_app: Make) -> None:
    claims = [{"X-Forwarded-For": f"198.51.100.{number}, 203.0.113.{number}"} for number in range(4)]

    def codes(app: Flask) -> list[int]:
        found = []
        for number, headers in enumerate(claims):
            client = app.test_client()
            token = csrf_token(client.get("/sign-in").text)
            data = {"email": f"nobody{number}@example.org", "password": WRONG, "csrf_token": token}
            found.append(client.post("/sign-in", data=data, headers=headers).status_code)
        return found

    assert codes(make_app(sign_in_limit="2 per minute")) == [200, 200, 429, 429]
    assert codes(make_app(sign_in_limit="2 per minute", proxy_hops=1)) == [200, 200, 200, 200]
    same = [{"X-Forwarded-For": f"198.51.100.{number}, 203.0.113.9"} for number in range(4)]
    claims = same
    assert codes(make_app(sign_in_limit="2 per minute", proxy_hops=1)) == [200, 200, 429, 429]


def test_one_account_gets_so_many_reset_mails_an_hour_and_the_answer_stays_the_same(make_app: Make) -> None:
    app = make_app()
    answers = {text_of(send(app.test_client(), "/account/password/reset", email=CAST.alice)) for _ in range(7)}
    assert len(answers) == 1
    assert mails(app) == [("password_reset", CAST.alice)] * 5


def test_an_invitation_is_sent_again_only_so_often(make_app: Make) -> None:
    app = make_app()
    invite_somebody(app, CAST.other_contract, "nina@foods.example.org")
    with app.app_context():
        seat = db.session.scalar(sa.select(Contact.id).join(Contact.user).where(User.email == "nina@foods.example.org"))
        db.session.remove()
    carol, page = app.test_client(), f"/account/contracts/{CAST.other_contract}/"
    try_password(carol, CAST.carol, PASSWORD)
    codes = [send(carol, f"{page}contacts/{seat}/resend", page).status_code for _ in range(6)]
    assert codes == [302, 302, 302, 302, 409, 409]
    assert [kind for kind, _ in mails(app)].count("invitation") == 5


def test_one_process_may_count_in_memory_and_several_may_not(make_app: Make, tmp_path: Path) -> None:
    app = make_app(sign_in_limit="1 per minute", rate_limit_url="memory://")
    codes = [try_password(app.test_client(), "nobody@example.org", WRONG).status_code for _ in range(2)]
    assert codes == [200, 429]
    assert Settings(secret_key="x" * 40, web_processes=4).check().rate_limit_url == "database://"
