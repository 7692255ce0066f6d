"""Who is asked whether they want release notices: whoever enters an address, and customers whom the vendor asks once.

Everybody who is mailed is a person, so an address nobody knew becomes one, provisionally: it is kept when somebody confirms it
or staff take it over, and forgotten with its request otherwise.
"""

import uuid
from collections.abc import Collection, Iterable
from datetime import datetime

import sqlalchemy as sa

from portal import audit
from portal.account import people
from portal.account.models import Contact, User, roles_users
from portal.database import db, insert
from portal.notices import requests, suppression
from portal.notices.models import OPEN_STATES, Delivery, Notice, Subscription, SubscriptionRequest, Suppression, Topic
from portal.notices.outbox import run_update
from portal.notices.subscriptions import OPEN_TOPICS
from portal.products.models import Product
from portal.text import clean_line

# How many addresses one statement names; PostgreSQL takes 65,535 values.
BATCH = 10_000


def ask_address(email: str, name: str, product: Product, topics: Iterable[Topic], *, now: datetime) -> str:
    """Mail a link that confirms `topics` of the product to whoever reads mail at `email`. Returns the address, normalised.

    Nothing tells whether the address was known, is closed, or gets no more mail today: the same statements run. The name is kept
    for a new person alone, and used once they have confirmed.
    Raises Invalid for a bad address or name.
    """
    address = people.normalize_email(email)
    newcomer = {
        "email": address,
        "name": clean_line(name, "name", 120, required=False),
        "fs_uniquifier": uuid.uuid4().hex,
        "provisional": True,
        "created_at": now,
    }
    db.session.execute(insert(User).values(newcomer).on_conflict_do_nothing())
    suppression.recall(address, now=now)
    requests.ask(sa.select(User.id).where(User.email == address), product.id, topics, now=now)
    return address


def ask_customers(addresses: Collection[str], product: Product, *, actor: User | None, now: datetime) -> int:
    """Ask those of the (normalised) `addresses` about release notices of the product who never were. Returns how many.

    Left out, besides who was asked or has decided: staff, closed accounts, and addresses that mail came back from.
    """
    known = list(addresses)
    asked = 0
    for start in range(0, len(known), BATCH):
        candidates = sa.select(User.id).where(
            User.email.in_(known[start : start + BATCH]),
            User.active.is_(True),
            User.id.not_in(sa.select(roles_users.c.user_id)),
            User.email.not_in(sa.select(Suppression.address)),
            requests.never_asked(product.id, User.id),
        )
        created_by_id = actor.id if actor else None
        asked += requests.ask(candidates, product.id, OPEN_TOPICS, now=now, by_vendor=True, created_by_id=created_by_id)
    if asked:
        audit.record("customer.asked", subject_type="product", subject_id=product.id, actor=actor, now=now, people=asked)
    return asked


def sweep(now: datetime) -> int:
    """Forget the people who were only ever typed into a public form, and whose requests have expired. Returns how many.

    Somebody who is asked again at this very moment stays: they are locked, then looked at once more.
    """
    locked = list(db.session.scalars(_never_confirmed(now).with_for_update(skip_locked=True).limit(BATCH)))
    ids = list(db.session.scalars(_never_confirmed(now).where(User.id.in_(locked)))) if locked else []
    return _forget(ids) if ids else 0


def make_way(address: str) -> None:
    """Forget the person of this (normalised) address who was only ever typed into a public form: somebody has proved it to be theirs."""
    ids = list(db.session.scalars(_only_typed().where(User.email == address).with_for_update()))
    if ids:
        _forget(ids)


def _forget(ids: list[int]) -> int:
    theirs = sa.select(Delivery.id).where(Delivery.user_id.in_(ids))
    notices = list(db.session.scalars(sa.select(SubscriptionRequest.notice_id).where(SubscriptionRequest.user_id.in_(ids))))
    run_update(sa.update(Suppression).where(Suppression.delivery_id.in_(theirs)).values(delivery_id=None))
    for table in (SubscriptionRequest, Subscription, Delivery):
        run_update(sa.delete(table).where(table.user_id.in_(ids)))
    run_update(sa.delete(Notice).where(Notice.id.in_(notices)))
    return run_update(sa.delete(User).where(User.id.in_(ids)))


def _never_confirmed(now: datetime) -> sa.Select[int]:
    open_request = sa.exists().where(SubscriptionRequest.user_id == User.id, SubscriptionRequest.expires_at > now)
    other_mail = (
        sa.exists()
        .where(Delivery.user_id == User.id, Notice.id == Delivery.notice_id)
        .where(sa.or_(Notice.kind != requests.KIND, Delivery.state.in_(OPEN_STATES)))
    )
    return _only_typed().where(sa.not_(open_request), sa.not_(other_mail))


def _only_typed() -> sa.Select[int]:
    return sa.select(User.id).where(
        User.provisional.is_(True), User.password.is_(None), User.organization_id.is_(None),
        User.id.not_in(sa.select(Contact.user_id)), User.id.not_in(sa.select(roles_users.c.user_id)),
    )  # fmt: skip
