"""Who was entitled on a day gone by: what the record says afterwards is what was decided at the time."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.account import contacts, contracts, past
from portal.account.entitlements import Benefit, Reason, decide
from portal.account.models import Contact, Contract
from portal.clock import civil_date
from portal.database import db, transaction
from portal.errors import Conflict, Invalid
from tests.builds import find_contract, find_seat, find_user
from tests.cast import Cast
from tests.conftest import NOW

pytestmark = pytest.mark.usefixtures("app_context")
BERLIN = "Europe/Berlin"


def on(number: str, day: date) -> dict[str, str]:
    """What the record says of each holder of a seat on a day, in words."""
    contract = find_contract(number)
    seen = past.on_day(contract, day)
    return {holder.contact.user.email: past.describe(holder, seen, contract.time_zone) for holder in seen.holders}


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """An instant in December 2026, by the clock of Berlin."""
    return datetime(2026, 12, day, hour - 1, minute, tzinfo=UTC)


def test_a_replaced_contact_and_the_successor_share_the_day(cast: Cast) -> None:
    with transaction():
        contacts.replace_contact(find_seat(cast.alice), name="Nina", email="nina@logistics.example.org", actor=None, now=at(3, 8, 58))
    assert on(cast.contract, date(2026, 12, 2)) == {cast.alice: "entitled", cast.bob: "entitled"}
    assert on(cast.contract, date(2026, 12, 3)) == {
        cast.alice: "entitled until 08:58", cast.bob: "entitled", "nina@logistics.example.org": "entitled from 08:58",
    }  # fmt: skip
    assert on(cast.contract, date(2026, 12, 4)) == {cast.bob: "entitled", "nina@logistics.example.org": "entitled"}


def test_suspensions_that_are_over_are_remembered(cast: Cast) -> None:
    for begin, end in ((at(3, 9), at(3, 11)), (at(3, 12), at(5, 10))):
        with transaction():
            contracts.suspend(find_contract(cast.contract), actor=None, now=begin)
        with transaction():
            contracts.resume(find_contract(cast.contract), actor=None, now=end)
    assert on(cast.contract, date(2026, 12, 3))[cast.bob] == "entitled until 09:00, from 11:00 to 12:00"
    assert on(cast.contract, date(2026, 12, 4))[cast.bob] == "not entitled: the contract was suspended"
    assert on(cast.contract, date(2026, 12, 5))[cast.bob] == "entitled from 10:00"
    with transaction():
        contracts.suspend(find_contract(cast.contract), actor=None, now=at(7, 9))
    assert on(cast.contract, date(2026, 12, 7))[cast.bob] == "entitled until 09:00"
    assert on(cast.contract, date(2027, 6, 1))[cast.bob] == "not entitled: the contract was suspended"


def test_terms_and_the_cancellation_end_it(cast: Cast) -> None:
    contract = find_contract(cast.contract)
    first, last = contract.terms[0].starts_on, contract.terms[-1].ends_on
    assert on(cast.contract, first - timedelta(days=1)) == {}  # nobody was named yet
    assert on(cast.contract, last)[cast.alice] == "entitled"
    assert on(cast.contract, last + timedelta(days=1))[cast.alice] == "not entitled: the contract had ended"
    with transaction():
        contracts.cancel(find_contract(cast.contract), actor=None, now=at(9, 15, 30))
    assert on(cast.contract, date(2026, 12, 9))[cast.alice] == "entitled until 15:30"
    assert on(cast.contract, date(2026, 12, 10))[cast.alice] == "not entitled: the contract was cancelled"


@pytest.mark.parametrize("day", [date.min, date(1800, 1, 1), date(2200, 1, 1), date.max])
def test_a_day_out_of_reach_is_refused(cast: Cast, day: date) -> None:
    with pytest.raises(Invalid):
        past.on_day(find_contract(cast.contract), day)


def test_a_clock_that_was_put_back_leaves_a_record_in_order(cast: Cast) -> None:
    """Two hours back: a seat ends no earlier than it began, and so does a suspension."""
    back = NOW - timedelta(hours=2)
    with transaction():
        named = contacts.name_contact(find_contract(cast.other_contract), name="Nina", email="nina@foods.example.org", actor=None, now=NOW)
        contracts.suspend(find_contract(cast.other_contract), actor=None, now=NOW)
        contracts.resume(find_contract(cast.other_contract), actor=None, now=back)
        contacts.release_contact(named, actor=None, now=back)
    assert named.released_at == named.named_at
    assert on(cast.other_contract, NOW.date()) == {cast.carol: "entitled from 10:00"}
    assert decide(find_user(cast.carol), Benefit.BETAS, find_contract(cast.other_contract).product, back).allowed


ACTS: dict[str, Callable[[Contract, datetime, int], object]] = {
    "suspend": lambda contract, now, number: contracts.suspend(contract, actor=None, now=now),
    "resume": lambda contract, now, number: contracts.resume(contract, actor=None, now=now),
    "renew": lambda contract, now, number: contracts.renew(contract, actor=None, now=now),
    "cancel": lambda contract, now, number: contracts.cancel(contract, actor=None, now=now),
    "replace": lambda contract, now, number: contacts.replace_contact(
        contacts.live_contacts(contract.id)[0], name="N", email=f"n{number}@logistics.example.org", actor=None, now=now
    ),
    "release": lambda contract, now, number: contacts.release_contact(contacts.live_contacts(contract.id)[-1], actor=None, now=now),
    "name": lambda contract, now, number: contacts.name_contact(
        contract, name="M", email=f"m{number}@logistics.example.org", actor=None, now=now
    ),
    "wait": lambda contract, now, number: None,
}  # fmt: skip
# Hours until the next act: mostly within the day, sometimes months, so that terms end, too.
steps = st.lists(st.tuples(st.sampled_from([1, 5, 11, 24, 30, 24 * 90, 24 * 200]), st.sampled_from(sorted(ACTS))), min_size=1, max_size=8)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps, zone=st.sampled_from([BERLIN, "America/New_York", "Pacific/Kiritimati"]))
def test_the_record_says_what_was_decided_at_the_time(cast: Cast, steps: list[tuple[int, str]], zone: str) -> None:
    """Acts at random times, and at each of them everybody is asked: `decide` then, the record afterwards."""
    try:
        contract, now = find_contract(cast.contract), NOW
        contract.time_zone = zone
        asked: list[tuple[datetime, str, bool]] = []
        for number, (hours, act) in enumerate(steps):
            now += timedelta(hours=hours)
            with db.session.begin_nested() as point:
                try:
                    ACTS[act](contract, now, number)
                except (Conflict, IndexError):
                    point.rollback()
            moment = now + timedelta(minutes=10)
            for seat in contracts_people(contract):
                asked.append((moment, seat, decide(find_user(seat), Benefit.BETAS, contract.product, moment).allowed))
        for moment, email, allowed in asked:
            seen = past.on_day(contract, civil_date(moment, zone))
            holders = [holder for holder in seen.holders if holder.contact.user.email == email]
            assert any(begin <= moment < end for holder in holders for begin, end in holder.spans) == allowed
            assert all((not holder.spans) == (holder.reason in set(Reason)) for holder in holders)
    finally:
        db.session.rollback()


def contracts_people(contract: Contract) -> list[str]:
    """Everybody who ever held a seat of the contract."""
    rows = db.session.query(Contact).filter_by(contract_id=contract.id)
    return sorted({contact.user.email for contact in rows})
