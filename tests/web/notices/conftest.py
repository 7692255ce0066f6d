"""Notices on the staff's pages: made, and left in the states a worker leaves them in."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask import Flask

from portal import heartbeat
from portal.account.models import User
from portal.database import db, transaction
from portal.notices import outbox
from portal.notices.models import Delivery, DeliveryState, Topic
from portal.products.models import Product
from tests.cast import Cast
from tests.conftest import NOW

Enqueue = Callable[..., int]


@pytest.fixture
def enqueue(app: Flask, cast: Cast) -> Enqueue:
    """Return a function that makes a notice to these people, and gives its id."""

    def do(*addresses: str, kind: str = "release") -> int:
        with app.app_context(), transaction():
            audience = sa.select(User.id, User.email, User.name).where(User.email.in_(addresses))
            product_id = db.session.scalars(sa.select(Product.id).where(Product.slug == cast.product)).one()
            context = {"release_id": 1, "title": "Macro Studio 15.2.1", "text": "It is out."}
            return outbox.enqueue(kind, audience, context=context, topic=Topic.POINT, product_id=product_id, now=NOW).id

    return do


@pytest.fixture
def worker(app: Flask) -> None:
    """A worker has just shown that it lives."""
    with app.app_context(), transaction():
        heartbeat.beat(heartbeat.WORKER, now=NOW)


def settle(app: Flask, address: str, state: DeliveryState, reply: str | None = None, reason: str | None = None) -> None:
    """Leave every delivery to this address in a state."""
    with app.app_context(), transaction() as session:
        for delivery in session.query(Delivery).filter_by(address=address):
            delivery.state, delivery.reply, delivery.reason, delivery.settled_at = state, reply, reason, NOW
            delivery.next_attempt_at, delivery.attempts = None, 1
