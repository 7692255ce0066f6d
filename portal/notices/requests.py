"""Asking by mail, and the click that confirms it (double opt-in).

What anybody can ask for is never switched on by a form alone, since anybody can type anybody's address: the form makes a
request and a mail with a link, and only the person at that address can open it. A request is confirmed once; what the person
switches off afterwards stays off, however often an old link is used.
"""

import enum
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from portal import tokens
from portal.config import current_settings
from portal.database import db
from portal.errors import NotFound
from portal.notices import outbox, subscriptions, suppression
from portal.notices.kinds import Due, Kind, register
from portal.notices.models import Delivery, Notice, Subscription, SubscriptionRequest, Topic
from portal.notices.outbox import run_update
from portal.notices.subscriptions import OPEN_TOPICS, Offer, users
from portal.notices.topics import in_words
from portal.products.models import Product
from portal.web.formatting import exact_time

KIND = "confirm_subscription"
PURPOSE = "confirm_subscription"
PATH = "/notices/confirm"
LASTS = timedelta(days=7)
A_DAY = timedelta(days=1)
# Mails to one address in a day: asked for by whoever knows the address, or by the person who has signed in.
MOST_BY_ANYBODY = 3
MOST_BY_THE_PERSON = 10

NOT_OPEN = "no longer asked for"
SUPPRESSED = "address suppressed"


class State(enum.StrEnum):
    """How a request stands."""

    OPEN = "open"
    CONFIRMED = "confirmed"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    CLOSED = "closed"


@dataclass(frozen=True)
class Asked:
    """A request as its page shows it. `topics` is what it asks for, `on` what of that is switched on now."""

    user_id: int
    email: str
    product: Product | None
    topics: tuple[Topic, ...]
    on: frozenset[Topic]
    state: State
    expires_at: datetime
    confirmed_at: datetime | None


@dataclass(frozen=True)
class Saved:
    """What saving choices did: how many were switched at once, and for how many a mail was sent, or could not be."""

    changed: int = 0
    asked: int = 0
    not_asked: int = 0


def ask(
    people: sa.Select[int],
    product_id: int | None,
    topics: Iterable[Topic],
    *,
    now: datetime,
    most: int = MOST_BY_ANYBODY,
    by_vendor: bool = False,
    created_by_id: int | None = None,
) -> int:
    """Mail a link to the people whose ids are selected: whoever opens it confirms `topics` of the product. Returns how many are mailed.

    Without a product, it confirms that mail may go to the address again. Left out are closed accounts, and addresses that got
    `most` such mails within a day. However many are left, none, one or all, the same statements run: what is done for an
    address does not show in how long it takes. The mail names nobody, since a name may have been typed by a stranger.
    """
    ids = list(db.session.scalars(sa.select(users.c.id).where(users.c.id.in_(people)).with_for_update()))
    recent = (
        sa.select(sa.func.count())
        .where(SubscriptionRequest.user_id == users.c.id, SubscriptionRequest.created_at > now - A_DAY)
        .correlate(users)
        .scalar_subquery()
    )
    audience = sa.select(users.c.id, users.c.email, sa.literal("").label("name")).where(
        users.c.id.in_(ids), users.c.active.is_(True), recent < most
    )
    notice = outbox.enqueue(KIND, audience, context={"by_vendor": by_vendor}, product_id=product_id, now=now, created_by_id=created_by_id)
    mailed = list(db.session.scalars(sa.select(Delivery.user_id).where(Delivery.notice_id == notice.id)))
    if mailed:
        wanted = [topic.value for topic in topics]
        db.session.execute(sa.insert(SubscriptionRequest), [_request(one, product_id, notice.id, wanted, now) for one in mailed])
    else:
        run_update(sa.delete(Notice).where(Notice.id == notice.id))
        db.session.expunge(notice)
    return len(mailed)


