"""Pages of a list by key: a page begins after (or ends before) a row's sort key, so it costs the same however deep it lies.

All keys sort downwards. The last one must be unique, so that no row is shown twice or skipped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from portal.database import UtcDateTime, db

PAGE_SIZE = 20
_SEPARATOR = "~"
_LARGEST = 2**31 - 1
_LARGEST_BIG = 2**63 - 1

Key = sa.ColumnElement[Any]


@dataclass(frozen=True)
class Place:
    """Where a page begins or ends, as it came in the address. Anything unreadable means the first page."""

    after: str | None = None
    before: str | None = None


@dataclass(frozen=True)
class Page:
    """The rows of a page, and the keys for `before` and `after` of its neighbours, None where there is none."""

    rows: list[Any]
    newer: str | None
    older: str | None


def fetch(statement: sa.Select[*tuple[Any, ...]], keys: Sequence[Key], place: Place, size: int = PAGE_SIZE) -> Page:
    """Return one page of `statement`'s rows, sorted by `keys`."""
    after = _decode(place.after, keys)
    before = None if after else _decode(place.before, keys)
    rows = _rows(statement, keys, after, before, size)
    if not rows and (after or before):  # all of that page is gone: begin again
        after = before = None
        rows = _rows(statement, keys, None, None, size)
    more = len(rows) > size
    rows = rows[:size]
    if before:
        rows.reverse()
    further_up = more if before else after is not None
    further_down = before is not None or more
    return Page(
        [tuple(row)[: -len(keys)] for row in rows],
        _encode(rows[0], keys) if rows and further_up else None,
        _encode(rows[-1], keys) if rows and further_down else None,
    )


def _rows(
    statement: sa.Select[*tuple[Any, ...]], keys: Sequence[Key], after: list[Any] | None, before: list[Any] | None, size: int
) -> list[sa.Row[Any]]:
    statement = statement.add_columns(*(key.label(f"key_{number}") for number, key in enumerate(keys)))
    if after:
        statement = statement.where(sa.tuple_(*keys) < _bound(after, keys))
    elif before:
        statement = statement.where(sa.tuple_(*keys) > _bound(before, keys))
    order = [key.asc() if before else key.desc() for key in keys]
    return list(db.session.execute(statement.order_by(*order).limit(size + 1)))


def _bound(values: list[Any], keys: Sequence[Key]) -> sa.Tuple:
    return sa.tuple_(*(sa.literal(value, key.type) for value, key in zip(values, keys, strict=True)))


def _encode(row: sa.Row[Any], keys: Sequence[Key]) -> str:
    values = tuple(row)[-len(keys) :]
    return _SEPARATOR.join(value.isoformat() if isinstance(value, datetime) else str(int(value)) for value in values)


def _decode(text: str | None, keys: Sequence[Key]) -> list[Any] | None:
    parts = text.split(_SEPARATOR) if text else []
    if len(parts) != len(keys):
        return None
    try:
        return [_read(part, key) for part, key in zip(parts, keys, strict=True)]
    except (ValueError, OverflowError):
        return None


def _read(text: str, key: Key) -> Any:
    """Read one value of a key. Raises ValueError or OverflowError for what no key of ours can be."""
    if isinstance(key.type, UtcDateTime):
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is None:
            raise ValueError("an instant without a zone")
        return instant.astimezone(UTC)
    number = int(text)
    if abs(number) > (_LARGEST_BIG if isinstance(key.type, sa.BigInteger) else _LARGEST):
        raise ValueError("a number no key can be")
    return number
