"""What the subscriber's home page says at a glance: what can I download, what is new, is my contract alive, what became
of my feedback.

Each part is one statement or two, however much there is to show.
"""

from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import contains_eager

from portal.account.contracts import Standing, contracts_of, seats_of, standing
from portal.account.entitlements import Benefit, decide_for_any, explain
from portal.account.invitations import SeatState, seat_states
from portal.account.models import Contact, Contract, User
from portal.account.renewals import is_offered
from portal.beta import terms
from portal.beta.access import has_expired
from portal.database import db
from portal.feedback.access import STATUS_SHOWN, VISIBLE, Viewer, show_status, viewer_of
from portal.feedback.models import Item, Status, Vote
from portal.notices.models import Subscription, Topic
from portal.products.models import Product
from portal.releases.catalog import newest_published
from portal.releases.models import Channel, Release

LATEST_ITEMS = 5


@dataclass(frozen=True)
class Seat:
    """A named contact, and how far they have come."""

    contact: Contact
    state: SeatState


@dataclass(frozen=True)
class ContractCard:
    """A contract of the person, how it stands today, its seats, and whether its next term can be asked for."""

    contract: Contract
    standing: Standing
    seats: list[Seat]
    renewable: bool


@dataclass(frozen=True)
class BetaCard:
    """A beta to download, and whether its terms must be accepted first."""

    release: Release
    needs_terms: bool


@dataclass(frozen=True)
class FeedbackLine:
    """An item the organisation voted for, with the status as this reader sees it."""

    item_id: int
    title: str
    status: Status
    version: str


@dataclass(frozen=True)
class FeedbackSummary:
    """The latest items the organisation voted for, and how many stand where."""

    lines: list[FeedbackLine] = field(default_factory=list)
    total: int = 0
    shipped: int = 0
    in_beta: int = 0


@dataclass(frozen=True)
class Dashboard:
    """Everything the home page shows to one person: running contracts first, and notices only where one runs.

    `closed` is for somebody without contract: why betas are not theirs, and who can change that.
    """

    contracts: list[ContractCard]
    betas: list[BetaCard]
    stable: list[Release]
    feedback: FeedbackSummary
    topics: list[tuple[Product, dict[Topic, bool]]]
    closed: tuple[str, str] | None


def assemble(person: User, now: datetime) -> Dashboard:
    """Gather the home page of `person` at `now`."""
    held = seats_of(person)
    contracts = contracts_of(person, held)
    seats = _seats(contracts, now)
    stands = [(contract, standing(contract, now)) for contract in contracts]
    cards = [ContractCard(contract, its, seats.get(contract.id, []), is_offered(contract, its)) for contract, its in stands]
    cards.sort(key=lambda card: card.standing.state != "active")
    viewer = viewer_of(person, now, held)
    newest = newest_published()
    stable = newest[Channel.STABLE]
    mine = {contract.product_id: contract.product for contract in contracts}
    entitled = {product_id: mine[product_id] for product_id in viewer.contracts}
    return Dashboard(
        contracts=cards,
        betas=_betas(person, [c for c in contracts if c.id in viewer.contracts.values()], newest, now),
        stable=[release for product_id, release in stable.items() if not mine or product_id in mine],
        feedback=_feedback(viewer, contracts),
        topics=_topics(person, entitled),
        closed=None if contracts else explain(decide_for_any(person, Benefit.BETAS, now)),
    )


def _betas(person: User, running: list[Contract], newest: dict[Channel, dict[int, Release]], now: datetime) -> list[BetaCard]:
    """The newest beta of each product under a running contract, as long as it runs itself and its final is not out."""
    betas = []
    for contract in running:
        beta, final = (newest[channel].get(contract.product_id) for channel in (Channel.BETA, Channel.STABLE))
        superseded = beta is not None and final is not None and final.version_key > beta.version_key
        if beta is not None and not superseded and not has_expired(beta, contract.time_zone, now):
            betas.append(beta)
    unread = terms.unaccepted_products(person) if betas else frozenset()
    return [BetaCard(beta, beta.product_id in unread) for beta in betas]


# Built once, as each home page asks it.
_SEATS = (
    sa.select(Contact)
    .join(Contact.user)
    .where(Contact.contract_id.in_(sa.bindparam("contracts", expanding=True)), Contact.released_at.is_(None))
    .options(contains_eager(Contact.user).lazyload(User.organization))
    .order_by(Contact.seat)
)


def _seats(contracts: list[Contract], now: datetime) -> dict[int, list[Seat]]:
    contacts = list(db.session.scalars(_SEATS, {"contracts": [contract.id for contract in contracts]}))
    states = seat_states(contacts, now)
    seats: dict[int, list[Seat]] = {}
    for contact in contacts:
        seats.setdefault(contact.contract_id, []).append(Seat(contact, states[contact.id]))
    return seats


_VOTED = sa.exists().where(
    Vote.item_id == Item.id, Vote.contract_id.in_(sa.bindparam("contracts", expanding=True)), Vote.withdrawn_at.is_(None)
)
_FEEDBACK = (
    sa.select(
        Item.id, Item.title, Item.product_id, Item.status, Item.status_version,
        sa.func.count().over(),
        sa.func.count().filter(STATUS_SHOWN == Status.SHIPPED).over(),
        sa.func.count().filter(STATUS_SHOWN == Status.IN_BETA).over(),
    )
    .where(_VOTED, VISIBLE)
    .order_by(Item.changed_at.desc(), Item.id.desc())
    .limit(LATEST_ITEMS)
)  # fmt: skip


def _feedback(viewer: Viewer, contracts: list[Contract]) -> FeedbackSummary:
    if not viewer.may_read:
        return FeedbackSummary()
    values = {"contracts": [contract.id for contract in contracts], **viewer.parameters}
    rows = db.session.execute(_FEEDBACK, values).all()
    lines = [FeedbackLine(row.id, row.title, *show_status(viewer, row.product_id, row.status, row.status_version)) for row in rows]
    total, shipped, in_beta = rows[0][-3:] if rows else (0, 0, 0)
    return FeedbackSummary(lines, total, shipped, in_beta)


_CHOICES = sa.select(Subscription.product_id, Subscription.topic, Subscription.wanted).where(
    Subscription.user_id == sa.bindparam("person_id")
)


def _topics(person: User, products: dict[int, Product]) -> list[tuple[Product, dict[Topic, bool]]]:
    rows = db.session.execute(_CHOICES, {"person_id": person.id})
    chosen: dict[int, dict[Topic, bool]] = {}
    for product_id, topic, wanted in rows:
        chosen.setdefault(product_id, {})[topic] = wanted
    return [
        (product, {topic: chosen.get(product.id, {}).get(topic, False) for topic in Topic})
        for product in sorted(products.values(), key=lambda product: product.name)
    ]
