"""Items, votes, comments and the path of an item's status."""

import enum
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship, validates

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


class CallChannel(enum.StrEnum):
    """How somebody asked the vendor to note their contract's vote."""

    PHONE = "phone"
    MAIL = "mail"
    MEETING = "meeting"


# What lists of items are sorted by: those of one product, and those of all. Each has an index, with the id at its end.
BOARD_SORTS = ("tally_votes", "created_at", "changed_at")
ALL_SORTS = (*BOARD_SORTS, "tally_cents", "tally_ending", "severity_rank")


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


class Item(Base):
    """A piece of feedback.

    `release_id` is the release it was written about; where that is a beta, the item is part of what only the entitled see.
    `revision` grows with each staff edit, so a second editor is told instead of overwriting. `read_at` is None while the
    item waits in the inbox. `assignee_id` names the member of staff who looks after it. `merged_into_id` is the item that this one
    was merged into, as long as it is: then it stands in no list, and votes for that one. The `tally_` numbers are read through
    `tallies.sums`, which knows whether they are those of this moment. `severity_rank` follows `severity`, for lists that
    are sorted by it: 3 is high, 0 none.
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
    assignee_id: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"))
    merged_into_id: Mapped[int | None] = mapped_column(sa.ForeignKey("feedback_items.id"))
    tally_votes: Mapped[int] = mapped_column(default=0, server_default="0")
    tally_cents: Mapped[int] = mapped_column(sa.BigInteger, default=0, server_default="0")
    tally_ending: Mapped[int] = mapped_column(default=0, server_default="0")
    severity_rank: Mapped[int] = mapped_column(default=0, server_default="0")

    product: Mapped[Product] = relationship(lazy="joined")
    release: Mapped[Release | None] = relationship(foreign_keys=[release_id])
    status_release: Mapped[Release | None] = relationship(foreign_keys=[status_release_id])
    author: Mapped[User] = relationship(foreign_keys=[author_id])
    responded_by: Mapped[User | None] = relationship(foreign_keys=[responded_by_id])
    organization: Mapped[Organization] = relationship()
    assignee: Mapped[User | None] = relationship(foreign_keys=[assignee_id])
    tags: Mapped[list["Tag"]] = relationship(secondary="feedback_item_tags", order_by="Tag.key", viewonly=True)

    __table_args__ = (
        sa.Index("ix_feedback_items_board", "product_id", "status", "created_at"),
        # All that decides who sees an item and where it counts, so that items are counted without being read.
        sa.Index(
            "ix_feedback_items_counts",
            "product_id",
            "status",
            "kind",
            "visibility",
            "merged_into_id",
            "organization_id",
            "release_id",
            "responded_at",
        ),
        sa.Index("ix_feedback_items_waiting", "status", "responded_at", "merged_into_id", "created_at"),
        # Of nearly all items these are NULL: an index of those would be taken for one that tells them apart.
        *(
            sa.Index(f"ix_feedback_items_{column}", column, **_where(f"{column} IS NOT NULL"))
            for column in ("assignee_id", "merged_into_id")
        ),
        *(sa.Index(f"ix_feedback_items_product_{column}", "product_id", column, "id") for column in BOARD_SORTS),
        *(sa.Index(f"ix_feedback_items_all_{column}", column, "id") for column in ALL_SORTS),
        *(sa.Index(f"ix_feedback_items_unread_{column}", column, "id", **_where("read_at IS NULL")) for column in ALL_SORTS),
        sa.Index("ix_feedback_items_all_responded_at", "responded_at", "id"),
        sa.Index("ix_feedback_items_product_responded_at", "product_id", "responded_at", "id"),
    )

    @validates("severity")
    def _rank(self, _: str, severity: Severity | None) -> Severity | None:
        self.severity_rank = list(Severity).index(severity) + 1 if severity is not None else 0
        return severity


class Vote(Base):
    """A contract's vote for an item: either contact may cast or withdraw it, the organisation counts once.

    A vote that staff noted for a caller has a `channel` and the caller's `words`; `user_id` is then the member of staff.
    `copy_of_id` is set on a vote that came with a merge: it stands for that vote of the merged item, and ends with the merge.
    """

    __tablename__ = "feedback_votes"

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(sa.ForeignKey("feedback_items.id"))
    contract_id: Mapped[int] = mapped_column(sa.ForeignKey("contracts.id"), index=True)
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))
    created_at: Mapped[datetime]
    withdrawn_at: Mapped[datetime | None]
    channel: Mapped[CallChannel | None] = mapped_column(text_enum(CallChannel))
    words: Mapped[str | None] = mapped_column(sa.String(500))
    copy_of_id: Mapped[int | None] = mapped_column(sa.ForeignKey("feedback_votes.id"), index=True)

    contract: Mapped[Contract] = relationship()
    user: Mapped[User] = relationship()
    copy_of: Mapped["Vote | None"] = relationship(remote_side="Vote.id")

    __table_args__ = (
        sa.Index(
            "uq_feedback_votes_live", "item_id", "contract_id", unique=True,
            sqlite_where=sa.text("withdrawn_at IS NULL"), postgresql_where=sa.text("withdrawn_at IS NULL"),
        ),
        sa.Index(
            "ix_feedback_votes_of_contract", "contract_id", "item_id",
            sqlite_where=sa.text("withdrawn_at IS NULL"), postgresql_where=sa.text("withdrawn_at IS NULL"),
        ),
        sa.Index(
            "ix_feedback_votes_latest", "item_id", "id", "contract_id",
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
    """One step of an item's path: which status, since when, in which version, and why (always, when declined).

    `by_id` is None for a scheduled release that took the item along when it published itself.
    """

    __tablename__ = "feedback_status_changes"

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(sa.ForeignKey("feedback_items.id"), index=True)
    status: Mapped[Status] = mapped_column(text_enum(Status))
    version: Mapped[str] = mapped_column(sa.String(60), default="")
    reason: Mapped[str] = mapped_column(sa.Text, default="")
    at: Mapped[datetime]
    by_id: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"))

    __table_args__ = (sa.Index("ix_feedback_status_changes_reached", "status", "at"),)


class Merge(Base):
    """An item was merged into another one of its product; the row stays as history when they are told apart again."""

    __tablename__ = "feedback_merges"

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(sa.ForeignKey("feedback_items.id"))
    target_id: Mapped[int] = mapped_column(sa.ForeignKey("feedback_items.id"), index=True)
    merged_at: Mapped[datetime]
    merged_by_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))
    unmerged_at: Mapped[datetime | None]
    unmerged_by_id: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"))

    merged_by: Mapped[User] = relationship(foreign_keys=[merged_by_id])

    __table_args__ = (
        sa.CheckConstraint("item_id <> target_id", name="two_items"),
        sa.Index(
            "uq_feedback_merges_live", "item_id", unique=True,
            sqlite_where=sa.text("unmerged_at IS NULL"), postgresql_where=sa.text("unmerged_at IS NULL"),
        ),
    )  # fmt: skip


class Tag(Base):
    """A word by which staff sort items; subscribers never read it. `key` is the name without regard to case."""

    __tablename__ = "feedback_tags"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(40))
    key: Mapped[str] = mapped_column(sa.String(120), unique=True)
    created_at: Mapped[datetime]


class ItemTag(Base):
    """An item bears a tag."""

    __tablename__ = "feedback_item_tags"

    item_id: Mapped[int] = mapped_column(sa.ForeignKey("feedback_items.id"), primary_key=True)
    tag_id: Mapped[int] = mapped_column(sa.ForeignKey("feedback_tags.id"), primary_key=True, index=True)


class NotAlike(Base):
    """Staff looked at two items and found them not the same: neither is proposed for the other again. `low_id` < `high_id`."""

    __tablename__ = "feedback_not_alike"

    low_id: Mapped[int] = mapped_column(sa.ForeignKey("feedback_items.id"), primary_key=True)
    high_id: Mapped[int] = mapped_column(sa.ForeignKey("feedback_items.id"), primary_key=True, index=True)
    said_at: Mapped[datetime]
    said_by_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))

    __table_args__ = (sa.CheckConstraint("low_id < high_id", name="in_order"),)
