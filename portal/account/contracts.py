"""Contracts and their terms: made, renewed, suspended, resumed, cancelled. Their state is derived, never stored."""

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import sqlalchemy as sa
from dateutil.relativedelta import relativedelta
from sqlalchemy.orm import contains_eager, joinedload, lazyload

from portal import audit
from portal.account import orders
from portal.account.models import Contact, Contract, Organization, Suspension, Term, User
from portal.account.orders import Order
from portal.clock import civil_date, time_zones
from portal.config import current_settings
from portal.database import db, is_violation
from portal.errors import Conflict, Invalid, NotFound
from portal.products.models import Product
from portal.text import clean_line
from portal.web.formatting import long_date

TERM_MONTHS = 12
NUMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
YEARS = (1990, 2199)
# Numbers that are the address of something else beside the contracts' pages.
RESERVED = {"new", "import", "export.csv"}


class ContractState(enum.StrEnum):
    ACTIVE = "active"
    UPCOMING = "upcoming"
    EXPIRED = "expired"
    SUSPENDED = "suspended"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Standing:
    """How a contract stands on a day: its state, and the term that matters now (running, else next, else last)."""

    state: ContractState
    term: Term | None
    today: date

    @property
    def days_left(self) -> int:
        """Days of the running term left, today not counted; 0 when none is running."""
        if self.term is None or not self.term.starts_on <= self.today <= self.term.ends_on:
            return 0
        return (self.term.ends_on - self.today).days

    @property
    def days_total(self) -> int:
        return (self.term.ends_on - self.term.starts_on).days + 1 if self.term else 0


def standing(contract: Contract, now: datetime) -> Standing:
    """Derive how `contract` stands at `now`, by the calendar of its zone."""
    today = civil_date(now, contract.time_zone)
    running = next((term for term in contract.terms if term.starts_on <= today <= term.ends_on), None)
    coming = next((term for term in contract.terms if term.starts_on > today), None)
    last = contract.terms[-1] if contract.terms else None
    if contract.cancelled_at is not None:
        state = ContractState.CANCELLED
    elif contract.suspended_at is not None:
        state = ContractState.SUSPENDED
    elif running is not None:
        state = ContractState.ACTIVE
    elif coming is not None:
        # Between two terms, or before the first: either way the next one is what the reader waits for.
        state = ContractState.UPCOMING
    else:
        state = ContractState.EXPIRED
    return Standing(state, running or coming or last, today)


def term_end(first_start: date, number: int) -> date:
    """Return the last day of the `number`-th twelve-month term of a contract that first started on `first_start`.

    It is the day before the `number`-th anniversary, a missing 29 February counting as 1 March
    (2028-02-29 gives 2029-02-28), so that renewals do not drift.
    """
    anniversary = first_start + relativedelta(months=TERM_MONTHS * number)
    if anniversary.day != first_start.day:
        anniversary += timedelta(days=1)
    return anniversary - timedelta(days=1)


def find_organization(name: str) -> Organization | None:
    """Return the organisation of this name, in capitals or not, so that nobody makes a second one by a slip."""
    return db.session.scalar(sa.select(Organization).where(sa.func.lower(Organization.name) == sa.func.lower(name)))


def create_organization(name: str, *, actor: User | None, now: datetime) -> Organization:
    """Add an organisation. Raises Invalid for an empty or taken name."""
    name = clean_line(name, "name", 200)
    if find_organization(name) is not None:
        raise Invalid(f"There is already an organisation called {name}.", "name")
    organization = Organization(name=name, created_at=now)
    db.session.add(organization)
    try:
        db.session.flush()
    except sa.exc.IntegrityError as error:
        if is_violation(error, "uq_organizations_name", "organizations.name"):
            raise Invalid(f"There is already an organisation called {name}.", "name") from None
        raise
    audit.record("organization.created", subject_type="organization", subject_id=organization.id, actor=actor, now=now, name=name)
    return organization


def find_or_create_organization(name: str, *, actor: User | None, now: datetime) -> Organization:
    """Return the organisation of this name, added if unknown. Raises Invalid (field `organization`) for a bad name."""
    name = clean_line(name, "organization", 200)
    return find_organization(name) or create_organization(name, actor=actor, now=now)


