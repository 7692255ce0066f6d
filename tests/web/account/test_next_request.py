"""Whatever ends a right ends it at the very next request: pages, ranges, feeds, tokens, links, and the staff's own doors."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from flask_security.recoverable import generate_reset_password_token

from portal import clock
from portal.account import access_tokens, contacts, contracts, team
from portal.account.models import TokenPurpose
from portal.config import Settings
from portal.database import db, transaction
from portal.releases.models import Channel
from portal.web import guards
from tests.builds import CONTENT, NOTES, find_contract, find_seat, find_user, publish_release
from tests.cast import Cast
from tests.conftest import NOW, csrf_token, make_settings
from tests.web.account.pages import SignIn, invite_somebody

PAGE = "/beta/macro-studio/15.3b2/"
FILE = f"{PAGE}download/studio.msi"
FEED = "/releases/macro-studio/feed.json"
RANGE = {"Range": "bytes=1000-1063"}
BYTES = CONTENT[1000:1064]


@dataclass
class Doors:
    """Everything that alice's seat opens, each with what it took to get there while it still did."""

    app: Flask
    browser: FlaskClient
    csrf: str
    token: str
    feed: str
    reset: str

    def open_ones(self) -> set[str]:
        """Try each door once; return those that are open."""
        program = self.app.test_client()
        bearer = {"Authorization": f"Bearer {self.token}"}
        tried = {
            "beta page": NOTES in self.browser.get(PAGE).text,
            "range": BYTES in self.browser.get(FILE, headers=RANGE).data,
            "whole file": CONTENT in self.browser.get(FILE).data,
            "range by token": BYTES in program.get(FILE, headers={**RANGE, **bearer}).data,
            "feed": "15.3 beta 2" in program.get(FEED, query_string={"token": self.feed}).text.replace("\u00a0", " "),
            "new feedback": self.browser.get("/feedback/new").status_code == 200
            and 'name="title"' in self.browser.get("/feedback/new").text,
            "contract page": self.browser.get("/account/contracts/NW-2041/").status_code == 200,
            "new token": self._makes_token(),
            "session": self.browser.get("/account/").status_code == 200,
            "reset link": 'name="password_confirm"' in program.get(f"/account/password/reset/{self.reset}").text,
        }
        return {name for name, is_open in tried.items() if is_open}

    def _makes_token(self) -> bool:
        with self.app.app_context():
            contact = find_contract("NW-2041")
            seat = next((one for one in contacts.live_contacts(contact.id) if one.seat == 1), None)
            seat_id = seat.id if seat else 0
            db.session.remove()
        form = {"label": "x", "contact_id": str(seat_id), "csrf_token": self.csrf}
        return self.browser.post("/account/security/tokens", data=form).status_code == 200


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    """A session outlasts a day, so that it is not what ends."""
    return make_settings(tmp_path, database_url, session_idle_hours=48)


@pytest.fixture
def doors(app: Flask, cast: Cast, sign_in: SignIn) -> Doors:
    with app.app_context():
        publish_release("15.3b2", Channel.BETA, NOW)
        with transaction():
            alice = find_user(cast.alice)
            token, feed = (
                access_tokens.create(find_seat(cast.alice).id, purpose.value, purpose=purpose, actor=alice, now=NOW)
                for purpose in (TokenPurpose.DOWNLOAD, TokenPurpose.FEED)
            )
        reset = str(generate_reset_password_token(find_user(cast.alice)))  # type: ignore[no-untyped-call]
        db.session.remove()
    browser = sign_in(cast.alice)
    csrf = csrf_token(browser.get("/account/security/").text)
    return Doors(app, browser, csrf, token, feed, reset)


ALL = {
    "beta page", "range", "whole file", "range by token", "feed", "new feedback", "contract page", "new token", "session", "reset link",
}  # fmt: skip
# A contract that rests or has ended leaves the account and the contract's page; a seat that is gone leaves nothing of it.
LEFT = {"contract page", "new token", "session", "reset link"}


def suspend(cast: Cast) -> None:
    contracts.suspend(find_contract(cast.contract), actor=None, now=clock.now())


def cancel(cast: Cast) -> None:
    contracts.cancel(find_contract(cast.contract), actor=None, now=clock.now())


