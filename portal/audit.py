"""The audit log: who did what to which thing, when. Rows are only ever added.

An event is written in the transaction of the act it describes, so there is no act without its event and no event
without its act. It holds no secret: no password, no token, no body of a mail.
"""

from datetime import datetime
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from portal.database import Base, db

SYSTEM = "system"


class AuditEvent(Base):
    """One act. `actor_id` is None for commands and the worker; `actor` names whoever it was in words."""

    __tablename__ = "audit_events"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    actor_id: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"), index=True)
    actor: Mapped[str] = mapped_column(sa.String(320))
    action: Mapped[str] = mapped_column(sa.String(80), index=True)
    subject_type: Mapped[str] = mapped_column(sa.String(40))
    subject_id: Mapped[int | None]
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)

    __table_args__ = (sa.Index("ix_audit_events_subject", "subject_type", "subject_id"),)


class Actor(Protocol):
    """Who acts: in practice a `User`, which lives on a higher floor."""

    @property
    def id(self) -> Any: ...
    @property
    def label(self) -> str: ...


def record(action: str, *, subject_type: str, subject_id: int | None, actor: Actor | None, now: datetime, **details: Any) -> None:
    """Add one event to the current transaction. `details` must be JSON; put before and after values there."""
    db.session.add(
        AuditEvent(
            at=now,
            actor_id=actor.id if actor is not None else None,
            actor=actor.label if actor is not None else SYSTEM,
            action=action,
            subject_type=subject_type,
            subject_id=subject_id,
            details=details,
        )
    )
