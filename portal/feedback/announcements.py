"""The mails feedback sends: the vendor answered or moved an item, somebody commented on it.

What a mail says is fixed when it is asked for; who may read it is asked at the second of sending.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa

from portal.account.models import User
from portal.database import db
from portal.errors import NotFound
from portal.feedback.access import Viewer, find_item, names_beta, viewer_of
from portal.feedback.models import Comment, Item, Status
from portal.notices import outbox
from portal.notices.kinds import Due, Kind, register
from portal.notices.models import Notice, Topic
from portal.releases.models import Channel

UPDATE = "feedback_update"
COMMENT = "feedback_comment"
NOT_VISIBLE = "no longer sees this feedback"
NOT_ENTITLED = "about a beta; no live contract"
_EXCERPT = 400


def announce_update(item: Item, *, status_changed: bool, response_changed: bool, reason: str, actor: User, now: datetime) -> None:
    """Mail the author that the status or the response changed: one mail for one save, and one for each revision."""
    outbox.enqueue(
        UPDATE,
        _author(item),
        context={
            "item_id": item.id,
            "noun": item.kind.value,
            "title": item.title,
            "headline": _headline(item, status_changed),
            "status": _status_words(item) if status_changed else "",
            "reason": reason if status_changed else "",
            "response": item.response if response_changed else "",
            "beta": concerns_beta(item),
        },
        now=now,
        topic=Topic.FEEDBACK,
        product_id=item.product_id,
        key=f"feedback-{item.id}-revision-{item.revision}",
        created_by_id=actor.id,
    )


def announce_comment(item: Item, comment: Comment, *, now: datetime) -> None:
    """Mail the author that somebody else commented. Another organisation's people go by their organisation's name alone."""
    if comment.author_id == item.author_id:
        return
    outbox.enqueue(
        COMMENT,
        _author(item),
        context={
            "item_id": item.id,
            "noun": item.kind.value,
            "title": item.title,
            "who": _who(item, comment),
            "excerpt": comment.body if len(comment.body) <= _EXCERPT else comment.body[:_EXCERPT].rstrip() + "…",
            "beta": concerns_beta(item),
        },
        now=now,
        topic=Topic.FEEDBACK,
        product_id=item.product_id,
        key=f"feedback-comment-{comment.id}",
        created_by_id=comment.author_id,
    )


def concerns_beta(item: Item) -> bool:
    """Whether what is said about the item now is part of what only the entitled read."""
    written_about = item.release is not None and item.release.channel is Channel.BETA
    return written_about or item.status is Status.IN_BETA or names_beta(item.status_version)


def _author(item: Item) -> outbox.Audience:
    return sa.select(User.id, User.email, User.name).where(User.id == item.author_id)


def _who(item: Item, comment: Comment) -> str:
    if comment.organization_id is None:
        return "The product team"
    if comment.organization_id == item.organization_id:
        author = db.session.get_one(User, comment.author_id)
        return author.label
    organization = comment.organization
    return f"A contact at {organization.name}" if organization is not None else "A contact"


def _status_words(item: Item) -> str:
    """The status in words, as on the page: In beta 15.3b2."""
    version = item.status_version
    return {
        Status.UNDER_REVIEW: "Under review",
        Status.PLANNED: f"Planned for {version}" if version else "Planned",
        Status.IN_BETA: f"In beta {version}" if version else "In beta",
        Status.SHIPPED: f"Shipped in {version}" if version else "Shipped",
        Status.DECLINED: "Not planned",
    }[item.status]


def _headline(item: Item, status_changed: bool) -> str:
    noun = item.kind.value
    if not status_changed:
        return f"We answered your {noun}"
    version = item.status_version
    return {
        Status.UNDER_REVIEW: f"Your {noun} is under review",
        Status.PLANNED: f"Your {noun} is planned for {version}" if version else f"Your {noun} is planned",
        Status.IN_BETA: f"Your {noun} is in beta {version}" if version else f"Your {noun} is in beta",
        Status.SHIPPED: f"Your {noun} shipped in {version}" if version else f"Your {noun} shipped",
        Status.DECLINED: f"Your {noun} is not planned",
    }[item.status]


def check(notice: Notice, deliveries: Sequence[Due], now: datetime) -> Mapping[int, str]:
    """Skip whoever may not read this now: a closed account, a released seat, a lapsed contract where betas are concerned."""
    refused: dict[int, str] = {}
    for delivery in deliveries:
        reason = _why_not(notice, db.session.get_one(User, delivery.user_id), now)
        if reason is not None:
            refused[delivery.id] = reason
    return refused


def _why_not(notice: Notice, person: User, now: datetime) -> str | None:
    viewer: Viewer = viewer_of(person, now)
    try:
        item = find_item(viewer, notice.context["item_id"])
    except NotFound:
        return NOT_VISIBLE
    may_read_betas = viewer.staff or item.product_id in viewer.contracts
    return NOT_ENTITLED if notice.context["beta"] and not may_read_betas else None


def register_kinds() -> None:
    """Make this module's kinds of notices known."""
    register(Kind(UPDATE, check=check))
    register(Kind(COMMENT, check=check))
