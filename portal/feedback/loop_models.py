"""What brings feedback back to those who gave it: who follows an item, the releases that bring it, verdicts, and what is to be mailed."""

import enum
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.account.models import Contract, User
from portal.database import Base, text_enum
from portal.feedback.models import Item, Status
from portal.releases.models import Release


class Follow(Base):
    """Whether a person wants to hear of an item. No row: never asked, and not told.

    Who writes an item or votes for it follows it, unless they have said no: that is kept, so that nothing turns it back on
    behind their back.
    """

    __tablename__ = "feedback_follows"

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(sa.ForeignKey("feedback_items.id"))
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))
    wanted: Mapped[bool]
    changed_at: Mapped[datetime]

    __table_args__ = (sa.UniqueConstraint("item_id", "user_id"), sa.Index("ix_feedback_follows_person", "user_id", "wanted", "changed_at"))


class Link(Base):
    """An item that a release brings: a beta to be tested, a stable release to come, or one that is out.

    Taken back, it keeps its row, so that nobody is asked twice about the same item and beta.
    """

    __tablename__ = "feedback_links"

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(sa.ForeignKey("feedback_items.id"))
    release_id: Mapped[int] = mapped_column(sa.ForeignKey("releases.id"), index=True)
    created_at: Mapped[datetime]
    created_by_id: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"))
    removed_at: Mapped[datetime | None]
    asked_at: Mapped[datetime | None]

    item: Mapped[Item] = relationship()
    release: Mapped[Release] = relationship()

    __table_args__ = (sa.UniqueConstraint("item_id", "release_id"),)


class Answer(enum.StrEnum):
    """Does this beta solve it?"""

    YES = "yes"
    PARTLY = "partly"
    NO = "no"


class Verdict(Base):
    """What a tester says of an item in a beta: one per person, changed as often as they like. `contract_id` is the one it counts for."""

    __tablename__ = "feedback_verdicts"

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(sa.ForeignKey("feedback_items.id"))
    release_id: Mapped[int] = mapped_column(sa.ForeignKey("releases.id"), index=True)
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"), index=True)
    contract_id: Mapped[int] = mapped_column(sa.ForeignKey("contracts.id"), index=True)
    answer: Mapped[Answer] = mapped_column(text_enum(Answer))
    words: Mapped[str] = mapped_column(sa.Text, default="")
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]

    user: Mapped[User] = relationship()
    contract: Mapped[Contract] = relationship()

    __table_args__ = (sa.UniqueConstraint("item_id", "release_id", "user_id"),)


class UpdateKind(enum.StrEnum):
    """What an author and followers are told of. A comment is for the author alone."""

    STATUS = "status"
    RESPONSE = "response"
    COMMENT = "comment"


class Update(Base):
    """Something said about an item that is mailed, with the words it had at the time.

    It waits until `settled_at`: then it stands in the mail `notice_id`, or there was nobody to tell. `text` is the reason of a
    status, the response, or the beginning of a comment, and `who` wrote that; `beta` marks what only the entitled read. Who
    asked for the item and gets the notice `told_by_id` reads it there, and not a second time.
    """

    __tablename__ = "feedback_updates"

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(sa.ForeignKey("feedback_items.id"))
    kind: Mapped[UpdateKind] = mapped_column(text_enum(UpdateKind))
    at: Mapped[datetime]
    by_id: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"))
    status: Mapped[Status | None] = mapped_column(text_enum(Status))
    version: Mapped[str] = mapped_column(sa.String(60), default="")
    text: Mapped[str] = mapped_column(sa.Text, default="")
    who: Mapped[str] = mapped_column(sa.String(320), default="")
    beta: Mapped[bool] = mapped_column(default=False)
    told_by_id: Mapped[int | None] = mapped_column(sa.ForeignKey("notices.id"))
    notice_id: Mapped[int | None] = mapped_column(sa.ForeignKey("notices.id"), index=True)
    settled_at: Mapped[datetime | None]

    __table_args__ = (
        sa.Index(
            "ix_feedback_updates_waiting", "item_id",
            sqlite_where=sa.text("settled_at IS NULL"), postgresql_where=sa.text("settled_at IS NULL"),
        ),
    )  # fmt: skip


class Mailed(Base):
    """When an item's author and followers were last mailed its news, `at`, and its author comments, `comments_at`.

    Whoever mails about it locks this row first.
    """

    __tablename__ = "feedback_mailed"

    item_id: Mapped[int] = mapped_column(sa.ForeignKey("feedback_items.id"), primary_key=True)
    at: Mapped[datetime | None]
    comments_at: Mapped[datetime | None]


class DigestChoice(Base):
    """A member of the product team who was asked about the weekly digest. No row: they get it."""

    __tablename__ = "feedback_digest_choices"

    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"), primary_key=True)
    wanted: Mapped[bool]
    changed_at: Mapped[datetime]
