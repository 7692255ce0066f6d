"""The staff's page of addresses that no mail goes to."""

from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from portal.account.models import User
from portal.audit import AuditEvent
from portal.database import db, transaction
from portal.notices import outbox, suppression
from portal.notices.models import Delivery, Suppression, SuppressionCause
from tests.cast import Cast
from tests.conftest import NOW, csrf_token
from tests.statements import statements

SignIn = Callable[[str], FlaskClient]
PAGE = "/staff/notices/suppressed/"


@pytest.fixture
def notice_id(app: Flask, cast: Cast) -> int:
    """A notice whose mail to alice came back, so that her address is suppressed."""
    with app.app_context(), transaction() as session:
        audience = sa.select(User.id, User.email, User.name).where(User.email == cast.alice)
        notice = outbox.enqueue("release", audience, context={"release_id": 1, "title": "Macro Studio 15.2.1"}, now=NOW)
        delivery = session.query(Delivery).one()
        suppression.add(cast.alice, "550 5.1.1 <no> such user", cause=SuppressionCause.RETURNED, delivery_id=delivery.id, now=NOW)
        return notice.id


def events(app: Flask, action: str) -> list[AuditEvent]:
    with app.app_context():
        return list(db.session.scalars(sa.select(AuditEvent).where(AuditEvent.action == action)))


def suppressed(app: Flask) -> set[str]:
    with app.app_context():
        return set(db.session.scalars(sa.select(Suppression.address)))


@pytest.mark.parametrize("path", ["", "new", "1/lift"])
def test_publishers_and_account_managers_see_it_and_nobody_else(
    sign_in: SignIn, notice_id: int, cast: Cast, client: FlaskClient, path: str
) -> None:
    allowed = {cast.paula: 200, cast.anton: 200, cast.ada: 200, cast.petra: 404, cast.alice: 404, cast.erin: 404}
    assert {person: sign_in(person).get(PAGE + path).status_code for person in allowed} == allowed
    assert client.get(PAGE + path).status_code == 302


def test_it_says_which_address_why_since_when_and_for_which_notice(sign_in: SignIn, notice_id: int, cast: Cast) -> None:
    page = sign_in(cast.paula).get(PAGE).text
    for words in (cast.alice, "Mail came back", "550 5.1.1 &lt;no&gt; such user", "24 November 2026", "Macro Studio 15.2.1"):
        assert words in page
    assert f'href="/staff/notices/{notice_id}/"' in page
    assert 'href="/staff/notices/suppressed/"' in sign_in(cast.paula).get("/staff/notices/").text


def test_account_managers_get_no_links_to_pages_that_are_not_theirs(sign_in: SignIn, notice_id: int, cast: Cast) -> None:
    page = sign_in(cast.anton).get(PAGE).text
    assert "Macro Studio 15.2.1" in page
    assert f'href="/staff/notices/{notice_id}/"' not in page
    assert 'href="/staff/notices/"' not in page
    assert 'href="/staff/customers/"' in page


def test_mail_goes_there_again_after_a_confirmation(app: Flask, sign_in: SignIn, notice_id: int, cast: Cast) -> None:
    client = sign_in(cast.anton)
    asked = client.get(f"{PAGE}1/lift").text
    assert "550 5.1.1 &lt;no&gt; such user" in asked
    assert suppressed(app) == {cast.alice}
    answer = client.post(f"{PAGE}1/lift", data={"csrf_token": csrf_token(asked)}, follow_redirects=True)
    assert f"Mail goes to {cast.alice} again." in answer.text
    assert "No address is suppressed." in answer.text
    assert suppressed(app) == set()
    (event,) = events(app, "address.suppression_lifted")
    assert (event.actor, event.details["address"]) == ("Anton Example", cast.alice)
    again = client.post(f"{PAGE}1/lift", data={"csrf_token": csrf_token(asked)}, follow_redirects=True)
    assert client.get(f"{PAGE}1/lift").status_code == 404
    assert "not suppressed, or not any more" in again.text


