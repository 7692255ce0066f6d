"""Items, votes, comments and the path of an item's status."""

import enum
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.account.models import Contract, Organization, User
from portal.database import Base, text_enum
from portal.products.models import Product
from portal.releases.models import Release


class ItemKind(enum.StrEnum):
    IDEA = "idea"
    PROBLEM = "problem"
    QUESTION = "question"


class Severity(enum.StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Visibility(enum.StrEnum):
    """Who reads an item: all subscribers of the product, or the own organisation and staff."""

    SUBSCRIBERS = "subscribers"
    PRIVATE = "private"


class Status(enum.StrEnum):
    UNDER_REVIEW = "under_review"
    PLANNED = "planned"
    IN_BETA = "in_beta"
    SHIPPED = "shipped"
    DECLINED = "declined"


class Item(Base):
    """A piece of feedback.

    `release_id` is the release it was written about; where that is a beta, the item is part of what only the entitled see.
    `revision` grows with each staff edit, so a second editor is told instead of overwriting. `read_at` is None while the
    item waits in the inbox.
    """

    __tablename__ = "feedback_items"

    id: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[int] = mapped_column(sa.ForeignKey("products.id"))
    release_id: Mapped[int | None] = mapped_column(sa.ForeignKey("releases.id"), index=True)
    kind: Mapped[ItemKind] = mapped_column(text_enum(ItemKind), default=ItemKind.IDEA)
    severity: Mapped[Severity | None] = mapped_column(text_enum(Severity))
    visibility: Mapped[Visibility] = mapped_column(text_enum(Visibility), default=Visibility.SUBSCRIBERS)
    title: Mapped[str] = mapped_column(sa.String(160))
    body: Mapped[str] = mapped_column(sa.Text)
    author_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"), index=True)
    contract_id: Mapped[int] = mapped_column(sa.ForeignKey("contracts.id"), index=True)
    organization_id: Mapped[int] = mapped_column(sa.ForeignKey("organizations.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(index=True)
    status: Mapped[Status] = mapped_column(text_enum(Status), default=Status.UNDER_REVIEW)
    status_release_id: Mapped[int | None] = mapped_column(sa.ForeignKey("releases.id"), index=True)
    status_version: Mapped[str] = mapped_column(sa.String(60), default="")
    changed_at: Mapped[datetime]
    response: Mapped[str] = mapped_column(sa.Text, default="")
    responded_at: Mapped[datetime | None]
    responded_by_id: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"))
    read_at: Mapped[datetime | None]
    revision: Mapped[int] = mapped_column(default=1)

    product: Mapped[Product] = relationship(lazy="joined")
    release: Mapped[Release | None] = relationship(foreign_keys=[release_id])
    status_release: Mapped[Release | None] = relationship(foreign_keys=[status_release_id])
    author: Mapped[User] = relationship(foreign_keys=[author_id])
    responded_by: Mapped[User | None] = relationship(foreign_keys=[responded_by_id])
    organization: Mapped[Organization] = relationship()

    __table_args__ = (sa.Index("ix_feedback_items_board", "product_id", "status", "created_at"),)


class Vote(Base):
    """A contract's vote for an item: either contact may cast or withdraw it, the organisation counts once."""

    __tablename__ = "feedback_votes"

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(sa.ForeignKey("feedback_items.id"))
    contract_id: Mapped[int] = mapped_column(sa.ForeignKey("contracts.id"), index=True)
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))
    created_at: Mapped[datetime]
    withdrawn_at: Mapped[datetime | None]

    contract: Mapped[Contract] = relationship()
    user: Mapped[User] = relationship()

    __table_args__ = (
        sa.Index(
            "uq_feedback_votes_live", "item_id", "contract_id", unique=True,
            sqlite_where=sa.text("withdrawn_at IS NULL"), postgresql_where=sa.text("withdrawn_at IS NULL"),
        ),
    )  # fmt: skip


class Comment(Base):
    """A comment on an item. `organization_id` is None for staff; `staff_only` notes never leave staff pages."""

    __tablename__ = "feedback_comments"

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(sa.ForeignKey("feedback_items.id"), index=True)
    author_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))
    organization_id: Mapped[int | None] = mapped_column(sa.ForeignKey("organizations.id"))
    body: Mapped[str] = mapped_column(sa.Text)
    staff_only: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]

    author: Mapped[User] = relationship()
    organization: Mapped[Organization | None] = relationship()


class StatusChange(Base):
    """One step of an item's path: which status, since when, in which version, and why (always, when declined)."""

    __tablename__ = "feedback_status_changes"

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(sa.ForeignKey("feedback_items.id"), index=True)
    status: Mapped[Status] = mapped_column(text_enum(Status))
    version: Mapped[str] = mapped_column(sa.String(60), default="")
    reason: Mapped[str] = mapped_column(sa.Text, default="")
    at: Mapped[datetime]
    by_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))
