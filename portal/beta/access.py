"""What lies behind the gate: which betas are open to somebody, on whose behalf, and until when.

Entitlement is decided for the product (`portal.releases.gate`), before any version is looked up: whoever is refused gets the same
answer for a beta that exists and for one that doesn't.
"""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import contains_eager, joinedload

from portal.account.contracts import seats_of
from portal.account.entitlements import Benefit, Decision, decide_by_product, entitled_products
from portal.account.models import Contract, Organization, User
from portal.clock import civil_date
from portal.database import db
from portal.products.catalog import all_products
from portal.products.models import Product
from portal.releases.gate import is_beta_staff
from portal.releases.models import Channel, Release, ReleaseState


@dataclass(frozen=True)
class Party:
    """On whose behalf a person gets a beta: the contract, its zone for dates, and the organisation that bought it."""

    contract_id: int
    time_zone: str
    organization_name: str


def open_products(person: User, now: datetime) -> list[Product]:
    """Return the products whose betas are open to `person`, by name."""
    return all_products() if is_beta_staff(person) else entitled_products(person, now)


def zones_of(person: User, now: datetime) -> dict[int, str]:
    """Return the zone in which days end for `person`, for each product they are entitled to, by product id."""
    seats = seats_of(person)
    zones = {seat.contract_id: seat.contract.time_zone for seat in seats}
    decisions = decide_by_product(person, Benefit.BETAS, now, seats)
    return {
        product_id: zones[decision.contract_id] for product_id, decision in decisions.items() if decision.contract_id and decision.allowed
    }


def party_of(decision: Decision) -> Party | None:
    """Return the party of an allowed decision, None for staff."""
    if decision.contract_id is None:
        return None
    row = db.session.execute(
        sa.select(Contract.time_zone, Organization.name)
        .join(Organization, Organization.id == Contract.organization_id)
        .where(Contract.id == decision.contract_id)
    ).one()
    return Party(decision.contract_id, row.time_zone, row.name)


# Built once, as each home page asks it.
_BETAS = (
    sa.select(Release)
    .join(Release.product)
    .where(
        Release.product_id.in_(sa.bindparam("products", expanding=True)),
        Release.channel == Channel.BETA,
        Release.state == ReleaseState.PUBLISHED,
    )
    .options(contains_eager(Release.product), joinedload(Release.builds))
    .order_by(Product.name, Release.version_key.desc())
)


def current_betas(products: list[Product], stable: dict[int, Release]) -> list[Release]:
    """Return the published betas of `products` with their builds, by product, the newest version first.

    A beta whose final version is out, or a later one, is left out; `stable` is the newest stable release by product id.
    """
    betas = db.session.scalars(_BETAS, {"products": [product.id for product in products]}).unique()
    return [beta for beta in betas if beta.product_id not in stable or stable[beta.product_id].version_key < beta.version_key]


def has_expired(release: Release, time_zone: str, now: datetime) -> bool:
    """Whether the last day on which the beta runs is over, by the calendar of the IANA zone `time_zone`."""
    return release.expires_on is not None and civil_date(now, time_zone) > release.expires_on