def test_an_address_is_suppressed_by_hand_with_a_reason(app: Flask, sign_in: SignIn, cast: Cast) -> None:
    client = sign_in(cast.paula)
    token = csrf_token(client.get(f"{PAGE}new").text)
    typed = {"csrf_token": token, "address": f" {cast.bob.upper()} ", "reason": "Wrote <that> he wants no mail"}
    answer = client.post(f"{PAGE}new", data=typed, follow_redirects=True)
    assert f"No more mail goes to {cast.bob}." in answer.text
    assert "Wrote &lt;that&gt; he wants no mail" in answer.text
    assert "By hand" in answer.text
    assert suppressed(app) == {cast.bob}
    assert [event.actor for event in events(app, "address.suppressed")] == ["Paula Example"]
    twice = client.post(f"{PAGE}new", data=typed)
    assert (twice.status_code, "already" in twice.text) == (400, True)


@pytest.mark.parametrize(
    ("address", "reason", "said"),
    [
        ("", "why not", "Enter the address."),
        ("nonsense", "why not", "no email address"),
        ("a@example.org\r\nBcc: b@example.org", "why not", "control characters"),
        ("a@example.org, b@example.org", "why not", "no email address"),
        ("a@example.org", "", "Say why."),
        ("a@example.org", "two\nlines", "control characters"),
        ("a@example.org", "x" * 201, "200 is the most"),
    ],
)
def test_bad_input_is_refused_and_kept_in_the_form(app: Flask, sign_in: SignIn, cast: Cast, address: str, reason: str, said: str) -> None:
    client = sign_in(cast.paula)
    token = csrf_token(client.get(f"{PAGE}new").text)
    answer = client.post(f"{PAGE}new", data={"csrf_token": token, "address": address, "reason": reason})
    assert answer.status_code == 400
    assert said in answer.text
    assert (reason or address).partition("\n")[0] in answer.text
    assert suppressed(app) == set()


def test_without_a_token_nothing_happens(app: Flask, sign_in: SignIn, notice_id: int, cast: Cast) -> None:
    client = sign_in(cast.paula)
    assert client.post(f"{PAGE}1/lift").status_code == 400
    assert client.post(f"{PAGE}new", data={"address": cast.bob, "reason": "x"}).status_code == 400
    assert suppressed(app) == {cast.alice}


def test_addresses_are_searched_and_paged_at_the_same_cost(app: Flask, sign_in: SignIn, notice_id: int, cast: Cast) -> None:
    client = sign_in(cast.paula)
    with statements(app) as few:
        client.get(PAGE)
    with app.app_context(), transaction():
        for number in range(suppression.PAGE + 5):
            suppression.add(f"person{number}@example.org", "550", now=NOW)
    with statements(app) as many:
        page = client.get(PAGE).text
    assert len(few) == len(many)
    assert page.count('scope="row"') == suppression.PAGE
    assert cast.alice not in page
    older = page.partition("before=")[2].partition('"')[0]
    assert cast.alice in client.get(f"{PAGE}?before={older}").text
    found = client.get(f"{PAGE}?q=LOGISTICS").text
    assert (cast.alice in found, found.count('scope="row"')) == (True, 1)
    assert "No suppressed address matches" in client.get(f"{PAGE}?q=100%").text
    for nonsense in ("before=x", "before=99999999999999999999", "q=%00", "before=²"):
        assert client.get(f"{PAGE}?{nonsense}").status_code == 200
    assert client.get(f"{PAGE}99999999999999999999/lift").status_code == 404


def test_account_managers_see_it_beside_the_person(app: Flask, sign_in: SignIn, notice_id: int, cast: Cast) -> None:
    client = sign_in(cast.anton)
    contract = client.get(f"/staff/contracts/{cast.contract}/").text
    customers = client.get("/staff/customers/").text
    for page in (contract, customers):
        assert page.count("No mail goes there") == 1
        assert f"{PAGE}?q=alice%40logistics.example.org" in page or f"{PAGE}?q=alice@logistics.example.org" in page
    with statements(app) as one:
        client.get("/staff/customers/")
    with app.app_context(), transaction():
        suppression.add(cast.bob, "550", now=NOW)
        suppression.add(cast.erin, "550", now=NOW)
    with statements(app) as three:
        page = client.get("/staff/customers/").text
    assert len(one) == len(three)
    assert page.count("No mail goes there") == 3


@pytest.fixture(autouse=True)
def no_leftover_connections(app: Flask) -> Iterator[None]:
    yield
    with app.app_context():
        db.session.remove()
