"""A contract's end, said in time: to both contacts and to the account managers, some days before and on the last day.

The worker asks `send_due` every hour. A reminder is a notice whose key names the contract, its last day, the step and the circle,
so it is made once, whoever asks how often; after days without a worker only the latest step that applies is made up for. Days are
counted on the calendar of the contract's zone. A renewal moves the last day, and so begins anew.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import aliased, selectinload

from portal.account import circles, contracts, people, renewals
from portal.account.contracts import ContractState
from portal.account.models import Contact, Contract, Organization, Term, User
from portal.clock import civil_date
from portal.config import current_settings
from portal.database import db
from portal.notices import outbox
from portal.notices.kinds import Due, Kind, register
from portal.notices.models import Notice
from portal.web.formatting import long_date

# So many days before the last one; the last is the day itself.
STEPS = (90, 60, 30, 7, 0)
# How many reminders of a circle one call makes; the next one goes on. One statement takes so many values on either database.
MOST_AT_ONCE = 5000

TO_CONTACTS = "contract_ending"
TO_STAFF = "contract_ending_staff"

RENEWED = "contract renewed"
OVERTAKEN = "a later reminder goes out"
NO_CONTACT = "no longer a contact"
NO_MANAGER = "no longer an account manager"


class Ending(NamedTuple):
    """The last term of a contract that is neither suspended nor cancelled."""

    contract_id: int
    number: str
    organization: str
    product_id: int
    time_zone: str
    starts_on: date
    ends_on: date
    has_contacts: bool


def step_at(starts_on: date, ends_on: date, today: date) -> int | None:
    """Return which of STEPS applies to a last term on `today`: the latest that was reached; None before the first and after the end.

    A step as long as the term says nothing: a term of thirty days is not reminded of on its first one.
    """
    left, length = (ends_on - today).days, (ends_on - starts_on).days
    return min((days for days in STEPS if 0 <= left <= days < length), default=None)


def send_due(now: datetime) -> int:
    """Put the reminders into the outbox that are due at `now` and were not made yet. Returns how many.

    The number of statements does not depend on how many contracts there are.
    """
    made = set(db.session.scalars(_recent_keys(now)))
    has_managers = db.session.scalar(sa.select(sa.exists(people.account_managers())))
    to_contacts: list[outbox.Planned] = []
    to_staff: list[outbox.Planned] = []
    for row in db.session.execute(_endings(now)):
        last = Ending(*row)
        days = step_at(last.starts_on, last.ends_on, civil_date(now, last.time_zone))
        if days is None:
            continue
        if last.has_contacts:
            to_contacts.append(_plan(last, days, "contacts"))
        if has_managers:
            to_staff.append(_plan(last, days, "staff"))
    return sum(
        outbox.enqueue_each(kind, [one for one in plan if one.key not in made][:MOST_AT_ONCE], audience, now=now)
        for kind, plan, audience in ((TO_CONTACTS, to_contacts, _contacts()), (TO_STAFF, to_staff, _managers()))
    )


def _plan(last: Ending, days: int, circle: str) -> outbox.Planned:
    key = f"contract-{last.contract_id}-ends-{last.ends_on}-{days}-{circle}"
    context = {
        "contract_id": last.contract_id,
        "ends_on": last.ends_on.isoformat(),
        "days": days,
        "title": f"{last.number}, {last.organization}",
    }
    return outbox.Planned(key, context, last.product_id)


def _endings(now: datetime) -> sa.Select[int, str, str, int, str, date, date, bool]:
    """The last terms that end within the first step's days, the soonest first; a day more on both sides, for all zones."""
    later, today = aliased(Term), now.astimezone(UTC).date()
    seat = sa.exists().where(
        Contact.contract_id == Contract.id, Contact.released_at.is_(None), User.id == Contact.user_id, User.active.is_(True)
    )
    return (
        sa.select(
            Contract.id, Contract.number, Organization.name, Contract.product_id, Contract.time_zone,
            Term.starts_on, Term.ends_on, seat.correlate(Contract),
        )
        .join(Term, Term.contract_id == Contract.id)
        .join(Organization, Organization.id == Contract.organization_id)
        .where(
            Contract.suspended_at.is_(None),
            Contract.cancelled_at.is_(None),
            Term.ends_on.between(today - timedelta(days=1), today + timedelta(days=max(STEPS) + 1)),
            sa.not_(sa.exists().where(later.contract_id == Contract.id, later.ends_on > Term.ends_on).correlate(Contract, Term)),
        )
        .order_by(Term.ends_on, Contract.id)
    )  # fmt: skip


def _recent_keys(now: datetime) -> sa.Select[str | None]:
    """The keys of all reminders that can still matter: each is made while its contract is within the first step's days."""
    since = now - timedelta(days=max(STEPS) + 7)
    return sa.select(Notice.key).where(Notice.kind.in_([TO_CONTACTS, TO_STAFF]), Notice.created_at > since)


