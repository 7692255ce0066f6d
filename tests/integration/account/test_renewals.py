"""Asking for the next term: once for each end, from ninety days before it on, until the contract is renewed."""

import threading
from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from portal.account import contracts, directory, renewals
from portal.account.models import RenewalRequest
from portal.audit import AuditEvent
from portal.config import Settings, current_settings
from portal.config_addresses import ConfigurationError
from portal.database import db, transaction
from portal.errors import Conflict
from portal.notices import kinds, rendering
from portal.notices.models import Delivery, Notice
from tests.builds import find_contract, find_user
from tests.cast import Cast
from tests.conftest import NOW, SECRET

pytestmark = pytest.mark.usefixtures("app_context")

# The contract of alice and bob runs from 25 September 2026 to that day.
LAST_DAY = date(2027, 9, 24)


def before(days: int) -> datetime:
    day = LAST_DAY - timedelta(days=days)
    return datetime(day.year, day.month, day.day, 9, tzinfo=UTC)


def ask(address: str, now: datetime, number: str = "NW-2041") -> bool:
    with transaction():
        return renewals.ask(find_contract(number), actor=find_user(address), now=now)


def asked() -> list[str]:
    """The numbers in the staff's list of contracts that somebody asked to renew."""
    return [row.contract.number for row in directory.contracts_page(directory.Wanted(asked=True), None, NOW).rows]


def mails() -> list[str]:
    return list(
        db.session.scalars(sa.select(Delivery.address).join(Notice).where(Notice.kind == renewals.ASKED).order_by(Delivery.address))
    )


def pending() -> tuple[Notice, kinds.Due]:
    delivery = db.session.scalars(sa.select(Delivery).join(Notice).where(Notice.kind == renewals.ASKED)).one()
    return delivery.notice, rendering.due_of(delivery)


def test_the_account_managers_are_mailed_once_whoever_presses_how_often(cast: Cast) -> None:
    assert [ask(cast.alice, before(10)), ask(cast.alice, before(10)), ask(cast.bob, before(9))] == [True, False, False]
    assert mails() == [cast.anton]
    assert asked() == [cast.contract]
    assert renewals.count_open() == 1
    request = renewals.open_requests([find_contract(cast.contract).id])[find_contract(cast.contract).id]
    assert (request.asked_by.email, request.asked_at, request.term_ends_on) == (cast.alice, before(10), LAST_DAY)
    events = db.session.scalars(sa.select(AuditEvent).where(AuditEvent.action == "contract.renewal_asked")).all()
    assert [event.details for event in events] == [{"ends_on": LAST_DAY.isoformat()}]


def test_a_renewal_answers_it_and_the_next_end_can_be_asked_about(cast: Cast) -> None:
    ask(cast.alice, before(10))
    notice, due = pending()
    assert kinds.find(renewals.ASKED).check(notice, [due], before(10)) == {}
    with transaction():
        contracts.renew(find_contract(cast.contract), actor=None, now=before(9))
    assert kinds.find(renewals.ASKED).check(notice, [due], before(9)) == {due.id: renewals.ANSWERED}
    assert (asked(), renewals.count_open()) == ([], 0)
    with pytest.raises(Conflict):
        ask(cast.alice, before(8))
    assert ask(cast.alice, before(8) + timedelta(days=366))
    assert asked() == [cast.contract]


def test_a_cancelled_contract_waits_for_no_renewal(cast: Cast) -> None:
    ask(cast.alice, before(10))
    with transaction():
        contracts.cancel(find_contract(cast.contract), actor=None, now=before(9))
    assert asked() == []


@pytest.mark.parametrize(("days", "may"), [(91, False), (90, True), (1, True), (0, True), (-1, True), (-1000, True)])
def test_it_is_offered_from_ninety_days_before_the_end_and_ever_after(cast: Cast, days: int, may: bool) -> None:
    contract = find_contract(cast.contract)
    at = contracts.standing(contract, before(days))
    assert renewals.outlook(contract, at, before(days)).offered is may
    if may:
        assert ask(cast.alice, before(days))
    else:
        with pytest.raises(Conflict):
            ask(cast.alice, before(days))
        assert mails() == []


@pytest.mark.parametrize("act", [contracts.suspend, contracts.cancel])
def test_nothing_is_asked_of_a_suspended_or_cancelled_contract(cast: Cast, act: object) -> None:
    with transaction():
        assert callable(act)
        act(find_contract(cast.contract), actor=None, now=before(20))
    with pytest.raises(Conflict):
        ask(cast.alice, before(10))


def test_many_at_once_make_one_request_and_one_mail(app: Flask, cast: Cast) -> None:
    together = threading.Barrier(6)
    new: list[bool] = []

    def press(address: str) -> None:
        with app.app_context():
            together.wait()
            new.append(ask(address, before(10)))
            db.session.remove()

    threads = [threading.Thread(target=press, args=(address,)) for address in (cast.alice, cast.bob) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(new) == [False] * 5 + [True]
    assert db.session.scalar(sa.select(sa.func.count()).select_from(RenewalRequest)) == 1
    assert mails() == [cast.anton]


@pytest.mark.parametrize(
    ("number", "word", "coming"), [("NW-2041", "ends", "25 September 2027"), ("NW-1999", "ended", "14 September 2027")]
)
def test_the_mail_says_who_asked_for_what(cast: Cast, number: str, word: str, coming: str) -> None:
    ask(cast.alice, before(10), number)
    made = rendering.Renderer(pending()[0], current_settings()).texts(pending()[1], before(10))
    assert made.subject.endswith(f" asks to renew contract {number}")
    for part in (" ".join(made.text.split()), " ".join(made.html.split())):
        for fact in ("Alice Example", cast.alice, f" {word} on ", f"the next term runs from {coming}", f"/staff/contracts/{number}/"):
            assert fact in part, fact


def test_a_shop_link_names_the_contract(cast: Cast) -> None:
    def shop(url: str) -> str:
        return Settings(secret_key=SECRET, renewal_url=url).check().renewal_url_of("NW-2041")

    assert shop("") == ""
    assert shop("https://shop.example.org/renew?contract={contract}") == "https://shop.example.org/renew?contract=NW-2041"
    assert shop("https://shop.example.org/") == "https://shop.example.org/"
    for bad in ("shop.example.org", "javascript:alert(1)", "https://", "https://shop.example.org/{number}", "https://[/", "https://a b"):
        with pytest.raises(ConfigurationError, match="RENEWAL_URL"):
            shop(bad)
