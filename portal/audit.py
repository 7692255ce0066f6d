"""The audit log: who did what to which thing, when, from where. Rows are only ever added.

An event is written in the transaction of the act it describes, so there is no act without its event and no event
without its act. It holds no secret: no password, no token, no body of a mail. The database itself refuses to change or delete a
row (triggers, see migration 0007); `opened` is the one way around, for erasing a person and for retention.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from portal.database import Base, db

SYSTEM = "system"
# How much of a long text a change shows; the whole text stands where it was changed.
LONGEST_VALUE = 200
# What an event must not be told under any name. Identifiers of tokens are fine, their text is not.
SECRETS = frozenset(
    {"password", "token", "token_hash", "nonce", "secret", "code", "codes", "recovery_codes", "totp", "cookie", "credential"}
)


class AuditEvent(Base):
    """One act. `actor_id` is None for commands and the worker; `actor` names whoever it was in words.

    `person_id` is the person whom the act concerns, where there is one. `source` says where it was done: "web", the name of a
    staff token, a command or the worker; `address` is the client's network address, forgotten after AUDIT_ADDRESS_DAYS.
    """

    __tablename__ = "audit_events"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    actor_id: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"), index=True)
    actor: Mapped[str] = mapped_column(sa.String(320))
    action: Mapped[str] = mapped_column(sa.String(80), index=True)
    subject_type: Mapped[str] = mapped_column(sa.String(40))
    subject_id: Mapped[int | None]
    # No foreign key: an event may outlive people who only ever typed an address into a public form.
    person_id: Mapped[int | None] = mapped_column(index=True)
    source: Mapped[str] = mapped_column(sa.String(120), default="")
    address: Mapped[str | None] = mapped_column(sa.String(45))
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)

    __table_args__ = (sa.Index("ix_audit_events_subject", "subject_type", "subject_id"),)


class AuditOpening(Base):
    """While a row is here, the triggers let the log be changed. It is made and removed in one transaction, so nobody else ever
    sees it."""

    __tablename__ = "audit_openings"

    id: Mapped[int] = mapped_column(primary_key=True)
    reason: Mapped[str] = mapped_column(sa.String(80))


class Actor(Protocol):
    """Who acts: in practice a `User`, which lives on a higher floor."""

    @property
    def id(self) -> Any: ...
    @property
    def label(self) -> str: ...


# From where ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Origin:
    """Where an act comes from. `address` is a network address, if it came over the network."""

    source: str
    address: str | None = None


_current: ContextVar[Origin | None] = ContextVar("portal_audit_origin", default=None)
_process: list[Callable[[], str]] = [lambda: "program"]


def comes_from(origin: Origin | None) -> None:
    """Say where the acts of the current thread come from, until it is said anew. None: from the process itself."""
    _current.set(origin)


def name_process(name: Callable[[], str]) -> None:
    """Say what to call the acts of this process that come from no request."""
    _process[0] = name


def origin() -> Origin:
    """Where an act of this moment comes from."""
    return _current.get() or Origin(_process[0]())


# Writing -------------------------------------------------------------------------------------------------------------------------


def record(action: str, *, subject_type: str, subject_id: int | None, actor: Actor | None, now: datetime, **details: Any) -> None:
    """Add one event to the current transaction. `details` must be JSON.

    What was changed goes into `changes`, as `changes()` makes it; the person concerned, if they are not the subject, into `user_id`.
    Raises ValueError for a detail that is called like a secret.
    """
    if told := SECRETS & details.keys():
        raise ValueError(f"the audit log must not hold {', '.join(sorted(told))}")
    where = origin()
    db.session.add(
        AuditEvent(
            at=now,
            actor_id=actor.id if actor is not None else None,
            actor=actor.label if actor is not None else SYSTEM,
            action=action,
            subject_type=subject_type,
            subject_id=subject_id,
            person_id=subject_id if subject_type == "user" else details.get("user_id"),
            source=where.source[: AuditEvent.source.type.length],
            address=where.address,
            details=details,
        )
    )


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return what differs, as `{name: [before, after]}` in JSON; long texts are cut."""
    return {name: [_plain(before.get(name)), _plain(value)] for name, value in after.items() if before.get(name) != value}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


@contextmanager
def opened(reason: str) -> Iterator[None]:
    """Let the current transaction change or delete rows of the log, inside the block alone.

    Only names, addresses and details can be changed, whoever asks. What is done is an event of its own, and the caller's to record.
    """
    db.session.flush()
    opening = db.session.scalar(sa.insert(AuditOpening).values(reason=reason).returning(AuditOpening.id))
    yield
    db.session.flush()
    db.session.execute(sa.delete(AuditOpening).where(AuditOpening.id == opening))


# Retention -----------------------------------------------------------------------------------------------------------------------

BATCH = 10_000


def forget_addresses(before: datetime) -> int:
    """Forget the network addresses of some events of before then. Returns how many; 0: none is left."""
    ids = list(db.session.scalars(sa.select(AuditEvent.id).where(AuditEvent.at < before, AuditEvent.address.is_not(None)).limit(BATCH)))
    if ids:
        with opened("addresses are forgotten"):
            db.session.execute(_apart(sa.update(AuditEvent).where(AuditEvent.id.in_(ids)).values(address=None)))
    return len(ids)


def forget_events(before: datetime) -> int:
    """Delete some events of before then. Returns how many; 0: none is left."""
    ids = list(db.session.scalars(sa.select(AuditEvent.id).where(AuditEvent.at < before).limit(BATCH)))
    if ids:
        with opened("events are forgotten"):
            db.session.execute(_apart(sa.delete(AuditEvent).where(AuditEvent.id.in_(ids))))
    return len(ids)


def _apart(statement: Any) -> Any:
    """Objects in the session need not follow."""
    return statement.execution_options(synchronize_session=False)
