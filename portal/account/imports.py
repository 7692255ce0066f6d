"""Contracts and customers from CSV files: all of a file or nothing of it, with every error named by row and column."""

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from io import StringIO

import sqlalchemy as sa

from portal.account import contacts, contracts, opt_in, people
from portal.account.models import Contract, Organization
from portal.database import db
from portal.errors import Conflict, Invalid, NotFound, PortalError
from portal.products.models import Product

CONTRACT_COLUMNS = (
    "number", "organization", "product", "starts_on", "ends_on", "time_zone",
    "contact1_name", "contact1_email", "contact2_name", "contact2_email",
)  # fmt: skip
CUSTOMER_COLUMNS = ("email", "name", "organization")
MOST_ERRORS = 50

Row = Mapping[str, str]
# Which column of the file a field of the portal stands in.
_COLUMNS = {"name": "organization"}


@dataclass
class Outcome:
    """What an import did: how many things were added, how many were there already, and how many people were asked by mail."""

    added: int = 0
    unchanged: int = 0
    asked: int = 0
    errors: list[str] = field(default_factory=list)


def read_rows(content: bytes, columns: tuple[str, ...]) -> list[tuple[int, Row]]:
    """Return the rows of a CSV file with their line numbers. Empty lines are passed over.

    Raises Invalid when it is not UTF-8, a column is missing or unknown, or a row has too many or too few fields.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Invalid(f"The file is not UTF-8 (byte {error.start}). Save it as UTF-8 and try again.") from None
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if sorted(header) != sorted(columns):
            raise Invalid(f"The first line must name the columns {', '.join(columns)}. It names {', '.join(header) or 'none'}.")
        rows: list[tuple[int, Row]] = []
        for fields in reader:
            if not any(value.strip() for value in fields):
                continue
            if len(fields) != len(header):
                raise Invalid(f"Row {reader.line_num} has {len(fields)} fields; {len(header)} are needed.")
            rows.append((reader.line_num, {name: value.strip() for name, value in zip(header, fields, strict=True)}))
    except csv.Error as error:
        raise Invalid(f"Row {reader.line_num} cannot be read as CSV: {error}.") from None
    return rows


def import_contracts(rows: Iterable[tuple[int, Row]], *, default_zone: str, invite: bool, now: datetime) -> Outcome:
    """Add the contracts of `rows`, with organisations and contacts. One whose number exists is left as it is.

    Raises Invalid that names every row and column at fault; the caller's transaction then takes all of it back.
    """
    products = {product.slug: product for product in db.session.scalars(sa.select(Product))}

    seen: set[str] = set()

    def add(row: Row) -> bool:
        if row["number"] in seen:
            raise Invalid(f"The number {row['number']} stands in the file twice.", "number")
        seen.add(row["number"])
        return _import_contract(row, products, default_zone, invite=invite, now=now)

    return _run(rows, add)


def import_customers(rows: Iterable[tuple[int, Row]], *, ask: Iterable[Product] = (), now: datetime) -> Outcome:
    """Add the people of `rows`, with their organisations. Somebody whose address is known is left as they are.

    Nobody is subscribed to anything. Everybody in `rows` who never was asked whether they want release notices of the products
    in `ask` is asked by mail.
    Raises Invalid that names every row and column at fault; the caller's transaction then takes all of it back.
    """
    organizations = {organization.name: organization for organization in db.session.scalars(sa.select(Organization))}
    addresses: dict[str, None] = {}

    def add(row: Row) -> bool:
        address = people.normalize_email(row["email"])
        addresses[address] = None
        known = people.find_person(address)
        if known is not None and not known.provisional:
            return False
        name = row["organization"]
        if name and name not in organizations:
            organizations[name] = contracts.create_organization(name, actor=None, now=now)
        people.add_customer(address, row["name"], organizations.get(name), actor=None, now=now)
        return True

    outcome = _run(rows, add)
    outcome.asked = sum(opt_in.ask_customers(addresses, product, actor=None, now=now) for product in ask)
    return outcome


def _run(rows: Iterable[tuple[int, Row]], add: Callable[[Row], bool]) -> Outcome:
    outcome = Outcome()
    for line, row in rows:
        try:
            with db.session.begin_nested():
                added = add(row)
        except PortalError as error:
            column = getattr(error, "field", None)
            outcome.errors.append(f"Row {line}, {_COLUMNS.get(column, column)}: {error}" if column else f"Row {line}: {error}")
        else:
            outcome.added += added
            outcome.unchanged += not added
    if outcome.errors:
        shown = outcome.errors[:MOST_ERRORS]
        rest = len(outcome.errors) - len(shown)
        raise Invalid("\n".join(["Nothing was imported.", *shown, *([f"And {rest} more."] if rest else [])]))
    return outcome


def _import_contract(row: Row, products: Mapping[str, Product], default_zone: str, *, invite: bool, now: datetime) -> bool:
    product = products.get(row["product"])
    if product is None:
        raise Invalid(f"There is no product {row['product'] or 'without a name'}.", "product")
    starts_on = _read_date(row, "starts_on")
    if starts_on is None:
        raise Invalid("Enter the first day.", "starts_on")
    known = db.session.scalar(sa.select(Contract).where(Contract.number == row["number"]))
    if known is not None:
        if known.organization.name != row["organization"] or known.product_id != product.id:
            raise Conflict(f"Contract {known.number} exists for another organisation or product.")
        return False
    organization = contracts.find_or_create_organization(row["organization"], actor=None, now=now)
    contract = contracts.create_contract(
        row["number"], organization, product, starts_on,
        ends_on=_read_date(row, "ends_on"), time_zone=row["time_zone"] or default_zone, actor=None, now=now,
    )  # fmt: skip
    for number in ("1", "2"):
        _import_contact(row, f"contact{number}", contract, invite=invite, now=now)
    return True


def _import_contact(row: Row, prefix: str, contract: Contract, *, invite: bool, now: datetime) -> None:
    name, email = row[f"{prefix}_name"], row[f"{prefix}_email"]
    if not name and not email:
        return
    try:
        contacts.name_contact(contract, name=name or email, email=email, actor=None, now=now, invite=invite)
    except Invalid as error:
        raise Invalid(str(error), f"{prefix}_{error.field or 'email'}") from None
    except (Conflict, NotFound) as error:
        raise Invalid(str(error), f"{prefix}_email") from None


def _read_date(row: Row, column: str) -> date | None:
    if not row[column]:
        return None
    try:
        return date.fromisoformat(row[column])
    except ValueError:
        raise Invalid(f"{row[column]} is no date we can read. Write it like 2026-11-24.", column) from None
