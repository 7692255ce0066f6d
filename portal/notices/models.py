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


FORGOTTEN = "forgotten address"
OPEN_STATES = (DeliveryState.QUEUED, DeliveryState.SENDING, DeliveryState.DEFERRED)


class Notice(Base):
    """One text for an audience.

    `kind` names the registered kind, which knows the template and the check at the second of sending; `context` is what the
    template needs, as JSON, and holds no secret. Its `title`, where there is one, tells staff what the notice is about.
    `key` makes a notice unique where there may be only one ("release-12-published"). `compiled` is the rendered mail with
    slots for what differs per person, made when the first one is sent and used for all, so that everybody reads the same.
    While `paused_at` is set nothing of it goes out; `pause_reason` says why, unless a member of staff paused it.
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
    paused_at: Mapped[datetime | None]
    pause_reason: Mapped[str | None] = mapped_column(sa.String(300))
    compiled: Mapped[dict[str, Any] | None]


class Lease(Base):
    """A worker's hold on the deliveries it has claimed. It renews its lease while it lives; one that expired is anybody's to free."""

    __tablename__ = "leases"

    id: Mapped[int] = mapped_column(primary_key=True)
    holder: Mapped[str] = mapped_column(sa.String(64))
    expires_at: Mapped[datetime] = mapped_column(index=True)

    # SQLite would give the number of an ended lease to the next one, and a worker that was thought dead would hold it too.
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 - SQLAlchemy's way


class Delivery(Base):
    """A notice to one person, with the address it was made for.

    `next_attempt_at` is set while the delivery waits its turn, and only then: not while a worker holds it under its `lease`,
    not while its notice is paused (one that is put off meanwhile is found paused at its next turn), not once it is settled.
    `attempted_at` is when it was last taken up, and the date its mail bears. `reply` holds the mail server's words; `reason`
    says why a delivery was skipped or has failed. `urgent` mail, which somebody waits for, goes to few people and before a
    notice to many. A delivery that is still deferred at `give_up_at` fails.
    """

    __tablename__ = "deliveries"

    id: Mapped[int] = mapped_column(primary_key=True)
    notice_id: Mapped[int] = mapped_column(sa.ForeignKey("notices.id"))
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"), index=True)
    address: Mapped[str] = mapped_column(sa.String(254))
    domain: Mapped[str] = mapped_column(sa.String(254))
    name: Mapped[str] = mapped_column(sa.String(120), default="")
    state: Mapped[DeliveryState] = mapped_column(text_enum(DeliveryState), default=DeliveryState.QUEUED)
    reason: Mapped[str | None] = mapped_column(sa.String(60))
    reply: Mapped[str | None] = mapped_column(sa.String(500))
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    next_attempt_at: Mapped[datetime | None]
    attempted_at: Mapped[datetime | None]
    give_up_at: Mapped[datetime]
    urgent: Mapped[bool] = mapped_column(default=False)
    lease_id: Mapped[int | None] = mapped_column(sa.ForeignKey("leases.id"))
    settled_at: Mapped[datetime | None]

    notice: Mapped[Notice] = relationship()

    @property
    def shown_address(self) -> str:
        """The address for pages of the staff; what stands for one that was forgotten (`retention`)."""
        return self.address or FORGOTTEN

    __table_args__ = (
        sa.UniqueConstraint("notice_id", "user_id"),
        sa.Index("ix_deliveries_notice_state", "notice_id", "state", "id"),
        # What is settled is in neither of these two, so that they stay small and a delivery is written into fewer.
        sa.Index(
            "ix_deliveries_due", "urgent", "next_attempt_at", "id",
            sqlite_where=sa.text("next_attempt_at IS NOT NULL"), postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
        ),
        sa.Index(
            "ix_deliveries_lease_id", "lease_id",
            sqlite_where=sa.text("lease_id IS NOT NULL"), postgresql_where=sa.text("lease_id IS NOT NULL"),
        ),
    )  # fmt: skip


class DomainPause(Base):
    """A domain whose mail server defers our mail: until `until`, nothing is tried there, and mail to others goes on."""

    __tablename__ = "domain_pauses"

    domain: Mapped[str] = mapped_column(sa.String(254), primary_key=True)
    until: Mapped[datetime]
    pauses: Mapped[int] = mapped_column(default=1)
    reply: Mapped[str | None] = mapped_column(sa.String(500))


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


class SubscriptionRequest(Base):
    """Somebody asked for topics of a product; a click in the mail to that address confirms it was they who asked (double opt-in).

    Without a product it asks for nothing but mail at all: the address was suppressed, and confirming lifts that. Topics that
    are switched off while it waits are taken out. `notice_id` is the mail that carries the link. The link's token stands nowhere:
    it is derived from `nonce` and the secret key when the mail is sent (`tokens.derive_token`).
    """

    __tablename__ = "subscription_requests"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"), index=True)
    product_id: Mapped[int | None] = mapped_column(sa.ForeignKey("products.id"))
    notice_id: Mapped[int] = mapped_column(sa.ForeignKey("notices.id"))
    topics: Mapped[list[str]] = mapped_column(sa.JSON)
    nonce: Mapped[str] = mapped_column(sa.String(64))
    token_hash: Mapped[str] = mapped_column(sa.String(64), unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]

    __table_args__ = (sa.UniqueConstraint("notice_id", "user_id"),)


class SuppressionCause(enum.StrEnum):
    """How an address came to be suppressed."""

    RETURNED = "returned"
    REFUSED = "refused"
    STAFF = "staff"


class Suppression(Base):
    """An address that mail must not go to, and why: `reason` holds the mail server's words, or those of a member of staff."""

    __tablename__ = "suppressions"

    id: Mapped[int] = mapped_column(primary_key=True)
    address: Mapped[str] = mapped_column(sa.String(254), unique=True)
    cause: Mapped[SuppressionCause] = mapped_column(text_enum(SuppressionCause), default=SuppressionCause.STAFF)
    reason: Mapped[str] = mapped_column(sa.String(200))
    delivery_id: Mapped[int | None] = mapped_column(sa.ForeignKey("deliveries.id"))
    created_at: Mapped[datetime]


class ErasedSuppression(Base):
    """An address that mail must not go to, of a person who was erased: as a keyed hash, which tells the address again when it is
    typed in, and nothing before."""

    __tablename__ = "erased_suppressions"

    id: Mapped[int] = mapped_column(primary_key=True)
    address_hash: Mapped[str] = mapped_column(sa.String(64), unique=True)
    cause: Mapped[str] = mapped_column(sa.String(20))
    created_at: Mapped[datetime]


class Announcement(Base):
    """A text of the vendor to a chosen audience that belongs to no release, such as a security advice.

    `audience` names a registered circle of people (`portal.notices.audiences`), `topic` the choice it respects: without one
    it goes to the whole circle and cannot be switched off. A draft until it is sent, once, as `notice_id`. `revision` grows with
    each save, so that what is sent is what was looked at.
    """

    __tablename__ = "announcements"

    id: Mapped[int] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(sa.String(150))
    body: Mapped[str] = mapped_column(sa.Text)
    product_id: Mapped[int] = mapped_column(sa.ForeignKey("products.id"), index=True)
    audience: Mapped[str] = mapped_column(sa.String(40))
    topic: Mapped[Topic | None] = mapped_column(text_enum(Topic))
    revision: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime]
    created_by_id: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"))
    sent_at: Mapped[datetime | None]
    notice_id: Mapped[int | None] = mapped_column(sa.ForeignKey("notices.id"), unique=True)

    # A page that is still open on a discarded draft must not meet another one under its number.
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 - SQLAlchemy's way
