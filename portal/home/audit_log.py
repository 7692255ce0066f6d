"""The audit log as an admin reads it: searched by person, act, subject and day, paged by key, exported.

A page costs the same few statements however long the log is.
"""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, TextIO
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from portal.account.models import Contract, Organization, StaffToken, User
from portal.audit import AuditEvent
from portal.database import db
from portal.errors import Invalid
from portal.feedback.models import Item
from portal.notices.models import Announcement, Notice
from portal.products.models import Product
from portal.releases.models import Release
from portal.text import defuse

PAGE = 50
BATCH = 1_000
# How many people a name may stand for; a search that finds more is too wide to be of use.
MOST_PEOPLE = 200
COLUMNS = ("id", "at", "actor_id", "actor", "action", "subject_type", "subject_id", "person_id", "source", "address", "details")


@dataclass(frozen=True)
class Search:
    """What is looked for; what is empty does not count.

    `person` is a part of a name or address of who acted or was concerned, `action` the beginning of an act's name, `subject` a
    contract's number, a product, an address, an organisation's name, or a kind with its number ("notice 12"). Days are civil days
    in `zone`, both included.
    """

    person: str = ""
    action: str = ""
    subject: str = ""
    since: date | None = None
    until: date | None = None
    zone: str = "UTC"

    def __bool__(self) -> bool:
        return bool(self.person or self.action or self.subject or self.since or self.until)


@dataclass(frozen=True)
class Line:
    """An event, what its subject is called today (None for what is gone), and the person concerned, where that is somebody else."""

    event: AuditEvent
    subject: str | None
    person: str | None

    @property
    def changes(self) -> list[tuple[str, Any, Any]]:
        """What was changed: name, before, after."""
        details = self.event.details
        before, after = details.get("before"), details.get("after")
        pairs = [(name, *pair) for name, pair in (details.get("changes") or {}).items()]
        if isinstance(before, dict) or isinstance(after, dict):
            old, new = before or {}, after or {}
            names = [*old, *(name for name in new if name not in old)]
            pairs += [(name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)]
        elif "before" in details or "after" in details:
            pairs.append(("value", before, after))
        return pairs

    @property
    def rest(self) -> dict[str, Any]:
        """What else the event says."""
        apart = {"changes", "before", "after", "user_id"}
        return {name: value for name, value in self.event.details.items() if name not in apart and value not in (None, "")}


@dataclass(frozen=True)
class Page:
    """Some lines, and the key before which the next page begins (None at the end)."""

    lines: Sequence[Line]
    next_key: int | None


def page(search: Search, before_id: int | None = None, *, size: int = PAGE) -> Page:
    """Return the latest events that match, before the key `before_id`. Raises Invalid for a search that finds too many people."""
    wanted = _matching(search).order_by(AuditEvent.id.desc()).limit(size + 1)
    if before_id is not None:
        wanted = wanted.where(AuditEvent.id < before_id)
    events = list(db.session.scalars(wanted))
    shown = events[:size]
    return Page(_lines(shown), shown[-1].id if len(events) > size else None)


def actions() -> list[str]:
    """Return the names of all acts that ever happened: from one to the next by the index, so that a long log costs nothing."""
    first = sa.select(sa.func.min(AuditEvent.action).label("name")).cte("found", recursive=True)
    following = sa.select(sa.func.min(AuditEvent.action)).where(AuditEvent.action > first.c.name).scalar_subquery()
    found = first.union_all(sa.select(following).where(first.c.name.is_not(None)))
    return list(db.session.scalars(sa.select(found.c.name).where(found.c.name.is_not(None))))


