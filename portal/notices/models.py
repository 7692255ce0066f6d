"""Notices, their deliveries, and what each person wants to hear about."""

import enum
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.database import Base, text_enum


class Topic(enum.StrEnum):
    """What a person can choose to be mailed about, per product."""

    BETA = "beta"
    POINT = "point"
    MINOR = "minor"
    MAJOR = "major"
    FEEDBACK = "feedback"


class DeliveryState(enum.StrEnum):
    """Where a delivery stands. The last four are final."""

    QUEUED = "queued"
    SENDING = "sending"
    DEFERRED = "deferred"
    SENT = "sent"
    BOUNCED = "bounced"
    FAILED = "failed"
    SKIPPED = "skipped"


OPEN_STATES = (DeliveryState.QUEUED, DeliveryState.SENDING, DeliveryState.DEFERRED)


class Notice(Base):
    """One text for an audience.

    `kind` names the registered kind, which knows the template and the check at the second of sending; `context` is what the
    template needs, as JSON, and holds no secret. Its `title`, where there is one, tells staff what the notice is about.
    `key` makes a notice unique where there may be only one ("release-12-published").
    """

    __tablename__ = "notices"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(sa.String(40), index=True)
    key: Mapped[str | None] = mapped_column(sa.String(120), unique=True)
    topic: Mapped[Topic | None] = mapped_column(text_enum(Topic))
    product_id: Mapped[int | None] = mapped_column(sa.ForeignKey("products.id"), index=True)
    context: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime]
    created_by_id: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"))
    cancelled_at: Mapped[datetime | None]


class Delivery(Base):
    """A notice to one person, with the address it was made for.

    A worker holds it for the length of a lease; `attempts`, `next_attempt_at` and `reply` (the mail server's words) tell
    the rest. `reason` says why a delivery was skipped or has failed. `urgent` mail, which somebody waits for, goes before
    a notice to many. A delivery that is still deferred at `give_up_at` fails.
    """

    __tablename__ = "deliveries"

    id: Mapped[int] = mapped_column(primary_key=True)
    notice_id: Mapped[int] = mapped_column(sa.ForeignKey("notices.id"))
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"), index=True)
    address: Mapped[str] = mapped_column(sa.String(254))
    name: Mapped[str] = mapped_column(sa.String(120), default="")
    state: Mapped[DeliveryState] = mapped_column(text_enum(DeliveryState), default=DeliveryState.QUEUED)
    reason: Mapped[str | None] = mapped_column(sa.String(60))
    reply: Mapped[str | None] = mapped_column(sa.String(500))
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    next_attempt_at: Mapped[datetime]
    give_up_at: Mapped[datetime]
    urgent: Mapped[bool] = mapped_column(default=False)
    lease: Mapped[str | None] = mapped_column(sa.String(64), index=True)
    leased_until: Mapped[datetime | None]
    settled_at: Mapped[datetime | None]

    notice: Mapped[Notice] = relationship()

    __table_args__ = (
        sa.UniqueConstraint("notice_id", "user_id"),
        sa.Index("ix_deliveries_due", "state", "next_attempt_at"),
        sa.Index("ix_deliveries_notice_state", "notice_id", "state"),
    )


class Subscription(Base):
    """Whether a person wants a topic of a product. No row: never asked, and not wanted.

    A row that says no is kept, so that nothing turns it back on behind the person's back.
    """

    __tablename__ = "subscriptions"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))
    product_id: Mapped[int] = mapped_column(sa.ForeignKey("products.id"))
    topic: Mapped[Topic] = mapped_column(text_enum(Topic))
    wanted: Mapped[bool]
    changed_at: Mapped[datetime]

    __table_args__ = (
        sa.UniqueConstraint("user_id", "product_id", "topic"),
        sa.Index("ix_subscriptions_wanted", "product_id", "topic", "wanted"),
    )


class Suppression(Base):
    """An address that mail must not go to, and why."""

    __tablename__ = "suppressions"

    id: Mapped[int] = mapped_column(primary_key=True)
    address: Mapped[str] = mapped_column(sa.String(254), unique=True)
    reason: Mapped[str] = mapped_column(sa.String(200))
    created_at: Mapped[datetime]
