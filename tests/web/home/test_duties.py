"""The staff's home page: each duty a link that the reader may follow to where it is resolved."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from portal import clock
from portal.account import contacts, directory, renewals
from portal.account.models import Contract, Term
from portal.database import db, transaction
from portal.home import duties
from portal.notices import suppression
from portal.notices.models import Delivery, DeliveryState
from portal.releases import builds, drafts, scheduling
from portal.releases.catalog import find_release
from portal.releases.models import Channel
from portal.storage import store
from tests import board
from tests.builds import CONTENT, find_contract, find_user, publish_release
from tests.cast import Cast
from tests.conftest import NOW
from tests.statements import statements

SignIn = Callable[[str], FlaskClient]
WEEK_AGO = NOW - timedelta(days=7)


@pytest.fixture
def world(app: Flask, cast: Cast) -> None:
    """One of each duty."""
    with app.app_context():
        board.write(cast.alice, "Pause a macro")
        publish_release("15.3b1", Channel.BETA, WEEK_AGO)
        with transaction() as session:
            ids = sa.select(Contract.id).where(Contract.number == cast.contract)
            ends_on = (NOW + timedelta(days=20)).date()
            session.execute(sa.update(Term).where(Term.contract_id.in_(ids)).values(ends_on=ends_on))
        with transaction():
            renewals.ask(find_contract(cast.contract), actor=find_user(cast.alice), now=clock.now())
            suppression.add(cast.bob, "550 no such user", now=clock.now())
            contacts.name_contact(
                find_contract(cast.other_contract), name="Nina Example", email="nina@foods.example.org", actor=None, now=WEEK_AGO
            )
            product = find_contract(cast.contract).product
            for version in ("15.3", "15.4"):
                drafts.create_release(product, version, Channel.STABLE, notes="New.", actor=None, now=WEEK_AGO)
        schedule(cast)
        with transaction() as session:
            newest = session.scalars(sa.select(Delivery.id).order_by(Delivery.id)).first()
            values = {"state": DeliveryState.FAILED, "next_attempt_at": None, "settled_at": NOW}
            session.execute(sa.update(Delivery).where(Delivery.id == newest).values(values))
        db.session.remove()


def schedule(cast: Cast) -> None:
    with transaction():
        release = find_release(cast.product, "15.4")
        stored = store().write([CONTENT], len(CONTENT))
        builds.add_build(release.id, "studio.msi", stored, actor=None, now=WEEK_AGO)
        scheduling.schedule(release.id, NOW + timedelta(days=1), actor=find_user(cast.paula), now=clock.now())


def links(page: str) -> set[str]:
    main = page.partition("<main")[2].partition("</main>")[0]
    return {link.replace("&amp;", "&") for link in re.findall(r'href="(/[^"#]*)', main)}


@pytest.mark.usefixtures("world")
def test_each_duty_leads_to_the_act_that_resolves_it(cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.ada)
    page = client.get("/staff/").get_data(as_text=True)
    found = links(page)
    for url in (
        f"/staff/contracts/{cast.contract}/renew",
        f"/staff/contracts/{cast.contract}/",
        f"/staff/contracts/{cast.other_contract}/",
        "/staff/contracts/NW-3001/contacts/new",
        f"/staff/notices/suppressed/?q={cast.bob}",
        "/staff/releases/macro-studio/15.3b1/adoption/nudge",
        "/staff/releases/macro-studio/15.3/",
        "/staff/releases/macro-studio/15.4/",
        "/staff/feedback/1/",
    ):
        assert url in found, url
    assert re.search(r"/staff/notices/\d+/", " ".join(found))


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("name", ["paula", "petra", "anton", "sue", "ada"])
def test_nobody_is_shown_a_link_that_would_not_let_them_in(cast: Cast, sign_in: SignIn, name: str) -> None:
    client = sign_in(getattr(cast, name))
    page = client.get("/staff/").get_data(as_text=True)
    assert page.count("<h2") >= 1
    closed = {url for url in links(page) if client.get(url, follow_redirects=True).status_code != 200}
    assert closed == set()


@pytest.mark.usefixtures("world")
def test_support_looks_up_and_is_shown_no_button_that_changes_anything(cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.sue)
    pages = ["/staff/", "/staff/contracts/", f"/staff/contracts/{cast.contract}/", "/staff/customers/", "/staff/notices/suppressed/"]
    for url in pages:
        page = client.get(url).get_data(as_text=True)
        main = page.partition("<main")[2].partition("</main>")[0]
        assert 'method="post"' not in main, url
        closed = {link for link in links(page) if client.get(link, follow_redirects=True).status_code != 200}
        assert closed == set(), url


@pytest.mark.usefixtures("world")
def test_a_beta_is_a_duty_until_a_customer_takes_it(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.alice)
    with app.app_context():
        untried = duties.collect({"publisher"}, clock.now()).releasing
        assert untried is not None
        assert [release.version for release in untried.untried] == ["15.3b1"]
        db.session.remove()
    assert client.get("/beta/macro-studio/15.3b1/download/studio.msi").status_code == 200
    with app.app_context():
        tried = duties.collect({"publisher"}, clock.now()).releasing
        assert tried is not None
        assert tried.untried == []


def test_a_role_is_asked_only_for_what_it_resolves(app: Flask, cast: Cast) -> None:
    with app.app_context():
        for roles, parts in (
            ({"publisher"}, (True, False, False)),
            ({"product"}, (False, True, False)),
            ({"support"}, (False, False, True)),
            ({"accounts", "product"}, (False, True, True)),
            ({"admin"}, (True, True, True)),
        ):
            found = duties.collect(roles, NOW)
            assert tuple(part is not None for part in (found.releasing, found.feedback, found.accounts)) == parts


@pytest.mark.parametrize(("days", "ends"), [(60, True), (61, False)])
def test_a_contract_ends_soon_by_its_own_calendar_as_in_the_list(app: Flask, cast: Cast, days: int, ends: bool) -> None:
    """In the evening in UTC it is tomorrow already in Tokyo."""
    evening, tomorrow = NOW.replace(hour=20), NOW.date() + timedelta(days=1)
    with app.app_context():
        with transaction() as session:
            mine = sa.select(Contract.id).where(Contract.number == cast.contract)
            session.execute(sa.update(Contract).where(Contract.id.in_(mine)).values(time_zone="Asia/Tokyo"))
            session.execute(sa.update(Term).where(Term.contract_id.in_(mine)).values(ends_on=tomorrow + timedelta(days=days)))
        found = duties.collect({"accounts"}, evening).accounts
        assert found is not None
        shown = [(contract.number, left) for contract, left in found.ending.rows]
        listed = [row.contract.number for row in directory.contracts_page(directory.Wanted(ending_in=60), None, evening).rows]
        db.session.remove()
    assert ((cast.contract, days) in shown) == (cast.contract in listed) == ends


@pytest.mark.usefixtures("world")
def test_the_statements_do_not_grow_with_the_duties(app: Flask, cast: Cast) -> None:
    def count() -> int:
        with app.app_context(), statements(app) as run:
            duties.collect({"admin"}, clock.now())
            db.session.remove()
        return len(run)

    before = count()
    with app.app_context():
        for number in range(15):
            board.write(cast.carol, f"Idea {number}")
            with transaction():
                product = find_contract(cast.contract).product
                drafts.create_release(product, f"16.{number}", Channel.STABLE, notes="New.", actor=None, now=WEEK_AGO)
    assert count() == before
    assert before <= 22


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", ["paula", "petra", "anton", "sue", "ada"])
def test_every_link_on_the_pages_of_the_staff_lets_its_reader_in(cast: Cast, sign_in: SignIn, name: str) -> None:
    """From the home page on, each page that a role can reach is opened once, and none of its links is closed to that role."""
    client = sign_in(getattr(cast, name))
    waiting, seen, closed = ["/staff/"], {"/staff/"}, set()
    while waiting:
        url = waiting.pop()
        answer = client.get(url, follow_redirects=True)
        if answer.status_code != 200:
            closed.add(f"{url}: {answer.status_code}")
        elif answer.mimetype == "text/html":
            page = answer.get_data(as_text=True)
            found = {link.replace("&amp;", "&") for link in re.findall(r'href="(/staff/[^"#]*)', page)}
            fresh = sorted(link for link in found - seen if shape(link) not in {shape(one) for one in seen} or "?" not in link)
            seen |= found
            waiting += fresh
    assert closed == set()
    assert len(seen) > 5


def shape(url: str) -> str:
    """An address without what it is asked for: one of each list is enough."""
    return url.partition("?")[0]