def rows(search: Search, *, after_id: int = 0, limit: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield the matching events by id, after the key `after_id`, for other programs."""
    left = limit
    columns = _matching(search).with_only_columns(*(getattr(AuditEvent, name) for name in COLUMNS)).order_by(AuditEvent.id)
    while left is None or left > 0:
        size = BATCH if left is None else min(BATCH, left)
        batch = db.session.execute(columns.where(AuditEvent.id > after_id).limit(size)).all()
        for row in batch:
            yield {**row._mapping, "at": row.at.isoformat()}
        if len(batch) < size:
            return
        after_id, left = batch[-1].id, None if left is None else left - size


def write_csv(events: Iterator[dict[str, Any]], file: TextIO) -> None:
    """Write events as CSV that a spreadsheet opens without running anything; details as JSON in one cell."""
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for event in events:
        cells = {**event, "details": json.dumps(event["details"], ensure_ascii=False)}
        writer.writerow([defuse("" if cells[column] is None else str(cells[column])) for column in COLUMNS])


def write_json(events: Iterator[dict[str, Any]], file: TextIO) -> None:
    """Write events as an array of objects, one a line, without holding them all."""
    file.write("[")
    for number, event in enumerate(events):
        file.write(("," if number else "") + "\n" + json.dumps(event, ensure_ascii=False))
    file.write("\n]\n")


WRITERS: Mapping[str, Callable[[Iterator[dict[str, Any]], TextIO], None]] = {"csv": write_csv, "json": write_json}


# Finding -------------------------------------------------------------------------------------------------------------------------


def _matching(search: Search) -> sa.Select[AuditEvent]:
    wanted = sa.select(AuditEvent)
    if search.person:
        ids = _people(search.person)
        wanted = wanted.where(
            sa.or_(
                AuditEvent.actor_id.in_(ids), AuditEvent.person_id.in_(ids),
                sa.and_(AuditEvent.actor_id.is_(None), AuditEvent.actor == search.person.lower()),
            )
        )  # fmt: skip
    if search.action:
        # By whole names, which the index finds in any collation.
        wanted = wanted.where(AuditEvent.action.in_([name for name in actions() if name.startswith(search.action)]))
    if search.subject:
        found = _subjects(search.subject)
        same = [sa.and_(AuditEvent.subject_type == kind, AuditEvent.subject_id.in_(ids)) for kind, ids in found.items()]
        wanted = wanted.where(sa.or_(sa.false(), *same))
    zone = ZoneInfo(search.zone)
    if search.since:
        wanted = wanted.where(AuditEvent.at >= datetime.combine(search.since, time.min, zone))
    if search.until and search.until < date.max:
        wanted = wanted.where(AuditEvent.at < datetime.combine(search.until + timedelta(days=1), time.min, zone))
    return wanted


def _people(text: str) -> list[int]:
    holds = sa.or_(User.email.icontains(text, autoescape=True), User.name.icontains(text, autoescape=True))
    ids = list(db.session.scalars(sa.select(User.id).where(holds).limit(MOST_PEOPLE + 1)))
    if len(ids) > MOST_PEOPLE:
        raise Invalid(f"More than {MOST_PEOPLE} people match. Enter more of the name or address.", "person")
    return ids


def _subjects(text: str) -> dict[str, list[int]]:
    """Return the ids, by kind, of what `text` may name."""
    kind, _, number = text.rpartition(" ")
    if kind and number.isascii() and number.isdigit() and len(number) < 10:
        known = kind.strip().lower().replace(" ", "_")
        return {{"feedback": "feedback_item", "person": "user"}.get(known, known): [int(number)]}
    lowered = text.lower()
    product, _, version = lowered.rpartition(" ")
    asked = {
        "contract": sa.select(Contract.id).where(sa.func.lower(Contract.number) == lowered),
        "user": sa.select(User.id).where(User.email == lowered),
        "organization": sa.select(Organization.id).where(sa.func.lower(Organization.name) == lowered),
        "product": sa.select(Product.id).where(sa.or_(Product.slug == lowered, sa.func.lower(Product.name) == lowered)),
        "release": sa.select(Release.id)
        .join(Product, Product.id == Release.product_id)
        .where(Release.version == (version or lowered))
        .where(sa.or_(Product.slug == product, sa.func.lower(Product.name) == product, sa.literal(not product))),
    }
    return {kind: list(db.session.scalars(statement.limit(MOST_PEOPLE))) for kind, statement in asked.items()}


# Showing -------------------------------------------------------------------------------------------------------------------------

_RELEASE_NAME = sa.select(Release.id, Product.name + " " + Release.version).join(Product, Product.id == Release.product_id)
_NAMES: Mapping[str, sa.Select[int, str]] = {
    "contract": sa.select(Contract.id, Contract.number),
    "organization": sa.select(Organization.id, Organization.name),
    "product": sa.select(Product.id, Product.name),
    "release": _RELEASE_NAME,
    "feedback_item": sa.select(Item.id, Item.title),
    "announcement": sa.select(Announcement.id, Announcement.subject),
    "notice": sa.select(Notice.id, Notice.kind),
    "staff_token": sa.select(StaffToken.id, StaffToken.label),
}


def _lines(events: Sequence[AuditEvent]) -> list[Line]:
    """Give events the names of what they are about: one statement for each kind of thing."""
    names: dict[tuple[str, int], str] = {}
    for kind, statement in _NAMES.items():
        ids = {event.subject_id for event in events if event.subject_type == kind and event.subject_id is not None}
        if ids:
            key = statement.selected_columns[0]
            names.update({(kind, row[0]): str(row[1]) for row in db.session.execute(statement.where(key.in_(ids)))})
    people = _labels({event.person_id for event in events if event.person_id is not None})
    return [_line(event, names, people) for event in events]


def _labels(ids: set[int]) -> dict[int, str]:
    if not ids:
        return {}
    found = db.session.scalars(sa.select(User).where(User.id.in_(ids)).options(sa.orm.lazyload(User.organization)))
    return {person.id: person.label for person in found}


def _line(event: AuditEvent, names: Mapping[tuple[str, int], str], people: Mapping[int, str]) -> Line:
    concerned = people.get(event.person_id) if event.person_id is not None else None
    if event.subject_type == "user":
        return Line(event, concerned, None)
    subject = names.get((event.subject_type, event.subject_id)) if event.subject_id is not None else None
    return Line(event, subject, concerned if event.person_id != event.actor_id else None)
