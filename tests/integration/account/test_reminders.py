"""A contract's end is said in time, to both contacts and the vendor, each step once, by the calendar of the contract's zone."""

import threading
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask

from portal import clock
from portal.account import circles, contacts, contracts, people, reminders, renewals
from portal.account.models import Contract
from portal.config import current_settings
from portal.database import db, transaction
from portal.notices import kinds, rendering
from portal.notices.models import Delivery, Notice
from portal.products.models import Product, StableAccess
from tests.builds import find_contract, find_user
from tests.cast import Cast
from tests.conftest import NOW
from tests.statements import statements

pytestmark = pytest.mark.usefixtures("app_context")

# The contract of alice and bob runs from 25 September 2026.
LAST_DAY = date(2027, 9, 24)
STAFF = "contract_ending_staff"


def before(days: int, last_day: date = LAST_DAY) -> datetime:
    """The morning of the day that is so many days before the last one."""
    day = last_day - timedelta(days=days)
    return datetime(day.year, day.month, day.day, 9, tzinfo=UTC)


def send(now: datetime) -> int:
    with transaction():
        return reminders.send_due(now)


def reminded(contract: str = "NW-2041") -> list[tuple[int, str]]:
    """(step, address) of all reminders of a contract, in the order they were made."""
    rows = db.session.execute(
        sa.select(Notice.context, Delivery.address)
        .join(Delivery)
        .where(Notice.kind.in_([reminders.TO_CONTACTS, reminders.TO_STAFF]))
        .order_by(Notice.created_at, Notice.kind, Delivery.address)
    )
    number = find_contract(contract).id
    return [(context["days"], address) for context, address in rows if context["contract_id"] == number]


def sell(number: str, starts_on: date, ends_on: date | None, zone: str, *addresses: str) -> Contract:
    with transaction():
        buyer = contracts.find_or_create_organization(f"Buyer of {number}", actor=None, now=NOW)
        product = db.session.scalars(sa.select(Product).order_by(Product.id)).first()
        assert product is not None
        contract = contracts.create_contract(number, buyer, product, starts_on, ends_on=ends_on, time_zone=zone, actor=None, now=NOW)
        for address in addresses:
            contacts.name_contact(contract, name="Gwen", email=address, actor=None, now=NOW, invite=False)
    return contract


def pending(days: int, kind: str = reminders.TO_CONTACTS, contract: str = "NW-2041") -> tuple[Notice, list[kinds.Due]]:
    about = find_contract(contract).id
    notice = next(
        one
        for one in db.session.scalars(sa.select(Notice).where(Notice.kind == kind))
        if (one.context["contract_id"], one.context["days"]) == (about, days)
    )
    deliveries = db.session.scalars(sa.select(Delivery).where(Delivery.notice_id == notice.id).order_by(Delivery.address))
    return notice, [rendering.due_of(delivery) for delivery in deliveries]


def refused(days: int, now: datetime, kind: str = reminders.TO_CONTACTS) -> list[str]:
    """Why the reminder of a step is not sent at `now`, for each person it is not sent to."""
    notice, deliveries = pending(days, kind)
    return list(kinds.find(kind).check(notice, deliveries, now).values())


def test_both_contacts_and_the_account_managers_are_reminded_at_each_step_once(cast: Cast) -> None:
    for days in range(95, -5, -1):
        send(before(days))
        send(before(days) + timedelta(hours=1))
    everybody = [cast.alice, cast.bob, cast.anton]
    assert reminded() == [(days, address) for days in (90, 60, 30, 7, 0) for address in everybody]


def test_a_worker_that_was_away_sends_only_the_latest_step_that_applies(cast: Cast) -> None:
    assert send(before(100)) == 0
    send(before(5))
    assert {days for days, _ in reminded()} == {7}
    send(before(-1))
    send(before(-30))
    assert {days for days, _ in reminded()} == {7}


def test_nobody_but_contacts_of_that_contract_and_account_managers_is_reminded(cast: Cast) -> None:
    with transaction():
        people.add_staff("second@vendor.example.org", "Second manager", ["accounts"], actor=None, now=NOW)
        find_user(cast.bob).active = False
    send(before(60))
    assert reminded() == [(60, cast.alice), (60, cast.anton), (60, "second@vendor.example.org")]


def test_where_nobody_has_the_role_the_administrators_are_reminded(cast: Cast) -> None:
    with transaction():
        find_user(cast.anton).active = False
    send(before(60))
    assert reminded() == [(60, cast.alice), (60, cast.bob), (60, cast.ada)]


def test_a_contract_without_contacts_is_told_to_staff_and_to_whoever_is_named_later(cast: Cast) -> None:
    contract = sell("NW-7000", date(2026, 1, 1), date(2026, 12, 31), "UTC")
    send(before(30, date(2026, 12, 31)))
    assert reminded("NW-7000") == [(30, cast.anton)]
    with transaction():
        contacts.name_contact(contract, name="Gwen", email="gwen@garden.example.org", actor=None, now=NOW)
    send(before(20, date(2026, 12, 31)))
    assert reminded("NW-7000") == [(30, cast.anton), (30, "gwen@garden.example.org")]


