"""The one answer to "may this person have this benefit of this product now, and why not".

Every gate asks `decide`; lists and audiences use `entitled`, the same predicate as SQL. A property-based test holds the
two equal.
"""

import enum
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from portal.account.contracts import seats_of
from portal.account.models import Contact, Contract, Term, User
from portal.clock import civil_date
from portal.database import db, one_of
from portal.products.models import Product


class Benefit(enum.StrEnum):
    """What a priority-support contract buys. One contract buys all of them; the reason for a refusal names the one asked for."""

    BETAS = "betas"
    FEEDBACK = "feedback"
    NOTICES = "notices"
    STABLE_BUILDS = "stable builds"


class Reason(enum.StrEnum):
    """Why a person is not entitled, in the order the conditions are tested."""

    SIGNED_OUT = "signed_out"
    ACCOUNT_CLOSED = "account_closed"
    NOT_A_CONTACT = "not_a_contact"
    SEAT_RELEASED = "seat_released"
    NO_CONTRACT = "no_contract"
    WRONG_PRODUCT = "wrong_product"
    SUSPENDED = "suspended"
    CANCELLED = "cancelled"
    NOT_STARTED = "not_started"
    EXPIRED = "expired"


@dataclass(frozen=True)
class Decision:
    """Allowed, under which contract and seat; or not, and why. A lapsed decision names the contract that lapsed."""

    allowed: bool
    reason: Reason | None = None
    contract_id: int | None = None
    contact_id: int | None = None
    ended_on: date | None = None

    @property
    def lapsed(self) -> bool:
        """Whether the person had the benefit through a contract that has ended, and still holds its seat."""
        return self.reason in {Reason.EXPIRED, Reason.CANCELLED, Reason.SUSPENDED}


def decide(person: User | None, benefit: Benefit, product: Product, now: datetime, *, contact_id: int | None = None) -> Decision:
    """Answer whether `person` may have `benefit` of `product` at `now`, reading the database afresh.

    The conditions, in the order tested:

    1. somebody is signed in;
    2. the account is active;
    3. the person was named to a seat (if not, the reason also says whether the organisation has a contract at all);
    4. that seat is not released;
    5. its contract is for this product;
    6. the contract is not suspended;
    7. the contract is not cancelled;
    8. a term covers today, as the calendar stands in the contract's zone.

    With several seats, one that passes them all is enough; otherwise the seat that came furthest gives the reason.
    With `contact_id`, that seat alone counts: a personal token gives what its own seat gives, no more.
    `benefit` is asked for by name so that contracts of different scope can come without touching a caller.
    """
    if person is None or person.is_anonymous:
        return Decision(False, Reason.SIGNED_OUT)
    if not person.active:
        return Decision(False, Reason.ACCOUNT_CLOSED)
    seats = [seat for seat in seats_of(person) if contact_id in {None, seat.id}]
    if not seats:
        return Decision(False, _reason_without_seat(person))
    return max((_judge(seat, product.id, now) for seat in seats), key=_progress)


def decide_by_product(person: User, benefit: Benefit, now: datetime, seats: Sequence[Contact] | None = None) -> dict[int, Decision]:
    """Answer as `decide` does for each product of which the person ever held a seat, by product id, in one statement.

    `seats` are those of `seats_of`, for callers that have just asked for them.
    """
    if not person.active:
        return {}
    by_product: dict[int, list[Contact]] = {}
    for seat in seats_of(person) if seats is None else seats:
        by_product.setdefault(seat.contract.product_id, []).append(seat)
    return {product_id: max((_judge(seat, product_id, now) for seat in its), key=_progress) for product_id, its in by_product.items()}


def decide_for_any(person: User, benefit: Benefit, now: datetime) -> Decision:
    """Answer as `decide` does for that product of the person's seats with which they come furthest.

    For pages that show all products at once, and have one reason to give when there is nothing to show.
    """
    if not person.active:
        return Decision(False, Reason.ACCOUNT_CLOSED)
    seats = seats_of(person)
    if not seats:
        return Decision(False, _reason_without_seat(person))
    return max((_judge(seat, seat.contract.product_id, now) for seat in seats), key=_progress)


def _reason_without_seat(person: User) -> Reason:
    if person.organization_id is None:
        return Reason.NO_CONTRACT
    contracts = sa.select(sa.exists().where(Contract.organization_id == person.organization_id))
    return Reason.NOT_A_CONTACT if db.session.scalar(contracts) else Reason.NO_CONTRACT


def _judge(seat: Contact, product_id: int, now: datetime) -> Decision:
    contract = seat.contract

    def refuse(reason: Reason, ended_on: date | None = None) -> Decision:
        return Decision(False, reason, contract.id, seat.id, ended_on)

    if seat.released_at is not None:
        return refuse(Reason.SEAT_RELEASED)
    if contract.product_id != product_id:
        return refuse(Reason.WRONG_PRODUCT)
    if contract.suspended_at is not None:
        return refuse(Reason.SUSPENDED)
    if contract.cancelled_at is not None:
        return refuse(Reason.CANCELLED)
    today = civil_date(now, contract.time_zone)
    if any(term.starts_on <= today <= term.ends_on for term in contract.terms):
        return Decision(True, None, contract.id, seat.id)
    past = [term.ends_on for term in contract.terms if term.ends_on < today]
    return refuse(Reason.EXPIRED, max(past)) if past else refuse(Reason.NOT_STARTED)


def _progress(decision: Decision) -> int:
    """How many conditions a decision passed; of two equal ones, the first seat speaks."""
    return len(Reason) if decision.reason is None else list(Reason).index(decision.reason)


