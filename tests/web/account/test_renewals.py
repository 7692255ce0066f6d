"""The end of a term on pages: what stays and what goes, asking for the next term, and what the staff see of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import pytest
from flask import Flask

from portal import clock
from portal.account import contracts
from portal.app import create_app
from portal.database import db, transaction
from tests.builds import find_contract
from tests.cast import Cast
from tests.conftest import NOW, csrf_token, make_settings
from tests.statements import statements
from tests.web.account.pages import SignIn, mails, send, text_of, try_password

TODAY = NOW.date()


def end_on(app: Flask, number: str, ends_on: date) -> None:
    """Let the contract's only term be the year that ends on this day."""
    with app.app_context():
        with transaction():
            term = find_contract(number).terms[0]
            term.starts_on, term.ends_on = ends_on - timedelta(days=364), ends_on
        db.session.remove()


@contextmanager
def changed(app: Flask) -> Iterator[None]:
    with app.app_context():
        with transaction():
            yield
        db.session.remove()


def test_the_lapsed_read_what_stays_what_goes_and_ask_for_renewal_once(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    dave = sign_in(cast.dave)
    home = dave.get("/")
    assert "What stays, what goes, and how to renew" in text_of(home)
    assert "/account/contracts/NW-1999/#renewal" in home.text
    page = text_of(dave.get("/account/contracts/NW-1999/"))
    for fact in (
        "The contract has ended",
        "What stays",
        "Stable releases and their notes",
        "What is gone until you renew",
        "Betas, and the",
    ):
        assert fact in page
    assert "A renewal made today runs from 24 November 2026 to 23 November 2027" in page
    answer = send(dave, "/account/contracts/NW-1999/renewal", "/account/contracts/NW-1999/")
    assert answer.location == "/account/contracts/NW-1999/"
    asked = dave.get("/account/contracts/NW-1999/")
    assert "Your account manager is asked to renew the contract" in asked.text
    assert "You asked for renewal on 24 November 2026" in text_of(asked)
    assert "It is on its way" in text_of(asked)
    assert 'action="/account/contracts/NW-1999/renewal"' not in asked.text
    again = dave.post("/account/contracts/NW-1999/renewal", data={"csrf_token": csrf_token(asked.text)}, follow_redirects=True)
    assert "It is on its way" in again.text
    assert mails(app) == [("renewal_asked", cast.anton)]


def test_both_contacts_can_ask_in_the_last_ninety_days_and_one_request_is_enough(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    end_on(app, cast.contract, TODAY + timedelta(days=91))
    alice, bob = sign_in(cast.alice), sign_in(cast.bob)
    page = alice.get("/account/contracts/NW-2041/")
    assert "It does not renew by itself" in text_of(page)
    assert "Ask for renewal<" not in page.text
    assert "#renewal" not in alice.get("/").text
    end_on(app, cast.contract, TODAY + timedelta(days=90))
    assert "/account/contracts/NW-2041/#renewal" in alice.get("/").text
    assert "Ask for renewal" in text_of(alice.get("/account/contracts/NW-2041/"))
    send(alice, "/account/contracts/NW-2041/renewal", "/account/contracts/NW-2041/")
    assert "Alice Example asked for renewal" in text_of(bob.get("/account/contracts/NW-2041/"))


def test_too_early_suspended_and_renewed_contracts_are_refused_with_the_reason(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    answer = send(alice, "/account/contracts/NW-2041/renewal", "/account/contracts/NW-2041/")
    assert answer.status_code == 409
    assert "cannot be renewed from here now" in text_of(answer)
    end_on(app, cast.contract, TODAY + timedelta(days=20))
    with changed(app):
        contracts.suspend(find_contract(cast.contract), actor=None, now=clock.now())
    page = alice.get("/account/contracts/NW-2041/")
    assert "Write to us" in text_of(page)
    assert "Ask for renewal<" not in page.text
    assert mails(app) == []


@pytest.mark.parametrize("who", ["alice", "erin", "anton", "paula", None])
def test_nobody_but_a_contact_of_the_contract_can_ask(app: Flask, cast: Cast, sign_in: SignIn, who: str | None) -> None:
    client = sign_in(getattr(cast, who)) if who else app.test_client()
    token = csrf_token(client.get("/account/" if who else "/sign-in").text)
    answer = client.post("/account/contracts/NW-1999/renewal", data={"csrf_token": token})
    assert answer.status_code == (404 if who else 302)
    assert who or answer.location.startswith("/sign-in")
    assert mails(app) == []


def test_a_request_without_its_token_is_refused(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    assert sign_in(cast.dave).post("/account/contracts/NW-1999/renewal").status_code == 400
    assert mails(app) == []


def test_staff_see_who_asked_until_it_is_renewed(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    dave, anton = sign_in(cast.dave), sign_in(cast.anton)
    assert "Nobody waits for a renewal" in text_of(anton.get("/staff/contracts/?show=asked"))
    send(dave, "/account/contracts/NW-1999/renewal", "/account/contracts/NW-1999/")
    every, only = text_of(anton.get("/staff/contracts/")), text_of(anton.get("/staff/contracts/?show=asked"))
    assert "Asked to renew 1" in every
    assert "NW-2041" in every
    assert "NW-1999" in only
    assert "NW-2041" not in only
    assert "No contract matches" in text_of(anton.get("/staff/contracts/?show=asked&q=foods"))
    page = text_of(anton.get("/staff/contracts/NW-1999/"))
    assert "Asked to renew. Dave Example" in page
    assert cast.dave in page
    assert "Renewal was asked for" in page
    with changed(app):
        contracts.renew(find_contract(cast.lapsed_contract), actor=None, now=clock.now())
    assert "Asked to renew." not in text_of(anton.get("/staff/contracts/NW-1999/"))
    assert "NW-1999" not in text_of(anton.get("/staff/contracts/?show=asked"))
    assert "asked for renewal" not in text_of(dave.get("/account/contracts/NW-1999/"))


def test_the_list_of_requests_costs_as_many_statements_as_the_whole_list(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    dave, anton = sign_in(cast.dave), sign_in(cast.anton)
    send(dave, "/account/contracts/NW-1999/renewal", "/account/contracts/NW-1999/")
    counts = []
    for url in ("/staff/contracts/", "/staff/contracts/?show=asked"):
        with statements(app) as seen:
            assert anton.get(url).status_code == 200
        counts.append(len(seen))
    assert counts[0] == counts[1]


def test_where_there_is_a_shop_the_button_leads_there(cast: Cast, app: Flask, database_url: str, tmp_path: Path) -> None:
    shop = "https://shop.example.org/renew?contract={contract}&from=portal"
    with_shop = create_app(make_settings(tmp_path, database_url, renewal_url=shop))
    dave = with_shop.test_client()
    try_password(dave, cast.dave, "correct horse battery staple")
    page = dave.get("/account/contracts/NW-1999/")
    assert 'href="https://shop.example.org/renew?contract=NW-1999&amp;from=portal"' in page.text
    assert "/renewal" not in page.text.partition("<main")[2]
    with with_shop.app_context():
        db.session.remove()
        db.engine.dispose()