def _contacts() -> sa.Select[int, int, str, str]:
    """The people named to the seats of the contract that a notice is about."""
    return (
        sa.select(Notice.id, User.id, User.email, User.name)
        .join(Contact, Contact.contract_id == Notice.context["contract_id"].as_integer())
        .join(User, User.id == Contact.user_id)
        .where(Contact.released_at.is_(None), User.active.is_(True))
    )


def _managers() -> sa.Select[int, int, str, str]:
    manager = people.account_managers().subquery()
    return sa.select(Notice.id, *manager.c).join(manager, sa.true())


def _contract(notice: Notice) -> Contract:
    fresh = sa.select(Contract).where(Contract.id == notice.context["contract_id"]).execution_options(populate_existing=True)
    return db.session.scalars(fresh.options(selectinload(Contract.terms))).one()


def _overdue(notice: Notice, now: datetime) -> str | None:
    """Why a reminder says nothing that is true and new any more; None while it does."""
    contract = _contract(notice)
    at, last = contracts.standing(contract, now), contract.terms[-1]
    if at.state is ContractState.CANCELLED:
        return circles.CANCELLED
    if at.state is ContractState.SUSPENDED:
        return circles.SUSPENDED
    if last.ends_on.isoformat() != notice.context["ends_on"]:
        return RENEWED
    if last.ends_on < at.today:
        return circles.ENDED
    days = step_at(last.starts_on, last.ends_on, at.today)
    # A clock that was put back shows an earlier step, or none: the reminder is true all the same.
    return OVERTAKEN if days is not None and days < notice.context["days"] else None


def _check(circle: outbox.Audience, gone: str, notice: Notice, deliveries: Sequence[Due], now: datetime) -> Mapping[int, str]:
    why = _overdue(notice, now)
    if why is not None:
        return {delivery.id: why for delivery in deliveries}
    still = {person.id for person in db.session.execute(circle.where(User.id.in_([delivery.user_id for delivery in deliveries])))}
    return {delivery.id: gone for delivery in deliveries if delivery.user_id not in still}


def check_contacts(notice: Notice, deliveries: Sequence[Due], now: datetime) -> Mapping[int, str]:
    """Let nothing go out that is overtaken by a renewal or by time, nor to somebody who holds the seat no more."""
    circle = (
        sa.select(User.id, User.email, User.name)
        .join(Contact, Contact.user_id == User.id)
        .where(Contact.contract_id == notice.context["contract_id"], Contact.released_at.is_(None), User.active.is_(True))
    )
    return _check(circle, NO_CONTACT, notice, deliveries, now)


def check_staff(notice: Notice, deliveries: Sequence[Due], now: datetime) -> Mapping[int, str]:
    """As `check_contacts`, for the vendor's own people."""
    return _check(people.account_managers(), NO_MANAGER, notice, deliveries, now)


def describe(notice: Notice) -> Mapping[str, Any]:
    """Return what the templates of a reminder need, the same for everybody."""
    contract = _contract(notice)
    ends_on = date.fromisoformat(notice.context["ends_on"])
    outlook = renewals.outlook(contract, contracts.standing(contract, notice.created_at), notice.created_at)
    kept, lost = renewals.what_stays(contract.product)
    asked = outlook.request
    return {
        "contract_number": contract.number,
        "organization_name": contract.organization.name,
        "ends_on": long_date(ends_on),
        "last_day": notice.context["days"] == 0,
        "time_zone": contract.time_zone,
        "coming_from": long_date(outlook.coming[0]),
        "coming_until": long_date(outlook.coming[1]),
        "kept": kept,
        "lost": lost,
        "shop": outlook.shop,
        "asked_by": asked.asked_by.label if asked else None,
        "asked_on": long_date(civil_date(asked.asked_at, current_settings().default_time_zone)) if asked else None,
        "contacts": [
            f"{contact.user.name} <{contact.user.email}>" if contact.user.name else contact.user.email for contact in _seats(contract)
        ],
        "contract_path": f"/account/contracts/{contract.number}/",
        "staff_path": renewals.staff_path(contract.number),
    }


def _seats(contract: Contract) -> Sequence[Contact]:
    held = sa.select(Contact).where(Contact.contract_id == contract.id, Contact.released_at.is_(None)).order_by(Contact.seat)
    return db.session.scalars(held).all()


def _staff_path(notice: Notice) -> str:
    return renewals.staff_path(_contract(notice).number)


def register_kinds() -> None:
    """Make this module's kinds of notices known."""
    register(Kind(TO_CONTACTS, label="Contract about to end", check=check_contacts, shared=describe, staff_path=_staff_path))
    register(Kind(TO_STAFF, label="Contract about to end, to staff", check=check_staff, shared=describe, staff_path=_staff_path))