def release(cast: Cast) -> None:
    contacts.release_contact(find_seat(cast.alice), actor=None, now=clock.now())


def replace(cast: Cast) -> None:
    contacts.replace_contact(find_seat(cast.alice), name="Nina", email="nina@logistics.example.org", actor=None, now=clock.now())


@pytest.mark.parametrize(
    ("act", "left"),
    [(suspend, LEFT), (cancel, LEFT), (release, set()), (replace, set())],
    ids=["suspension", "cancellation", "release", "replacement"],
)
def test_the_very_next_request_finds_the_doors_shut(
    app: Flask, cast: Cast, doors: Doors, act: Callable[[Cast], None], left: set[str]
) -> None:
    assert doors.open_ones() == ALL
    with app.app_context():
        with transaction():
            act(cast)
        db.session.remove()
    assert doors.open_ones() == left


def test_the_last_second_of_a_term_is_the_last_one(app: Flask, cast: Cast, doors: Doors) -> None:
    """A contract ends at midnight where it is: Berlin's here, an hour before that of the clock."""
    with app.app_context():
        with transaction():
            find_contract(cast.contract).terms[-1].ends_on = NOW.date()
        db.session.remove()
    midnight = NOW.replace(hour=23, minute=0)
    lasting = ALL - {"reset link", "new token"}  # the link, and the form's token, are older than they may be by then
    with time_machine.travel(midnight - timedelta(seconds=2), tick=False):
        assert doors.open_ones() >= lasting
    with time_machine.travel(midnight, tick=False):
        assert doors.open_ones() <= LEFT
    with time_machine.travel(midnight, tick=False), app.app_context():
        with transaction():
            contracts.renew(find_contract(cast.contract), actor=None, now=clock.now())
        db.session.remove()
    with time_machine.travel(midnight, tick=False):
        assert doors.open_ones() >= lasting


def test_an_invitation_is_shut_by_the_release_of_its_seat(app: Flask, cast: Cast, client: FlaskClient) -> None:
    link = invite_somebody(app, cast.other_contract, "nina@foods.example.org")
    csrf = csrf_token(client.get(link).text)
    with app.app_context():
        with transaction():
            contacts.release_contact(find_seat("nina@foods.example.org"), actor=None, now=clock.now())
        db.session.remove()
    form = {"csrf_token": csrf, "name": "Nina", "password": "a whole new long password"}
    assert client.post(link, data=form).status_code == 410
    assert client.get("/account/").status_code == 302


STAFF_DOORS = {
    "paula": ("publisher", "/staff/releases/new"),
    "petra": ("product", "/staff/feedback/"),
    "anton": ("accounts", "/staff/contracts/NW-2041/"),
    "ada": ("admin", "/staff/products/"),
}


@pytest.mark.parametrize("name", sorted(STAFF_DOORS))
def test_a_role_that_is_taken_away_is_gone_at_the_next_request(app: Flask, cast: Cast, sign_in: SignIn, name: str) -> None:
    """Even if the session went on: it ends, too, when staff take the role away."""
    role, page = STAFF_DOORS[name]
    browser = sign_in(getattr(cast, name))
    csrf = csrf_token(browser.get("/account/").text)
    assert browser.get(page).status_code == 200
    with app.app_context():
        with transaction():
            person = find_user(getattr(cast, name))
            person.roles = [one for one in person.roles if one.name != role]
        db.session.remove()
    assert browser.get(page).status_code == 404
    assert browser.get("/staff/").status_code == 404
    assert browser.post("/staff/contracts/NW-2041/suspend", data={"csrf_token": csrf}).status_code == 404
    with app.app_context():
        assert find_contract(cast.contract).suspended_at is None
        db.session.remove()


def test_taking_a_role_away_ends_the_session(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    browser = sign_in(cast.anton)
    with app.app_context():
        with transaction():
            team.set_roles(find_user(cast.anton), ["publisher"], guards.STAFF_ROLES, actor=None, now=clock.now())
        db.session.remove()
    assert browser.get("/staff/contracts/").status_code == 302
    assert sign_in(cast.anton).get("/staff/contracts/").status_code == 404