def _request(user_id: int, product_id: int | None, notice_id: int, topics: list[str], now: datetime) -> dict[str, Any]:
    nonce = tokens.make_token()
    return {
        "user_id": user_id,
        "product_id": product_id,
        "notice_id": notice_id,
        "topics": topics,
        "nonce": nonce,
        "token_hash": tokens.hash_token(_token(nonce)),
        "created_at": now,
        "expires_at": now + LASTS,
    }


def _token(nonce: str) -> str:
    return tokens.derive_token(current_settings().secret_key, PURPOSE, nonce)


def never_asked(product_id: int, user_id: sa.ColumnElement[int] | sa.orm.InstrumentedAttribute[int]) -> sa.ColumnElement[bool]:
    """A condition on people: nobody has asked them about releases of the product. No mail was sent; they have neither chosen
    what it would ask about, nor switched anything of the product off."""
    asked = sa.select(SubscriptionRequest.user_id).where(SubscriptionRequest.product_id == product_id)
    decided = sa.select(Subscription.user_id).where(
        Subscription.product_id == product_id, sa.or_(Subscription.topic.in_(OPEN_TOPICS), Subscription.wanted.is_(False))
    )
    return sa.and_(user_id.not_in(asked), user_id.not_in(decided))


def save(
    user_id: int, offered: Iterable[Offer], wanted: Collection[tuple[int, Topic]], *, now: datetime, most: int = MOST_BY_ANYBODY
) -> Saved:
    """Store what the person chose among what was `offered`: what was bought and what is switched off at once, the rest is asked by mail.

    A topic that was never asked about and stays off gets no row: that is not yet a "no".
    """
    changed, asked, not_asked = 0, 0, 0
    for offer in offered:
        to_ask: list[Topic] = []
        for choice in offer.choices:
            ticked = (offer.product_id, choice.topic) in wanted
            if ticked is (choice.wanted or choice.asked_at is not None):
                continue
            if ticked and choice.topic in OPEN_TOPICS:
                to_ask.append(choice.topic)
                continue
            subscriptions.choose(user_id, offer.product_id, choice.topic, wanted=ticked, now=now)
            changed += 1
        if to_ask and ask_one(user_id, offer.product_id, to_ask, now=now, most=most):
            asked += len(to_ask)
        else:
            not_asked += len(to_ask)
    return Saved(changed, asked, not_asked)


def ask_one(user_id: int, product_id: int | None, topics: Iterable[Topic], *, now: datetime, most: int) -> bool:
    """Mail a link to one person, at their own wish. False if the account is closed or too many were sent today."""
    return ask(sa.select(users.c.id).where(users.c.id == user_id), product_id, topics, now=now, most=most) == 1


def ask_again(user_id: int, offered: Iterable[Offer], *, now: datetime, most: int) -> Saved:
    """Send what waits for confirmation once more, with a new link beside the old one."""
    asked, not_asked = 0, 0
    for offer in offered:
        waiting = [choice.topic for choice in offer.choices if choice.asked_at is not None]
        if waiting and ask_one(user_id, offer.product_id, waiting, now=now, most=most):
            asked += len(waiting)
        else:
            not_asked += len(waiting)
    return Saved(0, asked, not_asked)


def find(token: str, *, now: datetime) -> Asked:
    """Return the request of a link. Raises NotFound for a link that is none of ours."""
    row = db.session.scalar(_of(token))
    if row is None:
        raise _unknown()
    return _describe(row, now)


def confirm(token: str, *, now: datetime) -> Asked:
    """Do what the request of a link asks for, if it is open, and lift what held mail to its address up. Returns how it stands then.

    The row is locked first, so of any number of clicks at once one confirms and the others find it done. A request that was
    confirmed before changes nothing, whatever the person switched off since.
    Raises NotFound for a link that is none of ours.
    """
    row = db.session.scalar(_of(token).with_for_update().execution_options(populate_existing=True))
    if row is None:
        raise _unknown()
    asked = _describe(row, now)
    if asked.state is not State.OPEN:
        return asked
    row.confirmed_at = now
    for topic in asked.topics:
        assert row.product_id is not None, "only a request for a product names topics"
        subscriptions.choose(row.user_id, row.product_id, topic, wanted=True, now=now)
    suppression.lift(asked.email, now=now)
    db.session.execute(sa.update(users).where(users.c.id == row.user_id).values(provisional=False))
    db.session.flush()
    return _describe(row, now)


