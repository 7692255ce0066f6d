"""CSV files that come in: all of a file or nothing of it, with every error named by row and column. Customers are one kind of them."""

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from io import StringIO
from typing import Any, TypeVar

import sqlalchemy as sa

from portal.account import contracts, opt_in, people
from portal.account.models import Organization
from portal.database import db
from portal.errors import Invalid, PortalError
from portal.products.models import Product
from portal.text import clean_line, undefuse

CUSTOMER_COLUMNS = ("email", "name", "organization")
MOST_ERRORS = 50

Row = Mapping[str, str]
Answer = TypeVar("Answer")
# Which column of the file a field of the portal stands in.
_COLUMNS = {"name": "organization"}
TOO_MANY_BYTES = 20_000_000


@dataclass
class Outcome:
    """What an import did: how many things were added, how many were there already, and how many people were asked by mail."""

    added: int = 0
    unchanged: int = 0
    asked: int = 0
    errors: list[str] = field(default_factory=list)


class Faults(PortalError):
    """All that is wrong with one row."""

    def __init__(self, found: list[PortalError]) -> None:
        super().__init__("\n".join(map(str, found)))
        self.found = found


class Checks:
    """Looks at one thing of a row after the other, and tells all that is wrong with it at once."""

    def __init__(self) -> None:
        self.found: list[PortalError] = []

    def ask(self, check: Callable[..., Answer], *arguments: Any, **named: Any) -> Answer | None:
        """Return what `check` returns, or None if it refuses."""
        try:
            return check(*arguments, **named)
        except PortalError as error:
            self.found.append(error)
            return None

    def end(self) -> None:
        """Raise Faults if anything was refused."""
        if self.found:
            raise Faults(self.found)


def read_rows(content: bytes, columns: tuple[str, ...], optional: tuple[str, ...] = ()) -> list[tuple[int, Row]]:
    """Return the rows of a CSV file with their line numbers. Empty lines are passed over; `optional` columns that are left out are empty.

    Raises Invalid when it is too large, is not UTF-8, a column is missing, unknown or named twice, or a row has too many or too
    few fields.
    """
    if len(content) > TOO_MANY_BYTES:
        raise Invalid(f"The file is larger than {TOO_MANY_BYTES // 1_000_000} MB. Cut it into several.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Invalid(f"The file is not UTF-8 (byte {error.start}). Save it as UTF-8 and try again.") from None
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if len(header) != len(set(header)) or not set(columns) <= set(header) <= {*columns, *optional}:
            also = f", and may name {', '.join(optional)}" if optional else ""
            raise Invalid(f"The first line must name the columns {', '.join(columns)}{also}. It names {', '.join(header) or 'none'}.")
        rows: list[tuple[int, Row]] = []
        for fields in reader:
            if not any(value.strip() for value in fields):
                continue
            if len(fields) != len(header):
                raise Invalid(f"Row {reader.line_num} has {len(fields)} fields; {len(header)} are needed.")
            row = {name: undefuse(value.strip()) for name, value in zip(header, fields, strict=True)}
            rows.append((reader.line_num, dict.fromkeys(optional, "") | row))
    except csv.Error as error:
        raise Invalid(f"Row {reader.line_num} cannot be read as CSV: {error}.") from None
    return rows


def import_customers(rows: Iterable[tuple[int, Row]], *, ask: Iterable[Product] = (), now: datetime) -> Outcome:
    """Add the people of `rows`, with their organisations. Somebody whose address is known is left as they are.

    Nobody is subscribed to anything. Everybody in `rows` who never was asked whether they want release notices of the products
    in `ask` is asked by mail.
    Raises Invalid that names every row and column at fault; the caller's transaction then takes all of it back.
    """
    organizations = {organization.name: organization for organization in db.session.scalars(sa.select(Organization))}
    addresses: dict[str, None] = {}

    def add(row: Row) -> bool:
        checks = Checks()
        address = checks.ask(people.normalize_email, row["email"])
        checks.ask(clean_line, row["name"], "name", 120, required=False)
        checks.ask(clean_line, row["organization"], "organization", 200, required=False)
        checks.end()
        assert address is not None, "no fault was found"
        addresses[address] = None
        known = people.find_person(address)
        if known is not None and not known.provisional:
            return False
        name = row["organization"]
        if name and name not in organizations:
            organizations[name] = contracts.create_organization(name, actor=None, now=now)
        people.add_customer(address, row["name"], organizations.get(name), actor=None, now=now)
        return True

    outcome = run(rows, add)
    outcome.asked = sum(opt_in.ask_customers(addresses, product, actor=None, now=now) for product in ask)
    return outcome


def run(rows: Iterable[tuple[int, Row]], add: Callable[[Row], bool | None]) -> Outcome:
    """Add each row by `add`, which says whether it was new; None means it belongs to one that was counted.

    Raises Invalid that names every row and column at fault; the caller's transaction then takes all of it back.
    """
    outcome = Outcome()
    for line, row in rows:
        try:
            with db.session.begin_nested():
                added = add(row)
        except PortalError as error:
            outcome.errors.extend(_line(line, fault) for fault in (error.found if isinstance(error, Faults) else [error]))
        else:
            outcome.added += added is True
            outcome.unchanged += added is False
    if outcome.errors:
        shown = outcome.errors[:MOST_ERRORS]
        rest = len(outcome.errors) - len(shown)
        raise Invalid("\n".join(["Nothing was imported.", *shown, *([f"And {rest} more."] if rest else [])]))
    return outcome


def _line(number: int, fault: PortalError) -> str:
    column = getattr(fault, "field", None)
    return f"Row {number}, {_COLUMNS.get(column, column)}: {fault}" if column else f"Row {number}: {fault}"
