"""What people may ask for: a copy of their data, and to be erased (GDPR, articles 15, 17 and 20).

Erasing takes name and address from everywhere, and leaves what counts: who was entitled when, what the organisation wrote and voted
for, how often a build was taken, with "Erased person" in place of the name.
"""

import json
import re
import uuid
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any

import sqlalchemy as sa

from portal import audit
from portal.account import personal_data, sessions
from portal.account.models import ERASED, Contact, Contract, User
from portal.account.personal_data import OWN, plain
from portal.audit import AuditEvent
from portal.database import Base, db
from portal.errors import Conflict, NotFound
from portal.notices import suppression
from portal.notices.models import OPEN_STATES, Delivery, DeliveryState, Notice
from portal.storage import Missing, store

PERSON_ERASED = "person erased"
# A name shorter than this is looked for only where we know it is the person's: it stands in too many other words.
DISTINCT_NAME = 6
_ACCOUNT = ("email", "name", "time_zone", "created_at", "active")
_README = """This is everything the portal keeps about you, as it was at {now}.

account.json      your account
*.json            one file for each kind of thing, as lists of objects; times are in UTC
files/            the files you attached to feedback

Passwords, codes and tokens are not in it: we keep only fingerprints of them, which nobody can read back.
"""


# A copy --------------------------------------------------------------------------------------------------------------------------


def write_copy(person: User, file: IO[bytes], *, now: datetime) -> None:
    """Write everything kept about `person` into `file`, as a zip archive."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README.txt", _README.format(now=now.isoformat()))
        _add(archive, "account.json", _account(person))
        for kept in OWN:
            rows = list(personal_data.rows_of(kept, person.id))
            if rows:
                _add(archive, f"{kept.table}.json", rows)
        held = suppression.find(person.email)
        if held is not None:
            _add(archive, "suppressions.json", [{"address": held.address, "reason": held.reason, "since": plain(held.created_at)}])
        _add_files(archive, person)


def note_copy(person: User, *, actor: User | None, now: datetime) -> None:
    """Record that a copy of a person's data was made."""
    audit.record("person.data_exported", subject_type="user", subject_id=person.id, actor=actor, now=now)


def _account(person: User) -> dict[str, Any]:
    account = {name: plain(getattr(person, name)) for name in _ACCOUNT}
    return {**account, "organization": person.organization.name if person.organization else None}


def _add(archive: zipfile.ZipFile, name: str, data: Any) -> None:
    archive.writestr(name, json.dumps(data, ensure_ascii=False, indent=2, default=str))


def _add_files(archive: zipfile.ZipFile, person: User) -> None:
    """Add what the person attached to feedback, each under a number, since two may have one name. What is lost is left out."""
    table = Base.metadata.tables["feedback_attachments"]
    rows = db.session.execute(
        sa.select(table.c.id, table.c.filename, table.c.sha256).where(table.c.user_id == person.id).order_by(table.c.id)
    )
    for number, filename, digest in rows.all():
        try:
            chunks = store().read(digest)
            first = next(chunks, b"")
        except Missing:
            continue
        with archive.open(f"files/{number}-{filename}", "w") as member:
            member.write(first)
            for chunk in chunks:
                member.write(chunk)


# Erasing -------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Erasure:
    """What erasing a person would mean, for whoever is to confirm it. `obstacle` says why it cannot be done now."""

    person: User
    obstacle: str | None
    kept: dict[str, int]


def look(person_id: int) -> Erasure:
    """Say what erasing a person would mean. Raises NotFound for nobody, and for somebody who is erased already."""
    person = db.session.get(User, person_id)
    if person is None or person.erased_at is not None:
        raise NotFound("There is no such person.")
    return Erasure(person, _obstacle(person), _counts(person))


def erase(person_id: int, *, actor: User | None, now: datetime) -> None:
    """Take a person's name and address from everywhere.

    The row stays, without a name, so that counts and the organisation's feedback stay. An address that no mail may go to is kept
    as a keyed hash, so that it gets none when somebody types it in again.
    Raises NotFound; Conflict for somebody who holds a seat or a role, since those are to be handed on first, and for oneself.
    """
    person = db.session.scalar(sa.select(User).where(User.id == person_id, User.erased_at.is_(None)).with_for_update(of=User))
    if person is None:
        raise NotFound("There is no such person.")
    obstacle = _obstacle(person)
    if obstacle is None and actor is not None and actor.id == person.id:
        obstacle = "You cannot erase yourself. Ask a colleague."
    if obstacle is not None:
        raise Conflict(obstacle)
    words = _Words.of(person, _addresses(person))
    for address in words.addresses:
        suppression.keep_as_hash(address, now=now)
    _stop_mail(person, now)
    _scrub_notices(person, words)
    _scrub_log(person, words)
    sessions.end_all(person, now=now)
    _drop_waiting_files(person)
    for kept in OWN:
        personal_data.erase_rows(kept, person.id)
    db.session.flush()
    db.session.expire(person)
    person.email = f"erased-{person.id}@erased.invalid"
    person.name, person.password, person.time_zone, person.organization_id = "", None, None, None
    person.active, person.provisional, person.fs_uniquifier, person.erased_at = False, False, uuid.uuid4().hex, now
    db.session.flush()
    audit.record("person.erased", subject_type="user", subject_id=person.id, actor=actor, now=now)


