"""The home page answers at a glance, for each of the cast what is theirs, and its cost does not grow."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient

from portal.account import contacts, contracts
from portal.account.contracts import find_contract
from portal.database import transaction
from portal.feedback.models import Status
from portal.products.catalog import find_product
from portal.releases.models import Channel
from tests.board import answer, vote, write
from tests.builds import publish_release, publish_terms
from tests.cast import Cast
from tests.conftest import NOW
from tests.statements import statements

SignIn = Callable[[str], FlaskClient]
YESTERDAY = NOW - timedelta(days=1)


def text(client: FlaskClient, path: str = "/") -> str:
    answer = client.get(path, follow_redirects=True)
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


@pytest.fixture
def world(app: Flask, cast: Cast) -> None:
    """Two betas of which the newer counts, a stable release, and feedback that came somewhere."""
    with app.app_context():
        publish_release("15.2.1", Channel.STABLE, YESTERDAY)
        publish_release("15.3b1", Channel.BETA, YESTERDAY)
        publish_release("15.3b2", Channel.BETA, YESTERDAY, expires_on=date(2030, 1, 31))
        shipped = write(cast.alice, "Pause from the tray", now=YESTERDAY)
        write(cast.carol, "Nobody else voted for this", now=YESTERDAY)
        answer(shipped, Status.SHIPPED, version="15.2.1")


@pytest.mark.usefixtures("world")
def test_a_subscriber_sees_beta_release_contract_and_feedback(cast: Cast, sign_in: SignIn) -> None:
    page = text(sign_in(cast.bob))
    assert "15.3 beta\u00a02" in page
    assert "15.3 beta\u00a01" not in page
    assert "What is new in Macro Studio 15.2.1" in page
    assert cast.contract in page
    assert "Pause from the tray" in page
    assert "Shipped in 15.2.1" in page
    assert "Nobody else voted for this" not in page
    assert cast.alice in page
    assert cast.carol not in page


@pytest.mark.usefixtures("world")
def test_the_newest_beta_is_one_press_away_once_its_terms_are_accepted(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.alice)
    assert 'href="/beta/macro-studio/15.3b2/download/studio.msi"' in text(client)
    with app.app_context():
        publish_terms("Use it on test machines.", NOW)
    page = text(client)
    assert "Accept the terms to download" in page
    assert "/download/studio.msi" not in page


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(("name", "said"), [("dave", "Your contract has ended."), ("erin", "no priority-support contract")])
def test_whoever_is_not_entitled_reads_why_and_nothing_of_a_beta(cast: Cast, sign_in: SignIn, name: str, said: str) -> None:
    page = text(sign_in(getattr(cast, name)))
    assert said in page
    assert "15.3" not in page
    assert "What is new in Macro Studio 15.2.1" in page


@pytest.mark.usefixtures("world")
def test_suspending_the_contract_takes_the_beta_off_the_very_next_page(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.alice)
    assert "15.3 beta" in text(client)
    with app.app_context(), transaction():
        contracts.suspend(find_contract(cast.contract), actor=None, now=NOW)
    page = text(client)
    assert "15.3 beta" not in page
    assert "Your contract is suspended." in page


def test_a_cancelled_contract_promises_nothing_that_only_a_new_one_can_bring(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context(), transaction():
        contracts.cancel(find_contract(cast.contract), actor=None, now=NOW)
    page = text(sign_in(cast.alice))
    assert "Your contract was cancelled." in page
    assert "Betas and votes come with a new contract." in page
    assert "runs again" not in page
    assert ">Replace</a>" not in page


def test_a_beta_whose_final_is_out_gives_way_to_it(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        publish_release("15.3b2", Channel.BETA, YESTERDAY)
        publish_release("15.3.0", Channel.STABLE, YESTERDAY)
    page = text(sign_in(cast.alice))
    assert "No beta right now." in page
    assert "15.3.0" in page


def test_a_beta_that_no_longer_runs_is_not_offered(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        publish_release("15.3b2", Channel.BETA, YESTERDAY, expires_on=NOW.date() + timedelta(days=5))
    assert "Download 15.3 beta\u00a02" in text(sign_in(cast.alice))
    with time_machine.travel(NOW + timedelta(days=6), tick=True):
        page = text(sign_in(cast.alice))
    assert "15.3 beta" not in page
    assert "No beta right now." in page


def test_a_contract_on_its_last_day_ends_today(cast: Cast, sign_in: SignIn) -> None:
    with time_machine.travel(datetime(2027, 9, 24, 9, tzinfo=UTC), tick=True):
        page = text(sign_in(cast.alice))
    assert page.count("Ends today") == 2
    assert "0 days" not in page


def test_a_running_contract_speaks_before_one_that_has_ended(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context(), transaction():
        mill = find_contract(cast.lapsed_contract).organization
        new = contracts.create_contract(
            "NW-2500", mill, find_product(cast.product), NOW.date(), time_zone="Europe/Berlin", actor=None, now=NOW
        )
        contacts.name_contact(new, name="Dave", email=cast.dave, actor=None, now=NOW, invite=False)
    page = text(sign_in(cast.dave))
    assert "Suggest a feature" in page


def test_somebody_replaced_reads_that_the_seat_is_gone(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context(), transaction():
        seat = contacts.live_contacts(find_contract(cast.contract).id)[0]
        contacts.release_contact(seat, actor=None, now=NOW)
    page = text(sign_in(cast.alice))
    assert "You no longer hold a seat of the contract." in page
    assert "can name you again" in page


@pytest.mark.parametrize("name", ["dave", "erin"])
def test_notices_that_nobody_would_send_are_not_called_on(cast: Cast, sign_in: SignIn, name: str) -> None:
    page = text(sign_in(getattr(cast, name)))
    assert "Always on" in page
    assert "New beta builds" not in page


def test_strangers_are_led_to_sign_in_and_read_of_the_latest_release_there(app: Flask, cast: Cast, client: FlaskClient) -> None:
    with app.app_context():
        publish_release("15.2.1", Channel.STABLE, YESTERDAY)
        publish_release("15.3b2", Channel.BETA, YESTERDAY)
    page = text(client)
    assert "Macro Studio 15.2.1" in page
    assert "15.3" not in page


@pytest.mark.parametrize(
    ("name", "seen", "unseen"),
    [
        ("paula", ["Make a release", "Drafts"], ["Contracts ending", "Invitations not taken"]),
        ("petra", ["Open the inbox", "Unread feedback"], ["Make a release", "Contracts ending"]),
        ("anton", ["Contracts ending", "Invitations not taken"], ["Make a release", "Drafts</h2>"]),
        ("ada", ["Make a release", "Contracts ending", "Products</a>"], []),
    ],
)
def test_staff_see_what_waits_for_their_role(cast: Cast, sign_in: SignIn, name: str, seen: list[str], unseen: list[str]) -> None:
    page = text(sign_in(getattr(cast, name)))
    for words in seen:
        assert words in page
    for words in unseen:
        assert words not in page


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_home_pages_run_no_more_statements_when_there_is_more_to_show(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    clients = [sign_in(cast.alice), sign_in(cast.ada)]
    before = [count_statements(app, client) for client in clients]
    with app.app_context():
        for number in range(12):
            vote(cast.alice, write(cast.carol, f"Idea {number}", now=YESTERDAY))
            publish_release(f"15.1.{number}", Channel.STABLE, YESTERDAY)
    assert [count_statements(app, client) for client in clients] == before
    assert before[0] <= 14


def count_statements(app: Flask, client: FlaskClient) -> int:
    text(client)
    with statements(app) as seen:
        text(client, "/")
    return len(seen)
