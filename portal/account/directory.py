"""Contracts, people and organisations as account managers look them up: searched, and paged by key.

Each list costs the same number of statements however long it is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import joinedload, selectinload

from portal.account import renewals
from portal.account.contracts import ContractState, Standing, standing
from portal.account.entitlements import by_calendar, in_force
from portal.account.models import Contact, Contract, Organization, RenewalRequest, Term, User, roles_users
from portal.database import db
from portal.notices import suppression

PAGE = 50
EXPORTED_AT_ONCE = 1000
Row = TypeVar("Row")


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Some rows, and the key after which the next page begins (None at the end)."""

    rows: Sequence[Row]
    next_key: str | None


@dataclass(frozen=True)
class ContractRow:
    """A contract, how it stands, who holds its seats, and who asked to renew it, if somebody has."""

    contract: Contract
    standing: Standing
    contacts: list[Contact]
    asked: RenewalRequest | None


@dataclass(frozen=True)
class PersonRow:
    """A person, the contracts they hold a seat of, and why no mail goes to their address, if none does."""

    person: User
    contracts: list[str]
    suppressed: str | None


@dataclass(frozen=True)
class OrganizationRow:
    organization: Organization
    people: int
    contracts: int


@dataclass(frozen=True)
class Wanted:
    """Which contracts to list: all of what is given must hold.

    `query` is a part of the number, the organisation, a contact's name or address, or an order's reference. `ending_in`: in force,
    and so many days or fewer are left of the last term. `asked`: a contact asked to renew.
    """

    query: str = ""
    state: ContractState | None = None
    ending_in: int | None = None
    asked: bool = False


# The day a contract's last term ends; it has one from the moment it is made.
_last_day = sa.select(sa.func.max(Term.ends_on)).where(Term.contract_id == Contract.id).correlate(Contract).scalar_subquery()


def contracts_page(wanted: Wanted, after: str | None, now: datetime, *, size: int = PAGE) -> Page[ContractRow]:
    """Return the wanted contracts by number, after that of `after`; those that end soon by their last day, after that and the number.

    A key that cannot be read begins anew.
    """
    found = (
        sa.select(Contract)
        .join(Contract.organization)
        .options(joinedload(Contract.organization), joinedload(Contract.product), selectinload(Contract.terms))
        .where(*_conditions(wanted, now))
        .limit(size + 1)
    )
    if wanted.ending_in is not None:
        found = found.order_by(_last_day, Contract.number)
        day, _, number = (after or "").partition("/")
        if after is not None and _is_date(day):
            later = sa.and_(_last_day == date.fromisoformat(day), Contract.number > number)
            found = found.where(sa.or_(_last_day > date.fromisoformat(day), later))
    else:
        found = found.order_by(Contract.number)
        if after is not None:
            found = found.where(Contract.number > after)
    contracts = list(db.session.scalars(found))
    page, more = contracts[:size], len(contracts) > size
    ids = [contract.id for contract in page]
    seats, asked = contacts_by_contract(ids), renewals.open_requests(ids)
    rows = [ContractRow(contract, standing(contract, now), seats.get(contract.id, []), asked.get(contract.id)) for contract in page]
    if not more:
        return Page(rows, None)
    number = page[-1].number
    return Page(rows, number if wanted.ending_in is None else f"{page[-1].terms[-1].ends_on}/{number}")


def _conditions(wanted: Wanted, now: datetime) -> list[sa.ColumnElement[bool]]:
    conditions = []
    if wanted.query:
        named = (
            sa.select(Contact.contract_id)
            .join(Contact.user)
            .where(Contact.released_at.is_(None), sa.or_(_holds(User.name, wanted.query), _holds(User.email, wanted.query)))
        )
        ordered = sa.select(Term.contract_id).where(_holds(Term.order_reference, wanted.query))
        conditions.append(
            sa.or_(
                _holds(Contract.number, wanted.query),
                _holds(Organization.name, wanted.query),
                Contract.id.in_(named),
                Contract.id.in_(ordered),
            )
        )
    if wanted.asked:
        conditions.append(Contract.id.in_(sa.select(RenewalRequest.contract_id).where(renewals.is_open())))
    if wanted.state is not None:
        conditions.append(_is_in(wanted.state, now))
    if wanted.ending_in is not None:
        within = timedelta(days=wanted.ending_in)
        conditions += [in_force(now), by_calendar(now, lambda today: _last_day <= today + within)]
    return conditions


