"""Who wants to hear about what. A "no" is remembered, and only the person turns it into a "yes".

What was bought is switched at once. What anybody can ask for is switched on by a click in a mail alone: that is in `requests`.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from portal.database import db, insert
from portal.notices.models import Subscription, SubscriptionRequest, Topic
from portal.notices.outbox import run_update
from portal.products.models import Product

# What a named contact of a contract starts with: this is what was bought.
CONTACT_TOPICS = (Topic.BETA, Topic.POINT, Topic.FEEDBACK)
# What anybody can ask for.
OPEN_TOPICS = (Topic.MINOR, Topic.MAJOR)

# Given a user id and the time: the ids of the products of which the person has priority support.
_priority: list[Callable[[int, datetime], Collection[int]]] = []


@dataclass(frozen=True)
class Choice:
    """One topic a person can switch, and how it stands. `asked_at` is set while it waits for a click in the mail sent then."""

    topic: Topic
    wanted: bool
    asked_at: datetime | None = None


@dataclass(frozen=True)
class Offer:
    """What a person can be mailed about one product."""

    product_id: int
    product_name: str
    priority: bool
    choices: tuple[Choice, ...]


def start(user_id: int, product_id: int, topics: Iterable[Topic], *, now: datetime) -> None:
    """Switch `topics` on for a person who was never asked. A choice made before, yes or no, stays as it is."""
    rows = [{"user_id": user_id, "product_id": product_id, "topic": topic, "wanted": True, "changed_at": now} for topic in topics]
    db.session.execute(insert(Subscription).values(rows).on_conflict_do_nothing())


def choose(user_id: int, product_id: int, topic: Topic, *, wanted: bool, now: datetime) -> None:
    """Store what the person decided. Deciding the same again changes nothing, not even the date.

    A "no" also takes the topic out of what waits for confirmation, and does so first: a click at the same moment then either
    finds nothing to confirm, or comes before the "no".
    """
    if not wanted:
        withdraw(user_id, product_id, topic)
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


def withdraw(user_id: int, product_id: int, topic: Topic) -> None:
    """Take a topic out of the person's requests that nobody has confirmed."""
    waiting = sa.select(SubscriptionRequest).where(
        SubscriptionRequest.user_id == user_id, SubscriptionRequest.product_id == product_id, SubscriptionRequest.confirmed_at.is_(None)
    )
    for row in db.session.scalars(waiting.with_for_update().execution_options(populate_existing=True)):
        row.topics = [one for one in row.topics if one != topic]
    db.session.flush()


def forget_confirmed(user_id: int) -> None:
    """The person has another address now, at which nobody has confirmed anything. What was refused stays refused."""
    run_update(sa.delete(SubscriptionRequest).where(SubscriptionRequest.user_id == user_id, SubscriptionRequest.confirmed_at.is_(None)))
    run_update(
        sa.delete(Subscription).where(Subscription.user_id == user_id, Subscription.topic.in_(OPEN_TOPICS), Subscription.wanted.is_(True))
    )


def subscribed(product_id: int, topic: Topic) -> sa.Select[int]:
    """Select the ids of the users who want `topic` of the product."""
    return sa.select(Subscription.user_id).where(
        Subscription.product_id == product_id, Subscription.topic == topic, Subscription.wanted.is_(True)
    )


def is_one_of(user_ids: Iterable[int]) -> sa.ColumnElement[bool]:
    """A condition on `subscribed`: only these users."""
    return Subscription.user_id.in_(list(user_ids))


def on_priority(products_of: Callable[[int, datetime], Collection[int]]) -> None:
    """Register who knows of which products a person has priority support; contracts are on a higher floor."""
    _priority[:] = [products_of]


def offers(user_id: int, now: datetime, *, product_id: int | None = None) -> list[Offer]:
    """Return what a person can choose, product by product, those with priority support first.

    Priority support comes with betas, point releases and feedback; minor and major releases anybody can ask for.
    """
    priority = {one for products_of in _priority for one in products_of(user_id, now)}
    products = db.session.execute(
        sa.select(Product.id, Product.name).where(Product.id == product_id if product_id is not None else sa.true()).order_by(Product.name)
    ).all()
    wanted = {
        (row.product_id, row.topic)
        for row in db.session.execute(
            sa.select(Subscription.product_id, Subscription.topic).where(Subscription.user_id == user_id, Subscription.wanted.is_(True))
        )
    }
    asked = _asked(user_id, now)
    offered = [
        Offer(
            product.id,
            product.name,
            product.id in priority,
            tuple(
                Choice(topic, True) if (product.id, topic) in wanted else Choice(topic, False, asked.get((product.id, topic)))
                for topic in (*CONTACT_TOPICS[:2], *OPEN_TOPICS, *CONTACT_TOPICS[2:])
                if product.id in priority or topic in OPEN_TOPICS
            ),
        )
        for product in products
    ]
    return sorted(offered, key=lambda offer: not offer.priority)


def _asked(user_id: int, now: datetime) -> dict[tuple[int | None, Topic], datetime]:
    """Return when the person last asked for what waits for confirmation, by product and topic."""
    waiting = sa.select(SubscriptionRequest).where(
        SubscriptionRequest.user_id == user_id, SubscriptionRequest.confirmed_at.is_(None), SubscriptionRequest.expires_at > now
    )
    return {
        (row.product_id, Topic(topic)): row.created_at
        for row in db.session.scalars(waiting.order_by(SubscriptionRequest.id))
        for topic in row.topics
    }


@dataclass(frozen=True)
class Subscriber:
    """Whom a link in a mail speaks for."""

    user_id: int
    email: str


# People live on a higher floor; this is what notices need of them.
users = sa.table(
    "users",
    sa.column("id", sa.Integer),
    sa.column("email", sa.String),
    sa.column("active", sa.Boolean),
    sa.column("provisional", sa.Boolean),
    sa.column("erased_at", sa.DateTime),
)


def find_subscriber(user_id: int) -> Subscriber | None:
    """Return the person with this id, or None: also for one who was erased, whose links in old mails lead nowhere."""
    known = sa.select(users.c.id, users.c.email).where(users.c.id == user_id, users.c.erased_at.is_(None))
    row = db.session.execute(known).one_or_none()
    return Subscriber(row.id, row.email) if row is not None else None


def find_product_name(product_id: int) -> str | None:
    return db.session.scalar(sa.select(Product.name).where(Product.id == product_id))


def is_wanted(user_id: int, product_id: int, topic: Topic) -> bool:
    """Say whether the person is mailed about the topic now."""
    return user_id in set(db.session.scalars(subscribed(product_id, topic).where(is_one_of([user_id]))))
