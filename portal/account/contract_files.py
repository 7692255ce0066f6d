"""Contracts as CSV files: what goes out comes back the same.

A row is a term. Rows with one number are the terms of one contract; what is the contract's own stands in each of them, or in
the first alone. A file that names a contract once, as most do, is one of contracts with one term.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from typing import TextIO

import sqlalchemy as sa

from portal.account import contacts, contracts, directory, imports, orders
from portal.account.contracts import ContractState
from portal.account.imports import Row
from portal.account.models import Contact, Contract, Organization, Term, User
from portal.database import db
from portal.errors import Conflict, Invalid, NotFound
from portal.products.models import Product
from portal.text import defuse

COLUMNS = (
    "number", "organization", "product", "starts_on", "ends_on", "time_zone",
    "contact1_name", "contact1_email", "contact2_name", "contact2_email",
)  # fmt: skip
OPTIONAL = ("price", "currency", "order_reference", "region", "state")
_OF_TERM = {"starts_on", "ends_on", "price", "currency", "order_reference"}
_DERIVED = {state.value for state in (ContractState.ACTIVE, ContractState.UPCOMING, ContractState.EXPIRED)}


def read(content: bytes) -> list[tuple[int, Row]]:
    """Return the rows of a file of contracts with their line numbers. Raises what `imports.read_rows` raises."""
    return imports.read_rows(content, COLUMNS, OPTIONAL)


def import_contracts(
    rows: Iterable[tuple[int, Row]], *, default_zone: str, invite: bool, actor: User | None, now: datetime
) -> imports.Outcome:
    """Add the contracts of `rows`, with organisations and contacts. One whose number exists is left as it is.

    A contract that is suspended or cancelled in the file is so from `now`; nobody is invited to a cancelled one.
    Raises Invalid that names every row and column at fault; the caller's transaction then takes all of it back.
    """
    importer = _Importer(default_zone, invite, actor, now)
    outcome = imports.run(rows, importer.add)
    importer.stop()
    return outcome


class _Importer:
    """What is known while the rows of one file are read: products, and the first row of each contract."""

    def __init__(self, default_zone: str, invite: bool, actor: User | None, now: datetime) -> None:
        self.default_zone, self.invite, self.actor, self.now = default_zone, invite, actor, now
        self.products = {product.slug: product for product in db.session.scalars(sa.select(Product))}
        self.first: dict[str, Row] = {}
        self.days: dict[str, list[tuple[date, date]]] = {}
        self.made: dict[str, Contract] = {}
        self.stopped: dict[int, str] = {}

    def add(self, row: Row) -> bool | None:
        """Add a row: True for a new contract, False for one that was known, None for a further term of one in this file."""
        key = row["number"].lower()
        first = self.first.setdefault(key, row)
        product = self.products.get(row["product"] or first["product"])
        if product is None:
            raise Invalid(f"There is no product {row['product'] or 'without a name'}.", "product")
        starts_on, ends_on = _read_term(row)
        order = orders.read(row["price"], row["currency"], row["order_reference"], instead=orders.usual())
        if row["state"] not in {"", *ContractState}:
            raise Invalid(f"{row['state']} is no state of a contract. Write {', '.join(ContractState)}, or nothing.", "state")
        self._check_days(row, starts_on, ends_on or contracts.term_end(starts_on, 1))
        if first is not row:
            _check_same(first, row)
            if key in self.made:
                contracts.add_past_term(self.made[key], starts_on, ends_on, order, now=self.now)
            return None
        known = db.session.scalar(sa.select(Contract).where(sa.func.lower(Contract.number) == key))
        if known is not None:
            if known.organization.name.lower() != row["organization"].lower() or known.product_id != product.id:
                raise Conflict(f"Contract {known.number} exists for another organisation or product.")
            return False
        contract = contracts.create_contract(
            row["number"], contracts.find_or_create_organization(row["organization"], actor=self.actor, now=self.now), product, starts_on,
            ends_on=ends_on, time_zone=row["time_zone"] or self.default_zone, region=row["region"], order=order,
            actor=self.actor, now=self.now,
        )  # fmt: skip
        if row["state"] and row["state"] not in _DERIVED:
            self.stopped[contract.id] = row["state"]
        for seat in (1, 2):
            self._add_contact(row, seat, contract)
        self.made[key] = contract
        return True

    def stop(self) -> None:
        """Suspend or cancel what the file says is so, once all terms and contacts are there."""
        for contract_id, state in self.stopped.items():
            act = contracts.cancel if state == ContractState.CANCELLED else contracts.suspend
            act(db.session.get_one(Contract, contract_id), actor=self.actor, now=self.now)

    def _check_days(self, row: Row, starts_on: date, ends_on: date) -> None:
        days = self.days.setdefault(row["number"].lower(), [])
        if any(starts_on <= end and begin <= ends_on for begin, end in days):
            raise Invalid(f"The number {row['number']} stands in the file twice for the same days.", "number")
        days.append((starts_on, ends_on))

    def _add_contact(self, row: Row, seat: int, contract: Contract) -> None:
        prefix = f"contact{seat}"
        name, email = row[f"{prefix}_name"], row[f"{prefix}_email"]
        if not name and not email:
            return
        invite = self.invite and row["state"] != ContractState.CANCELLED
        try:
            contacts.name_contact(contract, name=name or email, email=email, seat=seat, actor=self.actor, now=self.now, invite=invite)
        except Invalid as error:
            raise Invalid(str(error), f"{prefix}_{error.field or 'email'}") from None
        except (Conflict, NotFound) as error:
            raise Invalid(str(error), f"{prefix}_email") from None


def _check_same(first: Row, row: Row) -> None:
    """Raise Invalid where a further row of a contract says something else of the contract than the first."""
    for column in (*COLUMNS, *OPTIONAL):
        if column not in {*_OF_TERM, "number"} and row[column] and row[column] != first[column]:
            raise Invalid(f"The first row of contract {first['number']} says {first[column] or 'nothing'}, this one {row[column]}.", column)


def _read_term(row: Row) -> tuple[date, date | None]:
    starts_on = _read_date(row, "starts_on")
    if starts_on is None:
        raise Invalid("Enter the first day.", "starts_on")
    ends_on = _read_date(row, "ends_on")
    contracts.check_reach(starts_on, "starts_on")
    contracts.check_reach(ends_on, "ends_on")
    return starts_on, ends_on


def _read_date(row: Row, column: str) -> date | None:
    if not row[column]:
        return None
    try:
        return date.fromisoformat(row[column])
    except ValueError:
        raise Invalid(f"{row[column]} is no date we can read. Write it like 2026-11-24.", column) from None


def rows(listed: Iterable[directory.ContractRow]) -> Iterator[Mapping[str, str]]:
    """Give a row for each term of the listed contracts, the earliest first, as `import_contracts` reads them."""
    for one in listed:
        for term in one.contract.terms:
            yield _row(one, term)


def _row(one: directory.ContractRow, term: Term) -> dict[str, str]:
    contract = one.contract
    organization: Organization = contract.organization
    seats: dict[int, Contact] = {contact.seat: contact for contact in one.contacts}
    row = {
        "number": contract.number,
        "organization": organization.name,
        "product": contract.product.slug,
        "starts_on": term.starts_on.isoformat(),
        "ends_on": term.ends_on.isoformat(),
        "time_zone": contract.time_zone,
    }
    for seat in (1, 2):
        person = seats[seat].user if seat in seats else None
        row[f"contact{seat}_name"] = person.label if person else ""
        row[f"contact{seat}_email"] = person.email if person else ""
    return row | {
        "price": orders.write_price(term.price_cents),
        "currency": term.currency,
        "order_reference": term.order_reference,
        "region": contract.region,
        "state": one.standing.state.value,
    }


def write(listed: Iterable[directory.ContractRow], file: TextIO) -> int:
    """Write the listed contracts as CSV that a spreadsheet opens without running anything; return how many rows there are."""
    writer = csv.DictWriter(file, [*COLUMNS, *OPTIONAL], lineterminator="\r\n")
    writer.writeheader()
    written = 0
    for row in rows(listed):
        writer.writerow({column: defuse(value) for column, value in row.items()})
        written += 1
    return written