@pytest.mark.parametrize("act", [contracts.suspend, contracts.cancel])
def test_suspended_and_cancelled_contracts_get_none_and_what_waits_is_skipped(cast: Cast, act: object) -> None:
    send(before(90))
    with transaction():
        assert callable(act)
        act(find_contract(cast.contract), actor=None, now=NOW)
    reason = circles.SUSPENDED if act is contracts.suspend else circles.CANCELLED
    assert refused(90, before(90)) == [reason, reason]
    assert refused(90, before(90), STAFF) == [reason]
    for days in (60, 30, 7, 0):
        send(before(days))
    assert {days for days, _ in reminded()} == {90}


def test_a_resumed_contract_is_reminded_of_what_applies_then(cast: Cast) -> None:
    with transaction():
        contracts.suspend(find_contract(cast.contract), actor=None, now=NOW)
    send(before(30))
    with transaction():
        contracts.resume(find_contract(cast.contract), actor=None, now=NOW)
    send(before(20))
    assert {days for days, _ in reminded()} == {30}


def test_after_a_renewal_the_old_steps_do_not_come_and_the_new_end_has_its_own(cast: Cast) -> None:
    send(before(60))
    with transaction():
        contracts.renew(find_contract(cast.contract), actor=None, now=before(60))
    assert refused(60, before(60)) == [reminders.RENEWED] * 2
    assert refused(60, before(60), STAFF) == [reminders.RENEWED]
    for day in (before(59), before(30), before(7), before(0), before(-1), before(-100), before(90, date(2028, 9, 24))):
        send(day)
    assert [days for days, _ in reminded()] == [60] * 3 + [90] * 3


def test_a_late_renewal_is_reminded_of_its_own_end(cast: Cast) -> None:
    late = before(-40)
    with transaction():
        contracts.renew(find_contract(cast.contract), actor=None, now=late)
    ends_on = late.date().replace(year=2028) - timedelta(days=1)
    assert [send(before(days, ends_on)) for days in (91, 90)] == [0, 2]


def test_what_waited_too_long_is_skipped_but_a_clock_put_back_skips_nothing(cast: Cast) -> None:
    send(before(30))
    assert refused(30, before(8)) == []
    assert refused(30, before(7)) == [reminders.OVERTAKEN] * 2
    assert refused(30, before(-1)) == [circles.ENDED] * 2
    assert refused(30, before(31)) == []
    send(before(30) - timedelta(hours=2))
    assert len(reminded()) == 3


def test_whoever_left_the_seat_or_the_staff_meanwhile_is_skipped(cast: Cast) -> None:
    send(before(30))
    with transaction():
        bob = next(one for one in contacts.live_contacts(find_contract(cast.contract).id) if one.user.email == cast.bob)
        contacts.release_contact(bob, actor=None, now=NOW)
        anton = find_user(cast.anton)
        anton.roles.clear()
    assert refused(30, before(30)) == [reminders.NO_CONTACT]
    assert refused(30, before(30), STAFF) == [reminders.NO_MANAGER]


# The day of a step, where the contract is: from its first minute to the minute before.
@pytest.mark.parametrize(
    ("zone", "last_day", "days"),
    [
        ("Europe/Berlin", date(2026, 10, 25), 0),  # a day of 25 hours
        ("Europe/Berlin", date(2026, 10, 26), 7),
        ("Europe/Berlin", date(2027, 3, 28), 0),  # of 23
        ("Europe/Berlin", date(2027, 4, 4), 7),
        ("America/Santiago", date(2026, 9, 6), 0),  # has no midnight
        ("America/Sao_Paulo", date(2027, 1, 31), 60),
        ("Pacific/Kiritimati", date(2027, 5, 31), 90),  # UTC+14
        ("Etc/GMT+12", date(2027, 5, 31), 90),  # UTC-12
        ("Asia/Kathmandu", date(2028, 2, 29), 30),
        ("Pacific/Apia", date(2028, 2, 29), 0),
        ("UTC", date(2028, 2, 29), 60),
    ],
)
def test_a_step_begins_at_midnight_where_the_contract_is(cast: Cast, zone: str, last_day: date, days: int) -> None:
    sell("NW-7000", last_day - timedelta(days=364), last_day, zone, "gwen@garden.example.org")
    day = last_day - timedelta(days=days)
    midnight = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    send(midnight - timedelta(seconds=1))
    assert days not in {step for step, _ in reminded("NW-7000")}
    send(midnight)
    assert (days, "gwen@garden.example.org") in reminded("NW-7000")
    assert (days, cast.anton) in reminded("NW-7000")


