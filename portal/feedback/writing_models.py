"""What belongs to a text somebody writes: its earlier editions, its attachments, and drafts that wait for a sign-in."""

import enum
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.account.models import Organization, User
from portal.database import Base, text_enum


class Edition(Base):
    """Title and body of an item as they once read. There are none until the first edit, which keeps the original as number 1."""

    __tablename__ = "feedback_editions"

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(sa.ForeignKey("feedback_items.id"))
    number: Mapped[int]
    title: Mapped[str] = mapped_column(sa.String(160))
    body: Mapped[str] = mapped_column(sa.Text)
    by_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))
    at: Mapped[datetime]

    by: Mapped[User] = relationship()

    __table_args__ = (sa.UniqueConstraint("item_id", "number"),)


class DraftPurpose(enum.StrEnum):
    """What a draft is to become: an item, a comment on one, an edit of one, or whatever another form makes of it."""

    ITEM = "item"
    COMMENT = "comment"
    EDIT = "edit"
    FORM = "form"


class Draft(Base):
    """What somebody typed and could not send yet, found again by a random token of which only the hash is here.

    `user_id` is whom it belongs to, None where that could not be told: then it belongs to the browser that has the token.
    `fields` are the form's fields as they were typed. `item_id` is None for a new item.
    """

    __tablename__ = "feedback_drafts"

    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(sa.String(64), unique=True)
    user_id: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"), index=True)
    purpose: Mapped[DraftPurpose] = mapped_column(text_enum(DraftPurpose))
    item_id: Mapped[int | None] = mapped_column(sa.ForeignKey("feedback_items.id"), index=True)
    fields: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(index=True)


class Attachment(Base):
    """A file that came with an item or a comment, or waits in a draft. Its bytes lie in storage under `sha256`.

    `organization_id` is whose it is: beside staff, nobody else ever gets it, whoever may read the item.
    """

    __tablename__ = "feedback_attachments"

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int | None] = mapped_column(sa.ForeignKey("feedback_items.id"), index=True)
    comment_id: Mapped[int | None] = mapped_column(sa.ForeignKey("feedback_comments.id"), index=True)
    draft_id: Mapped[int | None] = mapped_column(sa.ForeignKey("feedback_drafts.id"), index=True)
    organization_id: Mapped[int] = mapped_column(sa.ForeignKey("organizations.id"), index=True)
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"), index=True)
    filename: Mapped[str] = mapped_column(sa.String(200))
    size: Mapped[int] = mapped_column(sa.BigInteger)
    sha256: Mapped[str] = mapped_column(sa.String(64), index=True)
    created_at: Mapped[datetime]

    organization: Mapped[Organization] = relationship()

    __table_args__ = (
        sa.CheckConstraint("(item_id IS NULL) <> (draft_id IS NULL)", name="in_one_place"),
        sa.CheckConstraint("comment_id IS NULL OR item_id IS NOT NULL", name="comment_of_item"),
    )