def _of(token: str) -> sa.Select[SubscriptionRequest]:
    return sa.select(SubscriptionRequest).where(SubscriptionRequest.token_hash == tokens.hash_token(token))


def _unknown() -> NotFound:
    return NotFound("We do not know this link. Open the link of the newest mail, whole, or enter your address again.")


def _describe(row: SubscriptionRequest, now: datetime) -> Asked:
    person = db.session.execute(sa.select(users.c.email, users.c.active).where(users.c.id == row.user_id)).one()
    product = db.session.get(Product, row.product_id) if row.product_id is not None else None
    topics = tuple(Topic(topic) for topic in row.topics)
    on = db.session.scalars(
        sa.select(Subscription.topic).where(
            Subscription.user_id == row.user_id,
            Subscription.product_id == row.product_id,
            Subscription.topic.in_(topics),
            Subscription.wanted.is_(True),
        )
    )
    if not person.active:
        state = State.CLOSED
    elif row.confirmed_at is not None:
        state = State.CONFIRMED
    elif row.expires_at <= now:
        state = State.EXPIRED
    elif product is not None and not topics:
        state = State.WITHDRAWN
    else:
        state = State.OPEN
    return Asked(
        row.user_id, person.email, product, topics, frozenset(on), state, row.expires_at, row.confirmed_at
    )  # fmt: skip


def _requests(notice: Notice, people: Iterable[int]) -> dict[int, SubscriptionRequest]:
    """The requests whose links stand in the mails of a notice, by person."""
    rows = db.session.scalars(
        sa.select(SubscriptionRequest).where(SubscriptionRequest.notice_id == notice.id, SubscriptionRequest.user_id.in_(list(people)))
    )
    return {row.user_id: row for row in rows}


def _still_open(notice: Notice, deliveries: Sequence[Due], now: datetime) -> Mapping[int, str]:
    """Send no link that leads nowhere, and none at the vendor's own wish to an address that mail came back from."""
    people = [delivery.user_id for delivery in deliveries]
    requests = _requests(notice, people)
    active = set(db.session.scalars(sa.select(users.c.id).where(users.c.id.in_(people), users.c.active.is_(True))))
    held_up = suppression.suppressed(delivery.address for delivery in deliveries) if notice.context.get("by_vendor") else {}
    refused: dict[int, str] = {}
    for delivery in deliveries:
        row = requests.get(delivery.user_id)  # nosec B113 # a dictionary
        open_ = row is not None and row.confirmed_at is None and row.expires_at > now
        if row is None or not open_ or delivery.user_id not in active or (row.product_id is not None and not row.topics):
            refused[delivery.id] = NOT_OPEN
        elif delivery.address.lower() in held_up:
            refused[delivery.id] = SUPPRESSED
    return refused


def _link(notice: Notice, delivery: Due, now: datetime) -> Mapping[str, Any]:
    """The link, derived at this second from the secret key: the outbox and the database never hold it."""
    settings = current_settings()
    row = _requests(notice, [delivery.user_id]).get(delivery.user_id)
    topics = [Topic(topic) for topic in row.topics] if row is not None else list(OPEN_TOPICS)
    expires_at = row.expires_at if row is not None else now + LASTS
    return {
        "confirm_url": f"{settings.base_url}{PATH}/{_token(row.nonce)}" if row is not None else "#",
        "wanted": in_words(topics),
        "address": delivery.address,
        "expires": exact_time(expires_at, settings.default_time_zone),
    }


def register_kinds() -> None:
    """Make this module's kind of notice known."""
    register(Kind(KIND, label="Confirmation of a subscription", check=_still_open, personal=_link, reaches_suppressed=True))
