"""What the subscriber's home page says at a glance: what can I download, what is new, is my contract alive, what became
of my feedback.

Each part is one statement or two, however much there is to show.
"""

from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from portal.account.contracts import Standing, contracts_of, standing
from portal.account.entitlements import Benefit, decide_for_any, explain
from portal.account.invitations import SeatState, seat_states
from portal.account.models import Contact, Contract, User
from portal.beta import terms
from portal.beta.access import current_betas, has_expired
from portal.database import db
from portal.feedback.access import Viewer, show_status, status_shown_to, viewer_of, visible_to
from portal.feedback.models import Item, Status, Vote
from portal.notices.models import Subscription, Topic
from portal.products.models import Product
from portal.releases.catalog import newest_stable
from portal.releases.models import Release

LATEST_ITEMS = 5


@dataclass(frozen=True)
class Seat:
    """A named contact, and how far they have come."""

    contact: Contact
    state: SeatState


@dataclass(frozen=True)
class ContractCard:
    """A contract of the person, how it stands today, and its seats."""

    contract: Contract
    standing: Standing
    seats: list[Seat]


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
    contracts = contracts_of(person)
    seats = _seats(contracts, now)
    cards = [ContractCard(contract, standing(contract, now), seats.get(contract.id, [])) for contract in contracts]
    cards.sort(key=lambda card: card.standing.state != "active")
    viewer = viewer_of(person, now)
    stable = newest_stable()
    mine = {contract.product_id: contract.product for contract in contracts}
    entitled = {product_id: mine[product_id] for product_id in viewer.contracts}
    return Dashboard(
        contracts=cards,
        betas=_betas(person, [c for c in contracts if c.id in viewer.contracts.values()], stable, now),
        stable=[release for product_id, release in stable.items() if not mine or product_id in mine],
        feedback=_feedback(viewer, contracts),
        topics=_topics(person, entitled),
        closed=None if contracts else explain(decide_for_any(person, Benefit.BETAS, now)),
    )


def _betas(person: User, running: list[Contract], stable: dict[int, Release], now: datetime) -> list[BetaCard]:
    """The newest beta that still runs of each product under a running contract, as long as its final is not out."""
    zones = {contract.product_id: contract.time_zone for contract in running}
    newest: dict[int, Release] = {}
    for beta in current_betas([contract.product for contract in running], stable):
        if not has_expired(beta, zones[beta.product_id], now):
            newest.setdefault(beta.product_id, beta)
    unread = terms.unaccepted_products(person) if newest else frozenset()
    return [BetaCard(beta, beta.product_id in unread) for beta in newest.values()]


# Built once, as each home page asks it.
_SEATS = (
    sa.select(Contact)
    .where(Contact.contract_id.in_(sa.bindparam("contracts", expanding=True)), Contact.released_at.is_(None))
    .order_by(Contact.seat)
)


def _seats(contracts: list[Contract], now: datetime) -> dict[int, list[Seat]]:
    contacts = list(db.session.scalars(_SEATS, {"contracts": [contract.id for contract in contracts]}))
    states = seat_states(contacts, now)
    seats: dict[int, list[Seat]] = {}
    for contact in contacts:
        seats.setdefault(contact.contract_id, []).append(Seat(contact, states[contact.id]))
    return seats


def _feedback(viewer: Viewer, contracts: list[Contract]) -> FeedbackSummary:
    if not viewer.may_read:
        return FeedbackSummary()
    voted = sa.exists().where(
        Vote.item_id == Item.id, Vote.contract_id.in_([contract.id for contract in contracts]), Vote.withdrawn_at.is_(None)
    )
    shown = status_shown_to(viewer)
    rows = db.session.execute(
        sa.select(
            Item.id, Item.title, Item.product_id, Item.status, Item.status_version,
            sa.func.count().over(),
            sa.func.count().filter(shown == Status.SHIPPED).over(),
            sa.func.count().filter(shown == Status.IN_BETA).over(),
        )
        .where(voted, visible_to(viewer))
        .order_by(Item.changed_at.desc(), Item.id.desc())
        .limit(LATEST_ITEMS)
    ).all()  # fmt: skip
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