def _is_in(state: ContractState, now: datetime) -> sa.ColumnElement[bool]:
    """The condition on Contract that `standing` would find it in this state."""
    lives = sa.and_(Contract.cancelled_at.is_(None), Contract.suspended_at.is_(None))
    if state is ContractState.CANCELLED:
        return Contract.cancelled_at.is_not(None)
    if state is ContractState.SUSPENDED:
        return sa.and_(Contract.cancelled_at.is_(None), Contract.suspended_at.is_not(None))
    if state is ContractState.ACTIVE:
        return in_force(now)
    coming = by_calendar(now, lambda today: _last_day > today)
    return sa.and_(lives, sa.not_(in_force(now)), coming if state is ContractState.UPCOMING else sa.not_(coming))


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def all_contracts(now: datetime, wanted: Wanted = Wanted()) -> Iterator[ContractRow]:
    """Give every wanted contract, with terms and contacts, a page at a time: for exports."""
    after: str | None = None
    while True:
        page = contracts_page(wanted, after, now, size=EXPORTED_AT_ONCE)
        yield from page.rows
        if page.next_key is None:
            return
        after = page.next_key


def contacts_by_contract(contract_ids: Sequence[int]) -> dict[int, list[Contact]]:
    """Return who holds the seats of these contracts, by seat."""
    found: dict[int, list[Contact]] = {}
    for contact in db.session.scalars(
        sa.select(Contact)
        .where(Contact.contract_id.in_(contract_ids), Contact.released_at.is_(None))
        .order_by(Contact.contract_id, Contact.seat)
    ):
        found.setdefault(contact.contract_id, []).append(contact)
    return found


def people_page(query: str, after: str | None, *, size: int = PAGE) -> Page[PersonRow]:
    """Return the customers' people after address `after` that match `query`: by name, address or organisation."""
    wanted = (
        sa.select(User)
        .outerjoin(User.organization)
        .where(User.id.not_in(sa.select(roles_users.c.user_id)), User.erased_at.is_(None))
        .order_by(User.email)
        .limit(size + 1)
    )
    if after is not None:
        wanted = wanted.where(User.email > after)
    if query:
        wanted = wanted.where(sa.or_(_holds(User.name, query), _holds(User.email, query), _holds(Organization.name, query)))
    people = list(db.session.scalars(wanted))
    page, more = people[:size], len(people) > size
    numbers: dict[int, list[str]] = {}
    for user_id, number in db.session.execute(
        sa.select(Contact.user_id, Contract.number)
        .join(Contact.contract)
        .where(Contact.user_id.in_([person.id for person in page]), Contact.released_at.is_(None))
        .order_by(Contract.number)
    ):
        numbers.setdefault(user_id, []).append(number)
    gone = suppression.suppressed([person.email for person in page])
    rows = [PersonRow(person, numbers.get(person.id, []), gone.get(person.email)) for person in page]
    return Page(rows, page[-1].email if more else None)


def organizations_page(query: str, after: str | None, *, size: int = PAGE) -> Page[OrganizationRow]:
    """Return the organisations after name `after` whose name matches `query`, with how many people and contracts each has."""
    people = sa.select(sa.func.count()).where(User.organization_id == Organization.id).scalar_subquery()
    contracts = sa.select(sa.func.count()).where(Contract.organization_id == Organization.id).scalar_subquery()
    wanted = sa.select(Organization, people, contracts).order_by(Organization.name).limit(size + 1)
    if after is not None:
        wanted = wanted.where(Organization.name > after)
    if query:
        wanted = wanted.where(_holds(Organization.name, query))
    rows = [OrganizationRow(*row) for row in db.session.execute(wanted)]
    page = rows[:size]
    return Page(page, page[-1].organization.name if len(rows) > size else None)


def organization_names() -> list[str]:
    """Return the names of all organisations, for a form that proposes them."""
    return list(db.session.scalars(sa.select(Organization.name).order_by(Organization.name)))


def _holds(column: sa.orm.InstrumentedAttribute[str], query: str) -> sa.ColumnElement[bool]:
    return column.icontains(query, autoescape=True)