def _obstacle(person: User) -> str | None:
    held = list(
        db.session.scalars(
            sa.select(Contract.number)
            .join(Contact, Contact.contract_id == Contract.id)
            .where(Contact.user_id == person.id, Contact.released_at.is_(None))
            .order_by(Contract.number)
        )
    )
    if held:
        return f"{person.label} holds a seat of {' and '.join(held)}. Replace or release the contact first."
    if person.is_staff:
        return f"{person.label} is a member of staff. Take all roles away first."
    return None


def _counts(person: User) -> dict[str, int]:
    """How much of the person stays, without the name, by table."""
    counts = {}
    for kept in OWN:
        if kept.erase is not personal_data.Erase.DELETE:
            table = Base.metadata.tables[kept.table]
            counts[kept.table] = db.session.scalar(sa.select(sa.func.count()).where(table.c[kept.column] == person.id)) or 0
    return {name: number for name, number in counts.items() if number}


def _addresses(person: User) -> list[str]:
    """Every address we knew the person by: today's, those mail was made for, and those of changes."""
    changed = Base.metadata.tables["email_changes"]
    found = {person.email, *db.session.scalars(sa.select(Delivery.address).where(Delivery.user_id == person.id).distinct())}
    for column in (changed.c.old_email, changed.c.new_email):
        found.update(db.session.scalars(sa.select(column).where(changed.c.user_id == person.id)))
    others = set(db.session.scalars(sa.select(User.email).where(User.email.in_(found), User.id != person.id)))
    return sorted(address for address in found - others if address)


@dataclass(frozen=True)
class _Words:
    """What tells who somebody is: their name and addresses, and how to take them out of a text."""

    name: str
    addresses: list[str]
    pattern: re.Pattern[str]

    @classmethod
    def of(cls, person: User, addresses: list[str]) -> "_Words":
        words = sorted({*addresses, *([person.name] if person.name else [])}, key=len, reverse=True)
        return cls(person.name, addresses, re.compile("|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in words), re.IGNORECASE))

    def searched(self) -> Iterable[str]:
        """What to look for where anybody's name may stand, as JSON spells it."""
        distinct = [self.name] if len(self.name) >= DISTINCT_NAME else []
        return [json.dumps(word)[1:-1] for word in [*self.addresses, *distinct]]

    def out_of(self, value: Any) -> Any:
        """Return a JSON value without them."""
        if isinstance(value, str):
            return self.pattern.sub(ERASED, value)
        if isinstance(value, list):
            return [self.out_of(one) for one in value]
        if isinstance(value, dict):
            return {key: self.out_of(one) for key, one in value.items()}
        return value

    def stand_in(self, column: Any) -> sa.ColumnElement[bool]:
        """A condition: the JSON in `column` mentions them."""
        text = sa.cast(column, sa.Text)
        return sa.or_(sa.false(), *(text.icontains(word, autoescape=True) for word in self.searched()))


def _stop_mail(person: User, now: datetime) -> None:
    """Skip what waits to be sent to the person."""
    waiting = sa.update(Delivery).where(Delivery.user_id == person.id, Delivery.state.in_(OPEN_STATES))
    db.session.execute(
        waiting.values(state=DeliveryState.SKIPPED, reason=PERSON_ERASED, settled_at=now, next_attempt_at=None, lease_id=None)
        .execution_options(synchronize_session=False)
    )  # fmt: skip


def _scrub_notices(person: User, words: _Words) -> None:
    """Take name and address out of what notices were made from; the made-up text of those about one person goes altogether."""
    theirs = sa.select(Delivery.notice_id).where(Delivery.user_id == person.id)
    somebody_else = sa.exists().where(Delivery.notice_id == Notice.id, Delivery.user_id != person.id)
    alone = sa.and_(Notice.id.in_(theirs), sa.not_(somebody_else))
    seats = sa.select(Contact.id).where(Contact.user_id == person.id)
    of_seats = sa.or_(*(Notice.context[name].as_integer().in_(seats) for name in ("contact_id", "released_id")))
    known = sa.or_(alone, of_seats, Notice.created_by_id == person.id)  # however short the name is
    for notice in db.session.scalars(
        sa.select(Notice).where(sa.or_(known, words.stand_in(Notice.context), words.stand_in(Notice.compiled)))
    ):
        notice.context = words.out_of(notice.context)
        notice.compiled = None
    db.session.flush()


def _scrub_log(person: User, words: _Words) -> None:
    concerned = sa.or_(AuditEvent.actor_id == person.id, AuditEvent.person_id == person.id, words.stand_in(AuditEvent.details))
    with audit.opened("a person is erased"):
        for event in db.session.scalars(sa.select(AuditEvent).where(concerned)):
            event.details = words.out_of(event.details)
            if event.actor_id == person.id:
                event.actor, event.address = ERASED, None


def _drop_waiting_files(person: User) -> None:
    """Delete what was attached to drafts, which go too."""
    table = Base.metadata.tables["feedback_attachments"]
    drafts = Base.metadata.tables["feedback_drafts"]
    mine = sa.select(drafts.c.id).where(drafts.c.user_id == person.id)
    db.session.execute(sa.delete(table).where(table.c.draft_id.in_(mine)))