def test_the_last_minute_of_the_last_day_still_counts_and_the_next_does_not(cast: Cast) -> None:
    sell("NW-7000", date(2026, 1, 1), date(2026, 12, 31), "America/Los_Angeles", "gwen@garden.example.org")
    after = datetime(2027, 1, 1, 8, tzinfo=UTC)
    send(after)
    assert reminded("NW-7000") == []
    send(after - timedelta(minutes=1))
    assert {days for days, _ in reminded("NW-7000")} == {0}


def test_two_workers_make_each_reminder_once(app: Flask, cast: Cast) -> None:
    for number in range(20):
        sell(f"NW-8{number:03}", date(2026, 1, 1), date(2026, 12, 31), "UTC", f"gwen{number}@garden.example.org")
    db.session.remove()
    together = threading.Barrier(4)
    made: list[int] = []

    def work() -> None:
        with app.app_context():
            together.wait()
            made.append(send(before(30, date(2026, 12, 31))))
            db.session.remove()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(made) == 40
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Delivery)) == 40
    assert reminded("NW-8007") == [(30, "gwen7@garden.example.org"), (30, cast.anton)]


def test_many_contracts_cost_as_many_statements_as_one(app: Flask, cast: Cast) -> None:
    counts = []
    for round_, size in enumerate((1, 40)):
        for number in range(size):
            sell(f"NW-{round_}-{number}", date(2026, 1, 1), date(2026, 12, 31), "Asia/Tokyo", f"gwen{round_}-{number}@garden.example.org")
        with statements(app) as seen:
            assert send(before(30, date(2026, 12, 31))) == 2 * size
        counts.append(len(seen))
    assert counts[0] == counts[1]
    assert counts[0] < 10


def test_what_one_call_leaves_the_next_one_makes(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reminders, "MOST_AT_ONCE", 3)
    for number in range(4):
        sell(f"NW-8{number:03}", date(2026, 1, 1), date(2026, 12, 31), "UTC", f"gwen{number}@garden.example.org")
    day = before(30, date(2026, 12, 31))
    assert [send(day), send(day), send(day)] == [6, 2, 0]


def test_a_year_of_the_worker_reminds_five_times(cast: Cast) -> None:
    with time_machine.travel(NOW, tick=False) as journey:
        for _ in range(400):
            send(clock.now())
            journey.shift(timedelta(days=1))
    assert [days for days, address in reminded() if address == cast.alice] == [90, 60, 30, 7, 0]
    assert [days for days, address in reminded("NW-3001") if address == cast.frank] == [90, 60, 30, 7, 0]
    assert reminded(cast.lapsed_contract) == []


def mail(days: int, kind: str = reminders.TO_CONTACTS) -> rendering.Preview:
    notice, deliveries = pending(days, kind)
    return rendering.Renderer(notice, current_settings()).texts(deliveries[0], before(days))


def test_the_mail_says_what_ends_what_stays_what_goes_and_how_to_renew(cast: Cast) -> None:
    send(before(30))
    made = mail(30)
    assert made.subject == "Contract NW-2041 ends on 24 September 2027"
    for part in (" ".join(made.text.split()), " ".join(made.html.split())):
        for fact in (
            "24 September 2027 at 23:59, Europe/Berlin", "does not renew by itself", "Stable releases and their notes",
            "Votes, comments and new feedback", "25 September 2027 to 24 September 2028", "Ask for renewal",
            "http://127.0.0.1:8000/account/contracts/NW-2041/", "cannot be switched off",
        ):  # fmt: skip
            assert fact in part, fact
        assert "None" not in part
        assert "unsubscribe" not in part.lower()


def test_on_the_last_day_the_mail_says_so_and_the_staff_read_whom_to_write_to(cast: Cast) -> None:
    send(before(0))
    assert mail(0).subject == "Last day of contract NW-2041: 24 September 2027"
    staff = mail(0, STAFF)
    assert staff.subject == "Last day of contract NW-2041, Example Logistics: 24 September 2027"
    for part in (staff.text, staff.html):
        assert "Nobody has asked for renewal yet" in part
        assert cast.alice in part
        assert "http://127.0.0.1:8000/staff/contracts/NW-2041/" in part


def test_once_somebody_has_asked_the_mails_say_who(cast: Cast) -> None:
    with transaction():
        renewals.ask(find_contract(cast.contract), actor=find_user(cast.bob), now=before(80))
    send(before(60))
    for made in (mail(60), mail(60, STAFF)):
        assert "Bob Example asked for renewal on 6 July 2027" in " ".join(made.text.split())
        assert "Bob Example asked for renewal on 6 July 2027" in made.html


def test_where_stable_releases_need_the_contract_the_mail_does_not_promise_them(cast: Cast) -> None:
    with transaction():
        find_contract(cast.contract).product.stable_access = StableAccess.PRIORITY
    send(before(30))
    assert "- Downloads of stable releases" in mail(30).text
    assert "- Stable releases and their notes" not in mail(30).text
