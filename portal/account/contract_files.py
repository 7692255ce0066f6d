"""Contracts as CSV files: what goes out comes back the same.

A row is a term. Rows with one number are the terms of one contract; what is the contract's own stands in each of them, or in
the first alone. A file that names a contract once, as most do, is one of contracts with one term.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from typing import TextIO

import sqlalchemy as sa

from portal.account import contacts, contracts, directory, imports, orders, people
from portal.account.contracts import ContractState
from portal.account.imports import Row
from portal.account.models import SEATS, Contact, Contract, Organization, Term, User
from portal.database import db
from portal.errors import Conflict, Invalid, NotFound
from portal.products.models import Product
from portal.text import clean_line, defuse

COLUMNS = (
    "number", "organization", "product", "starts_on", "ends_on", "time_zone",
    "contact1_name", "contact1_email", "contact2_name", "contact2_email",
)  # fmt: skip
OPTIONAL = ("price", "currency", "order_reference", "region", "state")
_OF_TERM = {"starts_on", "ends_on", "price", "currency", "order_reference"}
_OF_CONTRACT = tuple(column for column in (*COLUMNS, *OPTIONAL) if column not in {*_OF_TERM, "number"})
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
        checks = imports.Checks()
        product = checks.ask(self._product, row, first)
        starts_on = checks.ask(_read_start, row)
        ends_on = checks.ask(_read_date, row, "ends_on")
        if starts_on is not None:
            checks.ask(contracts.check_days, starts_on, ends_on or starts_on)
            checks.ask(self._check_days, row, starts_on, ends_on or contracts.term_end(starts_on, 1))
        order = _read_order(checks, row)
        checks.ask(_check_state, row)
        if first is not row:
            for column in _OF_CONTRACT:
                checks.ask(_check_same, first, row, column)
        known = self._known(checks, row, product) if first is row else None
        if first is row and known is None:
            self._check_new(checks, row)
        checks.end()
        assert product is not None
        assert starts_on is not None
        if first is not row:
            if key in self.made:
                contracts.add_past_term(self.made[key], starts_on, ends_on, order, now=self.now)
            return None
        if known is not None:
            return False
        contract = contracts.create_contract(
            row["number"], contracts.find_or_create_organization(row["organization"], actor=self.actor, now=self.now), product, starts_on,
            ends_on=ends_on, time_zone=row["time_zone"] or self.default_zone, region=row["region"], order=order,
            actor=self.actor, now=self.now,
        )  # fmt: skip
        if row["state"] and row["state"] not in _DERIVED:
            self.stopped[contract.id] = row["state"]
        for seat in SEATS:
            checks.ask(self._add_contact, row, seat, contract)
        checks.end()
        self.made[key] = contract
        return True

    def _product(self, row: Row, first: Row) -> Product:
        product = self.products.get(row["product"] or first["product"])
        if product is None:
            raise Invalid(f"There is no product {row['product'] or 'without a name'}.", "product")
        return product

    def _known(self, checks: imports.Checks, row: Row, product: Product | None) -> Contract | None:
        """Return the contract of the row's number, which is left as it is; it has to be the same one."""
        known = db.session.scalar(sa.select(Contract).where(sa.func.lower(Contract.number) == row["number"].lower()))
        if known is not None:
            checks.ask(_check_known, known, row, product)
        return known

    def _check_new(self, checks: imports.Checks, row: Row) -> None:
        """Look at what a new contract needs, column by column, before any of it is made."""
        checks.ask(contracts.check_number, row["number"])
        name = checks.ask(clean_line, row["organization"], "organization", 200)
        organization = contracts.find_organization(name) if name else None
        checks.ask(contracts.check_zone, row["time_zone"] or self.default_zone)
        checks.ask(contracts.check_region, row["region"])
        for seat in SEATS:
            if _names_somebody(row, seat):
                checks.ask(clean_line, row[f"contact{seat}_name"] or row[f"contact{seat}_email"], f"contact{seat}_name", 120)
                checks.ask(self._check_address, row, seat, organization)

    def _check_address(self, row: Row, seat: int, organization: Organization | None) -> None:
        column = f"contact{seat}_email"
        try:
            address = people.normalize_email(row[column])
            if seat > 1 and address == row["contact1_email"].lower():
                raise Invalid(f"{address} already holds a seat of contract {row['number']}.")
            person = people.find_person(address)
            if person is not None and (person.organization_id is not None or person.is_staff or not person.active):
                contacts.refuse_stranger(person, organization, self.actor)
        except Invalid as error:
            raise Invalid(str(error), column) from None

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
        if not _names_somebody(row, seat):
            return
        name, email = row[f"contact{seat}_name"], row[f"contact{seat}_email"]
        invite = self.invite and row["state"] != ContractState.CANCELLED
        try:
            contacts.name_contact(contract, name=name or email, email=email, seat=seat, actor=self.actor, now=self.now, invite=invite)
        except (Invalid, Conflict, NotFound) as error:
            raise Invalid(str(error), f"contact{seat}_email") from None


def _names_somebody(row: Row, seat: int) -> bool:
    return bool(row[f"contact{seat}_name"] or row[f"contact{seat}_email"])


def _read_order(checks: imports.Checks, row: Row) -> orders.Order:
    """Return what the row says of price and order, each looked at by itself; what is wrong is as usual."""
    usual = orders.usual()
    price = checks.ask(orders.read, row["price"], "", "", instead=usual) or usual
    currency = checks.ask(orders.read, "", row["currency"], "", instead=usual) or usual
    reference = checks.ask(orders.read, "", "", row["order_reference"], instead=usual) or usual
    return orders.Order(price.price_cents, currency.currency, reference.reference)


def _check_state(row: Row) -> None:
    if row["state"] not in {"", *ContractState}:
        raise Invalid(f"{row['state']} is no state of a contract. Write {', '.join(ContractState)}, or nothing.", "state")


def _check_known(known: Contract, row: Row, product: Product | None) -> None:
    if known.organization.name.lower() != row["organization"].lower() or (product is not None and known.product_id != product.id):
        raise Conflict(f"Contract {known.number} exists for another organisation or product.")


def _check_same(first: Row, row: Row, column: str) -> None:
    """Raise Invalid where a further row of a contract says something else of the contract than the first."""
    if row[column] and row[column] != first[column]:
        raise Invalid(f"The first row of contract {first['number']} says {first[column] or 'nothing'}, this one {row[column]}.", column)


def _read_start(row: Row) -> date:
    starts_on = _read_date(row, "starts_on")
    if starts_on is None:
        raise Invalid("Enter the first day.", "starts_on")
    return starts_on


def _read_date(row: Row, column: str) -> date | None:
    if not row[column]:
        return None
    try:
        day = date.fromisoformat(row[column])
    except ValueError:
        raise Invalid(f"{row[column]} is no date we can read. Write it like 2026-11-24.", column) from None
    contracts.check_reach(day, column)
    return day


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
