"""The people of contracts, as audiences of notices."""

from datetime import UTC, datetime

import sqlalchemy as sa

from portal.account.entitlements import holds_seat, is_entitled
from portal.account.models import Contract, Term, User
from portal.notices import audiences
from portal.notices.audiences import Audience, Circle, Obstacle, words
from portal.notices.models import Subscription, Topic

ENDED = "contract ended"
NOT_STARTED = "contract not started yet"
SUSPENDED = "contract suspended"
CANCELLED = "contract cancelled"


def not_entitled(product_id: int, now: datetime) -> Obstacle:
    """What keeps those who hold a seat from what a contract buys: the contract that came furthest gives the reason, as in `decide`."""
    not_suspended, not_cancelled = Contract.suspended_at.is_(None), Contract.cancelled_at.is_(None)
    # A term that does not cover today but began before yesterday's end anywhere on earth has ended.
    began = sa.exists().where(Term.contract_id == Contract.id, Term.starts_on < now.astimezone(UTC).date()).correlate(Contract)
    why = sa.case(
        (holds_seat(User, product_id, not_suspended, not_cancelled, began), words(ENDED)),
        (holds_seat(User, product_id, not_suspended, not_cancelled), words(NOT_STARTED)),
        (holds_seat(User, product_id, not_suspended), words(CANCELLED)),
        else_=words(SUSPENDED),
    )
    return Obstacle(why, sa.not_(is_entitled(User, product_id, now)))


def contacts(product_id: int, topic: Topic | None, now: datetime) -> Circle:
    """The contacts of a product; those without a contract in force are kept out, each with the reason."""
    obstacle = not_entitled(product_id, now)  # says it all: nobody is entitled without a seat
    return audiences.circle(holds_seat(User, product_id), obstacle, product_id=product_id, topic=topic, says_it_all=True)


def _seats(product_id: int, topic: Topic | None, now: datetime) -> Circle:
    return audiences.circle(holds_seat(User, product_id), product_id=product_id, topic=topic)


def _customers(product_id: int, topic: Topic | None, now: datetime) -> Circle:
    # The sum keeps SQLite from looking through all contracts of the product for each person: it has an index of those, too.
    of_product = Contract.product_id + 0 == product_id
    of_buyer = sa.exists().where(Contract.organization_id == User.organization_id, of_product).correlate(User)
    subscribed = (
        sa.exists()
        .where(Subscription.user_id == User.id, Subscription.product_id == product_id, Subscription.wanted.is_(True))
        .correlate(User)
    )
    return audiences.circle(sa.or_(of_buyer, subscribed, holds_seat(User, product_id)), product_id=product_id, topic=topic)


def register_audiences() -> None:
    """Make the audiences known that contracts and organisations give."""
    audiences.register(
        Audience(
            "contacts",
            "Contacts of contracts in force",
            "The people named to a seat, while the contract runs.",
            "you are a contact of a priority support contract for {product}",
            contacts,
        )
    )
    audiences.register(
        Audience(
            "seats",
            "Everybody who holds a seat",
            "Also of contracts that have ended, are suspended or cancelled.",
            "you are named as a contact of a contract for {product}",
            _seats,
        )
    )
    audiences.register(
        Audience(
            "customers",
            "All customers",
            "All people of organisations with a contract of the product, now or before, and everybody subscribed to one of its topics.",
            "your organisation is a customer for {product}, or you subscribed to its notices",
            _customers,
        )
    )
