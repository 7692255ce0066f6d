"""Contracts, people and organisations as account managers look them up: searched, and paged by key.

Each list costs the same number of statements however long it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import joinedload, selectinload

from portal.account import renewals
from portal.account.contracts import Standing, standing
from portal.account.models import Contact, Contract, Organization, RenewalRequest, User, roles_users
from portal.database import db
from portal.notices import suppression

PAGE = 50
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


def contracts_page(query: str, after: str | None, now: datetime, *, asked_only: bool = False, size: int = PAGE) -> Page[ContractRow]:
    """Return the contracts after number `after` that match `query`: by number, organisation, or a contact's name or address.

    With `asked_only`, those that a contact asked to renew.
    """
    wanted = (
        sa.select(Contract)
        .join(Contract.organization)
        .options(joinedload(Contract.organization), joinedload(Contract.product), selectinload(Contract.terms))
        .order_by(Contract.number)
        .limit(size + 1)
    )
    if after is not None:
        wanted = wanted.where(Contract.number > after)
    if query:
        named = (
            sa.select(Contact.contract_id)
            .join(Contact.user)
            .where(Contact.released_at.is_(None), sa.or_(_holds(User.name, query), _holds(User.email, query)))
        )
        wanted = wanted.where(sa.or_(_holds(Contract.number, query), _holds(Organization.name, query), Contract.id.in_(named)))
    if asked_only:
        wanted = wanted.where(Contract.id.in_(sa.select(RenewalRequest.contract_id).where(renewals.is_open())))
    contracts = list(db.session.scalars(wanted))
    page, more = contracts[:size], len(contracts) > size
    ids = [contract.id for contract in page]
    seats, asked = contacts_by_contract(ids), renewals.open_requests(ids)
    rows = [ContractRow(contract, standing(contract, now), seats.get(contract.id, []), asked.get(contract.id)) for contract in page]
    return Page(rows, page[-1].number if more else None)


def all_contracts(now: datetime) -> list[ContractRow]:
    """Return every contract, by number, with terms and contacts: for export."""
    return list(contracts_page("", None, now, size=1_000_000).rows)


def contacts_by_contract(contract_ids: Sequence[int], at: datetime | None = None) -> dict[int, list[Contact]]:
    """Return who holds the seats of these contracts, by seat: now, or at the instant `at`."""
    held = (
        Contact.released_at.is_(None)
        if at is None
        else sa.and_(Contact.named_at <= at, sa.or_(Contact.released_at.is_(None), Contact.released_at > at))
    )
    found: dict[int, list[Contact]] = {}
    for contact in db.session.scalars(
        sa.select(Contact).where(Contact.contract_id.in_(contract_ids), held).order_by(Contact.contract_id, Contact.seat)
    ):
        found.setdefault(contact.contract_id, []).append(contact)
    return found


def people_page(query: str, after: str | None, *, size: int = PAGE) -> Page[PersonRow]:
    """Return the customers' people after address `after` that match `query`: by name, address or organisation."""
    wanted = (
        sa.select(User)
        .outerjoin(User.organization)
        .where(User.id.not_in(sa.select(roles_users.c.user_id)))
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
