"""Announcements: what the vendor has to say to a chosen audience, apart from any release. Written, looked at, sent once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from portal import audit
from portal.database import Base, db, is_violation
from portal.errors import Conflict, Invalid, NotFound
from portal.notices import audiences, outbox, rendering
from portal.notices.audiences import Circle, Reach
from portal.notices.kinds import Due, Kind, register
from portal.notices.models import Announcement, Delivery, Notice, Topic
from portal.notices.rendering import Preview, Recipient
from portal.notices.topics import WORDS
from portal.products.models import Product
from portal.text import clean_line, clean_text

KIND = "announcement"
# The choices an announcement can respect. Feedback is written about by the board alone.
TOPICS = (Topic.BETA, Topic.POINT, Topic.MINOR, Topic.MAJOR)
LONGEST_SUBJECT = 150
LONGEST_BODY = 20_000
LARGEST_ID = 2**31 - 1


@dataclass(frozen=True)
class Words:
    """What an announcement says, about which product, and to whom.

    `topic` is the choice it respects; without one it goes to the whole audience and cannot be switched off.
    """

    product_id: int
    subject: str
    body: str
    audience: str
    topic: Topic | None

    def cleaned(self) -> "Words":
        """Raises Invalid, naming the field: text that is missing, too long or holds control characters, an unknown audience
        or topic, an audience that is made of a topic without one."""
        if not audiences.is_known(self.audience):
            names = ", ".join(one.name for one in audiences.known())
            raise Invalid(f"Choose who gets it. The audiences are: {names}.", "audience")
        if self.topic is not None and self.topic not in TOPICS:
            raise Invalid(f"An announcement cannot go out under {WORDS[self.topic].label}.", "topic")
        if self.topic is None and audiences.find(self.audience).needs_topic:
            raise Invalid("Choose a topic: this audience is made of the people who chose it.", "topic")
        return replace(
            self,
            subject=clean_line(self.subject, "subject", LONGEST_SUBJECT),
            body=clean_text(self.body, "body", LONGEST_BODY),
        )


@dataclass(frozen=True)
class Listed:
    """An announcement as a line of a list; `people` is how many it was sent to."""

    announcement: Announcement
    product_name: str
    people: int = 0


# Writing --------------------------------------------------------------------------------------------------------------------


def create(words: Words, *, actor: audit.Actor | None, now: datetime) -> Announcement:
    """Make a draft. Raises what `Words.cleaned` raises."""
    announcement = Announcement(created_at=now, created_by_id=actor.id if actor else None, revision=1)
    _write(announcement, words)
    db.session.add(announcement)
    db.session.flush()
    _record("announcement.created", announcement, actor=actor, now=now)
    return announcement


def edit(announcement_id: int, words: Words, *, revision: int, actor: audit.Actor | None, now: datetime) -> Announcement:
    """Change a draft. `revision` is the one the editor read.

    Raises NotFound; Conflict if it was sent, or saved by somebody else in between; what `Words.cleaned` raises.
    """
    announcement = _open_draft(announcement_id, revision, "Look at what they saved, then save again.")
    before = _audited(announcement)
    _write(announcement, words)
    announcement.revision += 1
    db.session.flush()
    _record("announcement.edited", announcement, actor=actor, now=now, changes=audit.changes(before, _audited(announcement)))
    return announcement


def _audited(announcement: Announcement) -> dict[str, object]:
    """What the audit log tells before and after an edit."""
    return {name: getattr(announcement, name) for name in ("subject", "body", "product_id", "audience", "topic")}


def discard(announcement_id: int, *, actor: audit.Actor | None, now: datetime) -> None:
    """Remove a draft for good. Raises NotFound; Conflict if it was sent."""
    announcement = _open_draft(announcement_id)
    _record("announcement.discarded", announcement, actor=actor, now=now)
    db.session.delete(announcement)
    db.session.flush()


def _write(announcement: Announcement, words: Words) -> None:
    words = words.cleaned()
    announcement.product_id, announcement.audience, announcement.topic = words.product_id, words.audience, words.topic
    announcement.subject, announcement.body = words.subject, words.body


def _open_draft(announcement_id: int, revision: int | None = None, then: str = "") -> Announcement:
    """Return a draft, locked until the transaction ends, so that acts upon it happen one after another."""
    announcement = db.session.scalar(
        sa.select(Announcement)
        .where(Announcement.id == min(announcement_id, LARGEST_ID))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if announcement is None:
        raise NotFound("There is no such announcement.")
    if announcement.sent_at is not None:
        raise Conflict("This announcement was sent already. It cannot be changed, and it is not sent again.")
    if revision is not None and revision != announcement.revision:
        raise Conflict(f"Somebody changed this announcement after you opened it. {then}")
    return announcement


# Reading ---------------------------------------------------------------------------------------------------------------------


def find(announcement_id: int) -> Announcement:
    """Raises NotFound."""
    announcement = db.session.get(Announcement, min(announcement_id, LARGEST_ID))
    if announcement is None:
        raise NotFound("There is no such announcement.")
    return announcement


def product_of(announcement: Announcement) -> Product:
    return db.session.get_one(Product, announcement.product_id)


def drafts() -> list[Listed]:
    """Return all drafts, the newest first."""
    return [Listed(*row) for row in db.session.execute(_listed().where(Announcement.sent_at.is_(None)))]


def sent(*, before_id: int | None = None, limit: int) -> list[Listed]:
    """Return what was sent, the newest first; `before_id` is the last one of the page before."""
    people = sa.select(sa.func.count()).where(Delivery.notice_id == Announcement.notice_id).scalar_subquery()
    page = _listed().add_columns(people).where(Announcement.sent_at.is_not(None)).limit(limit)
    if before_id is not None:
        page = page.where(Announcement.id < before_id)
    return [Listed(*row) for row in db.session.execute(page)]


def _listed() -> sa.Select[Announcement, str]:
    return sa.select(Announcement, Product.name).join(Product, Product.id == Announcement.product_id).order_by(Announcement.id.desc())


# To whom -----------------------------------------------------------------------------------------------------------------------


def circle(announcement: Announcement, now: datetime) -> Circle:
    """Whom an announcement concerns, and what keeps some of them from being mailed at `now`."""
    return audiences.find(announcement.audience).circle(announcement.product_id, announcement.topic, now)


def reach(words: Words, now: datetime) -> Reach:
    """Count who would get an announcement that need not exist. Raises what `Words.cleaned` raises."""
    words = words.cleaned()
    return audiences.reach(audiences.find(words.audience).circle(words.product_id, words.topic, now))


def send(announcement_id: int, *, revision: int | None = None, actor: audit.Actor | None, now: datetime) -> int:
    """Put an announcement into the outbox, one delivery for each person of its audience. Returns how many that are.

    It may be nobody: the page says so before. `revision`, where given, is the one the sender looked at. Raises NotFound; Conflict if
    it was sent already, or changed after the sender looked.
    """
    announcement = _open_draft(announcement_id, revision, "Nothing was sent; look at it again first.")
    try:
        notice = outbox.enqueue(
            KIND,
            audiences.mailed(circle(announcement, now)),
            context=_context(announcement),
            topic=announcement.topic,
            product_id=announcement.product_id,
            key=f"announcement-{announcement.id}",
            now=now,
            created_by_id=actor.id if actor else None,
        )
    except sa.exc.IntegrityError as error:
        if is_violation(error, "uq_notices_key", "notices.key"):
            raise Conflict("This announcement was sent already. It is not sent again.") from None
        raise
    people = db.session.scalar(sa.select(sa.func.count()).where(Delivery.notice_id == notice.id)) or 0
    announcement.sent_at, announcement.notice_id = now, notice.id
    db.session.flush()
    _record("announcement.sent", announcement, actor=actor, now=now, notice=notice.id, people=people)
    return people


def announce(words: Words, *, actor: audit.Actor | None, now: datetime) -> tuple[Announcement, int]:
    """Write an announcement and send it, in one act. Returns it, and to how many people it goes.

    Raises what `create` and `send` raise; Conflict if the very same was sent before, so that a command run twice mails once, and
    if nobody would get it, since nobody has looked at the audience.
    """
    words = words.cleaned()
    # One after another for each product, or two at once would both find nothing sent before.
    db.session.execute(sa.select(Product.id).where(Product.id == words.product_id).with_for_update(key_share=True))
    before = db.session.scalar(
        sa.select(sa.func.max(Announcement.sent_at)).where(
            Announcement.product_id == words.product_id,
            Announcement.audience == words.audience,
            Announcement.subject == words.subject,
            Announcement.body == words.body,
        )
    )
    if before is not None:
        raise Conflict(f"The same subject and text went to this audience on {before:%Y-%m-%d at %H:%M} UTC. It is not sent again.")
    announcement = create(words, actor=actor, now=now)
    people = send(announcement.id, actor=actor, now=now)
    if not people:
        raise Conflict("Nobody would get this, so it was not sent. See who is left out and why, or choose another audience.")
    return announcement, people


def send_test(announcement_id: int, *, actor: audit.Actor, now: datetime) -> None:
    """Send an announcement, as it stands, to the one who asks. It has no topic, so it goes whatever they switched off.

    Raises NotFound.
    """
    announcement = find(announcement_id)
    users = Base.metadata.tables["users"]
    outbox.enqueue(
        KIND,
        sa.select(users.c.id, users.c.email, users.c.name).where(users.c.id == actor.id),
        context={**_context(announcement), "test": True},
        product_id=announcement.product_id,
        now=now,
        created_by_id=actor.id,
    )
    _record("announcement.tested", announcement, actor=actor, now=now)


def preview(announcement: Announcement, *, recipient: Recipient, now: datetime) -> Preview:
    """Render the mail as it would go to `recipient`. Its links to preferences lead nowhere."""
    return rendering.preview(
        KIND, _context(announcement), product_id=announcement.product_id, topic=announcement.topic, recipient=recipient, now=now
    )


# The kind of notice ---------------------------------------------------------------------------------------------------------


def _context(announcement: Announcement) -> dict[str, Any]:
    """The whole text: a mail that waits says what was sent, also when its draft has been discarded since (a test)."""
    return {
        "announcement_id": announcement.id,
        "title": announcement.subject,
        "body": announcement.body,
        "audience": announcement.audience,
    }


def _check(notice: Notice, people: Sequence[Due], now: datetime) -> Mapping[int, str]:
    """Let nothing go to somebody who has left the audience since, such as a contact whose seat was released."""
    assert notice.product_id is not None
    asked = audiences.find(notice.context["audience"]).circle(notice.product_id, notice.topic, now)
    reasons = audiences.refusals(asked, {one.user_id for one in people})
    return {one.id: reasons[one.user_id] for one in people if one.user_id in reasons}


def _describe(notice: Notice) -> Mapping[str, Any]:
    """Say why people get it."""
    audience = audiences.find(notice.context["audience"])
    product = db.session.get_one(Product, notice.product_id)
    topic = WORDS[notice.topic].label if notice.topic else ""
    because = f"You get this because {audience.because.format(product=product.name, topic=topic)}"
    if notice.topic is None:
        return {"because": f"{because}. Such mail cannot be switched off."}
    return {"because": f"{because}." if audience.needs_topic else f"{because}, and notices about {topic} are on for you."}


def _staff_path(notice: Notice) -> str | None:
    """None for the test of a draft that was discarded."""
    announcement = db.session.get(Announcement, notice.context["announcement_id"])
    return f"/staff/notices/announcements/{announcement.id}/" if announcement is not None else None


def register_kinds() -> None:
    """Make this module's kind of notices known."""
    register(Kind(KIND, label="Announcement", check=_check, shared=_describe, to_many=True, staff_path=_staff_path))


def _record(action: str, announcement: Announcement, *, actor: audit.Actor | None, now: datetime, **details: Any) -> None:
    audit.record(
        action, subject_type="announcement", subject_id=announcement.id, actor=actor, now=now,
        subject=announcement.subject, audience=announcement.audience,
        topic=announcement.topic.value if announcement.topic else None, **details,
    )  # fmt: skip
