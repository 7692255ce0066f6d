"""The people of contracts, as audiences of notices."""

from datetime import UTC, datetime

import sqlalchemy as sa

from portal.account.entitlements import Benefit, entitled, live_contracts
from portal.account.models import Contact, Contract, Term, User
from portal.notices import audiences
from portal.notices.audiences import Audience, Circle, Condition, Obstacle, words
from portal.notices.models import Subscription, Topic

ENDED = "contract ended"
NOT_STARTED = "contract not started yet"
SUSPENDED = "contract suspended"
CANCELLED = "contract cancelled"


def holds_seat(product_id: int) -> Condition:
    """Whether somebody is named to a seat of a contract of the product, whatever became of the contract."""
    seats = sa.select(Contact.user_id).join(Contract, Contract.id == Contact.contract_id)
    return User.id.in_(seats.where(Contact.released_at.is_(None), Contract.product_id == product_id))


def not_entitled(product_id: int, now: datetime) -> Obstacle:
    """What keeps those who `holds_seat` from what a contract buys: the contract that came furthest gives the reason, as in `decide`."""
    seat = (
        sa.exists()
        .where(Contact.user_id == User.id, Contact.released_at.is_(None), Contract.id == Contact.contract_id)
        .where(Contract.product_id == product_id, Contract.id.not_in(live_contracts(now)))
        .correlate(User)
    )
    # A term that does not cover today but began before yesterday's end anywhere on earth has ended.
    began = sa.exists().where(Term.contract_id == Contract.id, Term.starts_on < now.astimezone(UTC).date()).correlate(Contract)
    open_seat = seat.where(Contract.suspended_at.is_(None), Contract.cancelled_at.is_(None))
    why = sa.case(
        (open_seat.where(began), words(ENDED)),
        (open_seat, words(NOT_STARTED)),
        (seat.where(Contract.suspended_at.is_(None)), words(CANCELLED)),
        else_=words(SUSPENDED),
    )
    return Obstacle(why, User.id.not_in(entitled(Benefit.NOTICES, product_id, now)))


def contacts(product_id: int, topic: Topic | None, now: datetime) -> Circle:
    """The contacts of a product; those without a contract in force are kept out, each with the reason."""
    return audiences.circle(holds_seat(product_id), not_entitled(product_id, now), product_id=product_id, topic=topic)


def _seats(product_id: int, topic: Topic | None, now: datetime) -> Circle:
    return audiences.circle(holds_seat(product_id), product_id=product_id, topic=topic)


def _customers(product_id: int, topic: Topic | None, now: datetime) -> Circle:
    buyers = sa.select(Contract.organization_id).where(Contract.product_id == product_id)
    subscribers = sa.select(Subscription.user_id).where(Subscription.product_id == product_id, Subscription.wanted.is_(True))
    # Whoever has no organisation is in none: IN would answer NULL.
    of_buyer = sa.and_(User.organization_id.is_not(None), User.organization_id.in_(buyers))
    return audiences.circle(sa.or_(of_buyer, User.id.in_(subscribers), holds_seat(product_id)), product_id=product_id, topic=topic)


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
