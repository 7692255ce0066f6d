"""Who wants to hear about what. A "no" is remembered, and only the person turns it into a "yes"."""

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from portal.database import db
from portal.notices.models import Subscription, Topic

# What a named contact of a contract starts with: this is what was bought.
CONTACT_TOPICS = (Topic.BETA, Topic.POINT, Topic.FEEDBACK)


def start(user_id: int, product_id: int, topics: Iterable[Topic], *, now: datetime) -> None:
    """Switch `topics` on for a person who was never asked. A choice made before, yes or no, stays as it is."""
    insert = postgresql.insert if db.engine.dialect.name == "postgresql" else sqlite.insert
    rows = [{"user_id": user_id, "product_id": product_id, "topic": topic, "wanted": True, "changed_at": now} for topic in topics]
    db.session.execute(insert(Subscription).values(rows).on_conflict_do_nothing())


def choose(user_id: int, product_id: int, topic: Topic, *, wanted: bool, now: datetime) -> None:
    """Store what the person decided. Deciding the same again changes nothing, not even the date."""
    start(user_id, product_id, [topic], now=now)
    db.session.execute(
        sa.update(Subscription)
        .where(
            Subscription.user_id == user_id,
            Subscription.product_id == product_id,
            Subscription.topic == topic,
            Subscription.wanted.is_not(wanted),
        )
        .values(wanted=wanted, changed_at=now)
    )


def subscribed(product_id: int, topic: Topic) -> sa.Select[int]:
    """Select the ids of the users who want `topic` of the product."""
    return sa.select(Subscription.user_id).where(
        Subscription.product_id == product_id, Subscription.topic == topic, Subscription.wanted.is_(True)
    )


def is_one_of(user_ids: Iterable[int]) -> sa.ColumnElement[bool]:
    """A condition on `subscribed`: only these users."""
    return Subscription.user_id.in_(list(user_ids))