def live_contracts(now: datetime) -> sa.Select[int]:
    """Select the ids of the contracts that are in force at `now`: not cancelled, not suspended, in a term today."""
    return (
        sa.select(Contract.id)
        .join(Term, Term.contract_id == Contract.id)
        .where(Contract.cancelled_at.is_(None), Contract.suspended_at.is_(None), _covers_today(now))
    )


def in_force(now: datetime) -> sa.ColumnElement[bool]:
    """The condition of `live_contracts` on a contract that a statement has found already: asked of that one, not of all there are."""
    term = sa.exists().where(Term.contract_id == Contract.id, _covers_today(now)).correlate(Contract)
    return sa.and_(Contract.cancelled_at.is_(None), Contract.suspended_at.is_(None), term)


def is_entitled(person: type[User], product_id: int, now: datetime) -> sa.ColumnElement[bool]:
    """The condition on `person` (User, or an alias of it) for which `decide` would say yes: the same conditions, as SQL, never NULL.

    Written as EXISTS, from the person to their seats and on: so asking about a few costs the same however many contracts there
    are, and asking about all has no list of people that a database might go through for each of them.
    """
    return sa.and_(person.active.is_(True), holds_seat(person, product_id, in_force(now)))


def holds_seat(person: type[User], product_id: int, *of_contract: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """The condition on `person` of being named to a seat of a contract of the product for which `of_contract` holds; never NULL."""
    contract = sa.exists().where(Contract.id == Contact.contract_id, Contract.product_id == product_id, *of_contract).correlate(Contact)
    return sa.exists().where(Contact.user_id == person.id, Contact.released_at.is_(None), contract).correlate(person)


def entitled(benefit: Benefit, product_id: int, now: datetime, *, among: Collection[int] | None = None) -> sa.Select[int]:
    """Select the ids of all users for whom `decide` would say yes; with `among`, of those alone."""
    person = aliased(User)
    people = sa.select(person.id).where(is_entitled(person, product_id, now))
    return people if among is None else people.where(one_of(person.id, among))


def entitled_products(person: User, now: datetime) -> list[Product]:
    """Return the products of which `person` is entitled to betas and feedback at `now`, by name."""
    if not person.active:
        return []
    products = (
        sa.select(Product)
        .where(
            Product.id.in_(
                sa.select(Contract.product_id)
                .join(Contact, Contact.contract_id == Contract.id)
                .where(Contact.user_id == person.id, Contact.released_at.is_(None), Contract.id.in_(live_contracts(now)))
            )
        )
        .order_by(Product.name)
    )
    return list(db.session.scalars(products))


def priority_products(user_id: int, now: datetime) -> set[int]:
    """Return the ids of the products of which this user has priority support at `now`; none for an unknown user."""
    person = db.session.get(User, user_id)
    return {product.id for product in entitled_products(person, now)} if person is not None else set()


def _covers_today(now: datetime) -> sa.ColumnElement[bool]:
    """A term covers today, where "today" depends on the contract's zone."""
    return by_calendar(now, lambda today: sa.and_(Term.starts_on <= today, Term.ends_on >= today))


def by_calendar(now: datetime, of_today: Callable[[date], sa.ColumnElement[bool]]) -> sa.ColumnElement[bool]:
    """The condition on Contract, and what is joined to it, that `of_today` holds on the day that its zone's calendar shows.

    At any instant the world's calendars show at most three dates, so the zones in use fall into as many groups.
    """
    zones_by_date: dict[date, list[str]] = {}
    for zone in db.session.scalars(sa.select(Contract.time_zone).distinct()):
        zones_by_date.setdefault(civil_date(now, zone), []).append(zone)
    groups = [sa.and_(Contract.time_zone.in_(sorted(zones)), of_today(today)) for today, zones in sorted(zones_by_date.items())]
    return sa.or_(*groups) if groups else sa.false()


SENTENCES: dict[Reason, tuple[str, str]] = {
    Reason.SIGNED_OUT: ("You are not signed in.", "Sign in with the address your contract names."),
    Reason.ACCOUNT_CLOSED: ("This account is closed.", "Your account manager can open it again."),
    Reason.NO_CONTRACT: (
        "Your organisation has no priority-support contract.",
        "Ask us about priority support; it comes with betas, a say in what gets in, and notices of every point release.",
    ),
    Reason.NOT_A_CONTACT: (
        "You are not one of the two named contacts of your organisation's contract.",
        "One of the two contacts, or your account manager, can name you to a seat.",
    ),
    Reason.SEAT_RELEASED: (
        "You no longer hold a seat of the contract.",
        "One of the two contacts of your organisation, or your account manager, can name you again.",
    ),
    Reason.WRONG_PRODUCT: (
        "Your contract is for another product.",
        "Your account manager can add a contract for this one.",
    ),
    Reason.CANCELLED: ("The contract was cancelled.", "Your account manager can tell you more."),
    Reason.SUSPENDED: ("The contract is suspended.", "Your account manager can tell you why, and resume it."),
    Reason.NOT_STARTED: (
        "The contract has not started yet.",
        "It opens on the first day of its term. The page of your contract names the day.",
    ),
    Reason.EXPIRED: ("The contract has ended.", "Renew it, and everything works again at once; your account manager does that."),
}


def explain(decision: Decision) -> tuple[str, str]:
    """Return the reason of a refusal in plain words, and who can do something about it."""
    assert decision.reason is not None, "an allowed decision needs no explanation"
    return SENTENCES[decision.reason]