def check_number(number: str) -> str:
    """Return the number of a new contract as it is stored. Raises Invalid for a taken one, or one that cannot stand in an address."""
    number = clean_line(number, "number", 40)
    if not NUMBER.fullmatch(number) or number.lower() in RESERVED:
        raise Invalid(f"{number} cannot be a contract's number. Use letters, digits, dots, dashes and underscores.", "number")
    taken = db.session.scalar(sa.select(Contract.number).where(sa.func.lower(Contract.number) == number.lower()))
    if taken is not None:
        raise Invalid(f"There is already a contract with the number {taken}.", "number")
    return number


def create_contract(
    number: str,
    organization: Organization,
    product: Product,
    starts_on: date,
    *,
    ends_on: date | None = None,
    time_zone: str,
    region: str = "",
    order: Order | None = None,
    actor: User | None,
    now: datetime,
) -> Contract:
    """Add a contract with its first term: twelve months from `starts_on`, unless `ends_on` says otherwise, at the usual price,
    unless `order` names another.

    Raises Invalid for a taken number or one that cannot stand in an address, an unknown zone or region, dates out of reach, or an
    end before the start.
    """
    number = check_number(number)
    check_zone(time_zone)
    check_region(region)
    check_reach(starts_on, "starts_on")
    check_reach(ends_on, "ends_on")
    contract = Contract(
        number=number, organization=organization, product=product, time_zone=time_zone, region=region, created_at=now
    )  # fmt: skip
    db.session.add(contract)
    try:
        db.session.flush()
    except sa.exc.IntegrityError as error:
        if is_violation(error, "uq_contracts_number", "contracts.number"):
            raise Invalid(f"There is already a contract with the number {number}.", "number") from None
        raise
    term = _add_term(contract, starts_on, ends_on or term_end(starts_on, 1), order or orders.usual(), now)
    audit.record("contract.created", subject_type="contract", subject_id=contract.id, actor=actor, now=now, number=number, **_facts(term))
    return contract


def add_past_term(contract: Contract, starts_on: date, ends_on: date | None, order: Order, *, now: datetime) -> Term:
    """Add a term as it stands in another system, wherever it lies: for imports. No `ends_on`: twelve months.

    Raises Invalid for dates out of reach and an end before the start, Conflict where it overlaps another term.
    """
    check_reach(starts_on, "starts_on")
    check_reach(ends_on, "ends_on")
    return _add_term(contract, starts_on, ends_on or term_end(starts_on, 1), order, now)


def change_place(contract: Contract, *, region: str, time_zone: str, actor: User | None, now: datetime) -> None:
    """Change where a contract is supported from, and by which zone's midnight its terms begin and end.

    Raises Invalid for an unknown region or zone.
    """
    contract = lock_contract(contract.id)
    before = {"region": contract.region, "time_zone": contract.time_zone}
    check_zone(time_zone)
    check_region(region, known=contract.region)
    after = {"region": region, "time_zone": time_zone}
    contract.region, contract.time_zone = region, time_zone
    if before != after:
        audit.record("contract.changed", subject_type="contract", subject_id=contract.id, actor=actor, now=now, before=before, after=after)


def change_order(contract: Contract, term_id: int, order: Order, *, actor: User | None, now: datetime) -> None:
    """Correct the price, the currency or the order's reference of a term. Raises NotFound if the contract has no such term."""
    contract = lock_contract(contract.id)
    term = find_term(contract, term_id)
    before, after = order_of(term), order
    term.price_cents, term.currency, term.order_reference = order
    if before != after:
        audit.record(
            "contract.order_changed", subject_type="contract", subject_id=contract.id, actor=actor, now=now,
            starts_on=term.starts_on.isoformat(), before=before._asdict(), after=after._asdict(),
        )  # fmt: skip


def find_term(contract: Contract, term_id: int) -> Term:
    """Return a term of `contract`. Raises NotFound for any other."""
    term = next((one for one in contract.terms if one.id == term_id), None)
    if term is None:
        raise NotFound("There is no such term.")
    return term


