"""The local time of a process or of the database says nothing: what counts is the contract's zone, on nights when clocks change, too."""

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa

from portal import tokens
from portal.account import access_tokens, contacts, contracts, invitations, past, reminders, sessions
from portal.account.entitlements import Benefit, decide, entitled
from portal.account.models import Contact, Contract, Invitation, TokenPurpose
from portal.config import current_settings
from portal.database import db, transaction
from portal.notices.models import Notice
from tests.builds import find_contract, find_seat, find_user
from tests.cast import Cast
from tests.conftest import NOW, SECRET

pytestmark = pytest.mark.usefixtures("app_context", "far_from_utc")
SECOND = timedelta(seconds=1)


def utc(year: int, month: int, day: int, hour: int) -> datetime:
    return datetime(year, month, day, hour, tzinfo=UTC)


@pytest.fixture(params=["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def far_from_utc(request: pytest.FixtureRequest, app_context: None) -> Iterator[None]:
    """A process a day ahead or behind of most, on a database that is five and a half hours ahead."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        if db.engine.dialect.name == "postgresql":
            name = db.session.scalar(sa.text("SELECT current_database()"))
            db.session.execute(sa.text(f"ALTER DATABASE \"{name}\" SET timezone TO 'Asia/Kolkata'"))
            db.session.commit()
            db.session.remove()
            db.engine.dispose()
        yield
    time.tzset()


def give_term(cast: Cast, zone: str, starts_on: date, ends_on: date) -> Contract:
    """Make the contract of alice and bob one of a single term."""
    with transaction():
        contract = find_contract(cast.contract)
        contract.time_zone, contract.terms[0].starts_on, contract.terms[0].ends_on = zone, starts_on, ends_on
    return contract


def is_entitled(cast: Cast, contract: Contract, now: datetime) -> bool:
    """What `decide` says, which is what its twin in SQL says."""
    alice = find_user(cast.alice)
    decision = decide(alice, Benefit.BETAS, contract.product, now).allowed
    assert decision == (alice.id in set(db.session.scalars(entitled(Benefit.BETAS, contract.product_id, now))))
    return decision


@pytest.mark.parametrize(
    ("zone", "day", "first", "after"),
    [
        ("Europe/Berlin", date(2027, 3, 28), utc(2027, 3, 27, 23), utc(2027, 3, 28, 22)),  # 23 hours
        ("Europe/Berlin", date(2027, 10, 31), utc(2027, 10, 30, 22), utc(2027, 10, 31, 23)),  # 25 hours
        ("America/New_York", date(2027, 11, 7), utc(2027, 11, 7, 4), utc(2027, 11, 8, 5)),
        ("America/Havana", date(2027, 11, 7), utc(2027, 11, 7, 4), utc(2027, 11, 8, 5)),  # midnight comes twice
        ("Asia/Beirut", date(2027, 3, 28), utc(2027, 3, 27, 22), utc(2027, 3, 28, 21)),  # midnight does not come at all
        ("Europe/Berlin", date(2028, 2, 29), utc(2028, 2, 28, 23), utc(2028, 2, 29, 23)),
    ],
)
def test_a_term_of_one_day_lasts_as_long_as_that_day(cast: Cast, zone: str, day: date, first: datetime, after: datetime) -> None:
    contract = give_term(cast, zone, day, day)
    asked = [first - SECOND, first, first + (after - first) / 2, after - SECOND, after]
    assert [is_entitled(cast, contract, now) for now in asked] == [False, True, True, True, False]
    assert past.bounds(day, zone) == (first, after)


def test_a_contract_from_the_29th_of_february_is_renewed_in_every_year(cast: Cast) -> None:
    with transaction():
        first = find_contract(cast.contract)
        contract = contracts.create_contract(
            "NW-2028", first.organization, first.product, date(2028, 2, 29), time_zone="Europe/Berlin", actor=None, now=NOW
        )
        contacts.name_contact(contract, name="Alice", email=cast.alice, actor=None, now=NOW)
    for year in range(2028, 2034):
        last = contract.terms[-1].ends_on
        assert last.year == year + 1
        midnight = datetime(last.year, last.month, last.day, 23, tzinfo=UTC)
        assert is_entitled(cast, contract, midnight - SECOND)
        assert not is_entitled(cast, contract, midnight)
        with transaction():
            contracts.renew(find_contract("NW-2028"), actor=None, now=midnight - timedelta(days=30))
        assert is_entitled(cast, contract, midnight)
    assert contract.terms[4].starts_on == date(2032, 2, 29)


def test_instants_come_back_as_they_were_written(cast: Cast) -> None:
    with transaction():
        named = contacts.name_contact(find_contract(cast.other_contract), name="N", email="n@foods.example.org", actor=None, now=NOW).id
    assert db.session.get_one(Contact, named).named_at == NOW
    contract = find_contract(cast.other_contract)
    seen = past.on_day(contract, NOW.date())
    assert [past.describe(holder, seen, contract.time_zone) for holder in seen.holders] == ["entitled from 10:00", "entitled from 10:00"]


def test_reminders_are_due_by_the_contracts_calendar(cast: Cast) -> None:
    """The step of thirty days begins at midnight where the contract is, wherever the worker is."""
    ends_on = date(2026, 12, 26)
    give_term(cast, "America/New_York", date(2025, 12, 27), ends_on)
    midnight = datetime(2026, 11, 26, 5, tzinfo=UTC)
    key = f"contract-{find_contract(cast.contract).id}-ends-{ends_on}-{{}}-contacts"
    for now, step in ((midnight - SECOND, 60), (midnight, 30)):
        with transaction():
            reminders.send_due(now)
        assert key.format(step) in set(db.session.scalars(sa.select(Notice.key)))
        assert (key.format(30) in set(db.session.scalars(sa.select(Notice.key)))) == (step == 30)


def test_a_clock_that_steps_back_two_hours_gives_no_second_answer(cast: Cast) -> None:
    """Over the midnight that ends a contract: it runs for those two hours again, is reminded of and renewed once, and ends for good."""
    day = date(2026, 12, 10)
    contract = give_term(cast, "Europe/Berlin", date(2025, 12, 11), day)
    midnight = datetime(2026, 12, 10, 23, tzinfo=UTC)
    back = midnight + timedelta(minutes=30) - timedelta(hours=2)
    with transaction():
        reminders.send_due(midnight - timedelta(minutes=1))
    made = db.session.scalar(sa.select(sa.func.count()).select_from(Notice))
    assert [is_entitled(cast, contract, now) for now in (midnight - SECOND, midnight, back, midnight)] == [True, False, True, False]
    with transaction():
        assert reminders.send_due(back) == 0
        contracts.renew(find_contract(cast.contract), actor=None, now=midnight + timedelta(minutes=30))
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Notice)) == made
    assert contracts.next_term(contract, back)[0] == date(2027, 12, 11)
    assert [is_entitled(cast, contract, now) for now in (back, midnight, midnight + timedelta(days=300))] == [True, True, True]


def test_what_was_made_before_a_clock_steps_back_two_hours_goes_on_working(cast: Cast) -> None:
    """Sessions, tokens and invitations of the last two hours: none is refused for being of the future."""
    back = NOW - timedelta(hours=2)
    with transaction():
        alice = find_user(cast.alice)
        cookie = sessions.begin(alice, device="laptop", now=NOW)
        token = access_tokens.create(find_seat(cast.alice).id, "curl", actor=alice, now=NOW)
        contacts.name_contact(find_contract(cast.other_contract), name="N", email="n@foods.example.org", actor=None, now=NOW)
    link = tokens.derive_token(SECRET, invitations.PURPOSE, db.session.scalars(sa.select(Invitation.nonce)).one())
    assert sessions.find(cookie, alice.fs_uniquifier, current_settings(), back) is not None
    assert access_tokens.authenticate(token, TokenPurpose.DOWNLOAD) is not None
    with transaction():
        access_tokens.touch(token, now=back)
        assert invitations.accept(link, password_hash="hash", name="N", now=back).email == "n@foods.example.org"
    assert is_entitled(cast, find_contract(cast.contract), back)
