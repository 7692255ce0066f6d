"""What several tests of the loop need: the mails that go out, and releases that are published or withdrawn as staff do it."""

from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from portal.config import current_settings
from portal.database import db, transaction
from portal.feedback import announcements, links, verdicts
from portal.feedback.loop_models import Answer
from portal.feedback.models import Item, Status
from portal.notices import checking, kinds, rendering
from portal.notices.models import Delivery, DeliveryState, Notice
from portal.releases import publishing
from portal.releases.models import Build, Channel, Release, ReleaseState
from tests.board import person, release, viewer
from tests.conftest import NOW


class Mail(NamedTuple):
    """A mail as its reader gets it."""

    kind: str
    to: str
    subject: str
    text: str
    html: str


def deliver(now: datetime = NOW) -> list[Mail]:
    """Send what waits, as a worker would: ask each kind's check, render, settle. Return the mails, in order of their rows."""
    sent: list[Mail] = []
    with transaction():
        waiting = sa.select(Delivery).where(Delivery.state == DeliveryState.QUEUED).order_by(Delivery.id)
        for delivery in db.session.scalars(waiting).all():
            notice = db.session.get_one(Notice, delivery.notice_id)
            due = rendering.due_of(delivery)
            refused = {**kinds.find(notice.kind).check(notice, [due], now), **switched_off(delivery)}
            if refused:
                delivery.state, delivery.reason = DeliveryState.SKIPPED, refused[delivery.id]
            else:
                preview = rendering.Renderer(notice, current_settings()).texts(due, now)
                sent.append(Mail(notice.kind, delivery.address, preview.subject, preview.text, preview.html))
                delivery.state = DeliveryState.SENT
            delivery.next_attempt_at = None
    return sent


def switched_off(delivery: Delivery) -> dict[int, str]:
    """What the outbox itself asks, apart from the kind."""
    notice = db.session.get_one(Notice, delivery.notice_id)
    wanted = sa.text("SELECT count(*) FROM subscriptions WHERE user_id = :user AND product_id = :product AND topic = :topic AND wanted")
    values = {"user": delivery.user_id, "product": notice.product_id, "topic": notice.topic}
    off = notice.topic is not None and not db.session.scalar(wanted, values)
    return {delivery.id: checking.SWITCHED_OFF} if off else {}


def skipped() -> list[str | None]:
    """The reasons of deliveries that were skipped, in order."""
    rows = sa.select(Delivery.reason).where(Delivery.state == DeliveryState.SKIPPED).order_by(Delivery.id)
    return list(db.session.scalars(rows))


def link(item_id: int, release_id: int, *, by: str = "petra@vendor.example.org", now: datetime = NOW) -> bool:
    with transaction():
        return links.link(item_id, release_id, actor=person(by), now=now)


def draft(version: str, channel: Channel = Channel.BETA) -> int:
    """Add a draft that can be published."""
    release_id = release(version, channel, ReleaseState.DRAFT)
    with transaction():
        db.session.add(Build(release_id=release_id, filename=f"{version}.zip", size=1, sha256="0" * 64, created_at=NOW))
    return release_id


def publish(release_id: int, *, by: str | None = "paula@vendor.example.org", now: datetime = NOW) -> None:
    with transaction():
        publishing.publish_release(release_id, actor=person(by) if by else None, now=now)


def withdraw(release_id: int, *, now: datetime = NOW) -> None:
    with transaction():
        publishing.withdraw(release_id, "It loses data.", tell_downloaders=False, actor=person("paula@vendor.example.org"), now=now)


def give(email: str, item_id: int, release_id: int, answer: Answer = Answer.YES, words: str = "", now: datetime = NOW) -> None:
    with transaction():
        verdicts.give(viewer(email, now), item_id, release_id, answer=answer, words=words, now=now)


def send_due(now: datetime) -> int:
    with transaction():
        return announcements.send_due(now)


def standing(item_id: int) -> tuple[Status, str]:
    """Where an item stands, and in which version."""
    db.session.rollback()
    item = db.session.get_one(Item, item_id)
    return item.status, item.status_version


def version_of(release_id: int) -> str:
    return db.session.get_one(Release, release_id).version