def order_of(term: Term) -> Order:
    """Return what the term costs, and by which order."""
    return Order(term.price_cents, term.currency, term.order_reference)


def next_order(contract: Contract) -> Order:
    """Return what the next term costs unless somebody says otherwise: as much as the last one."""
    return order_of(contract.terms[-1])._replace(reference="")


def _facts(term: Term) -> dict[str, object]:
    """What the audit log keeps of a new term."""
    return {"starts_on": term.starts_on.isoformat(), "ends_on": term.ends_on.isoformat(), **order_of(term)._asdict()}


def check_zone(time_zone: str) -> None:
    """Raise Invalid for what is no IANA time zone."""
    if time_zone not in time_zones():
        raise Invalid(f"{time_zone} is no IANA time zone. Write it like Europe/Berlin.", "time_zone")


def check_region(region: str, known: str = "") -> None:
    """Raise Invalid for a region that is none of the vendor's, nor the one `known` before."""
    regions = current_settings().regions
    if region not in {"", known, *regions}:
        raise Invalid(f"{region} is no region we support from. Choose one of {', '.join(regions)}, or none.", "region")


def find_contract(number: str) -> Contract:
    """Return the contract with this number. Raises NotFound."""
    contract = db.session.scalar(sa.select(Contract).where(Contract.number == number)) if NUMBER.fullmatch(number) else None
    if contract is None:
        raise NotFound(f"There is no contract {number}.")
    return contract


def lock_contract(contract_id: int) -> Contract:
    """Return the contract, locked until the transaction ends, so that acts upon it happen one after another."""
    contract = db.session.scalar(
        sa.select(Contract).where(Contract.id == contract_id).with_for_update().execution_options(populate_existing=True)
    )
    if contract is None:
        raise NotFound("There is no such contract.")
    return contract


def next_term(contract: Contract, now: datetime) -> tuple[date, date]:
    """Return the first and the last day of the twelve-month term that a renewal at `now` adds.

    An early renewal follows on without a gap. A late one starts today and counts its anniversaries from there.
    """
    today = civil_date(now, contract.time_zone)
    last = contract.terms[-1]
    if last.ends_on < today - timedelta(days=1):
        return today, term_end(today, 1)
    first, number = _unbroken_run(contract.terms)
    return last.ends_on + timedelta(days=1), term_end(first, number + 1)


def renew(
    contract: Contract, *, starts_on: date | None = None, order: Order | None = None, actor: User | None, now: datetime
) -> Term:  # fmt: skip
    """Add the next twelve-month term. `starts_on`, where given, is the first day of the term that whoever renews was shown.

    It costs what the last one did, unless `order` says otherwise.

    Raises Conflict for a cancelled contract, and if the next term is another one than was shown: somebody renewed meanwhile.
    """
    contract = lock_contract(contract.id)
    if contract.cancelled_at is not None:
        raise Conflict(f"Contract {contract.number} is cancelled. Make a new one.")
    coming = next_term(contract, now)
    if starts_on is not None and starts_on != coming[0]:
        raise Conflict(f"The next term is another one now: the last one ends on {long_date(contract.terms[-1].ends_on)}.")
    term = _add_term(contract, *coming, order or next_order(contract), now)
    audit.record("contract.renewed", subject_type="contract", subject_id=contract.id, actor=actor, now=now, **_facts(term))
    return term


def _unbroken_run(terms: list[Term]) -> tuple[date, int]:
    """Return the first day and the number of twelve-month terms of the run of terms that ends with the last one."""
    run = [terms[-1]]
    for term in reversed(terms[:-1]):
        if term.ends_on + timedelta(days=1) != run[0].starts_on:
            break
        run.insert(0, term)
    first = run[0].starts_on
    number = 1
    while term_end(first, number) < run[-1].ends_on:
        number += 1
    if term_end(first, number) == run[-1].ends_on:
        return first, number
    return run[-1].ends_on + timedelta(days=1), 0  # an odd length was imported: count anew from its end


def check_reach(day: date | None, field: str) -> None:
    """Raise Invalid, at `field`, for a day so far off that it must be a slip."""
    if day is not None and not YEARS[0] <= day.year <= YEARS[1]:
        raise Invalid(f"The year {day.year} is out of reach. Check the date.", field)


def check_days(starts_on: date, ends_on: date) -> None:
    """Raise Invalid for a term that ends before it starts."""
    if ends_on < starts_on:
        raise Invalid("The term ends before it starts. Correct one of the two dates.", "ends_on")


def _add_term(contract: Contract, starts_on: date, ends_on: date, order: Order, now: datetime) -> Term:
    check_days(starts_on, ends_on)
    if any(term.starts_on <= ends_on and starts_on <= term.ends_on for term in contract.terms):
        raise Conflict("The term overlaps another one of this contract.")
    term = Term(
        contract_id=contract.id, starts_on=starts_on, ends_on=ends_on, created_at=now,
        price_cents=order.price_cents, currency=order.currency, order_reference=order.reference,
    )  # fmt: skip
    db.session.add(term)
    db.session.flush()
    db.session.expire(contract, ["terms"])
    return term


def suspend(contract: Contract, *, actor: User | None, now: datetime) -> None:
    """Stop all entitlement of a contract until it is resumed. Raises Conflict if it is suspended or cancelled."""
    contract = lock_contract(contract.id)
    if contract.suspended_at is not None or contract.cancelled_at is not None:
        raise Conflict(f"Contract {contract.number} is already {'cancelled' if contract.cancelled_at else 'suspended'}.")
    contract.suspended_at = now
    audit.record("contract.suspended", subject_type="contract", subject_id=contract.id, actor=actor, now=now)


def resume(contract: Contract, *, actor: User | None, now: datetime) -> None:
    """End a suspension; the days it lasted are not added to the term. Raises Conflict if there is none."""
    contract = lock_contract(contract.id)
    if contract.suspended_at is None or contract.cancelled_at is not None:
        raise Conflict(f"Contract {contract.number} is not suspended.")
    _end_suspension(contract, now)
    audit.record("contract.resumed", subject_type="contract", subject_id=contract.id, actor=actor, now=now)


def _end_suspension(contract: Contract, now: datetime) -> None:
    """Remember the suspension that lasts, if there is one, as one that is over."""
    if contract.suspended_at is None:
        return
    # A clock that was put back must not let the suspension end before it began.
    db.session.add(
        Suspension(contract_id=contract.id, suspended_at=contract.suspended_at, resumed_at=max(now, contract.suspended_at))
    )  # fmt: skip
    contract.suspended_at = None


def cancel(contract: Contract, *, actor: User | None, now: datetime) -> None:
    """End a contract for good, and a suspension with it, since nobody could resume it. Raises Conflict if it is cancelled already."""
    contract = lock_contract(contract.id)
    if contract.cancelled_at is not None:
        raise Conflict(f"Contract {contract.number} is already cancelled.")
    _end_suspension(contract, now)
    contract.cancelled_at = now
    audit.record("contract.cancelled", subject_type="contract", subject_id=contract.id, actor=actor, now=now)


# Built once: each page and each byte range of a beta asks it. The seat's person is at hand already.
_SEATS_OF = (
    sa.select(Contact)
    .join(Contact.contract)
    .outerjoin(Contract.terms)
    .where(Contact.user_id == sa.bindparam("person_id"))
    .options(
        lazyload(Contact.user),
        contains_eager(Contact.contract).options(contains_eager(Contract.terms), joinedload(Contract.product)),
    )
    .order_by(Contact.id, Term.starts_on)
    .execution_options(populate_existing=True)
)


def seats_of(person: User) -> list[Contact]:
    """Return every seat `person` was ever named to, with contract and terms, as the database has them now."""
    return list(db.session.scalars(_SEATS_OF, {"person_id": person.id}).unique())


def contracts_of(person: User, seats: Sequence[Contact] | None = None) -> list[Contract]:
    """Return the contracts on which `person` holds a live seat, by number. `seats` are those of `seats_of`, if at hand."""
    held = seats_of(person) if seats is None else seats
    return sorted((seat.contract for seat in held if seat.released_at is None), key=lambda contract: contract.number)
