"""Who is mailed about a release, who is not, and why.

Both answers come from one list of obstacles, so that on the publisher's page the sum is always right.
"""

import enum
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from portal.account.entitlements import Benefit, entitled, live_contracts
from portal.account.models import Contact, Contract, Organization, Term, User
from portal.database import db
from portal.notices.models import Subscription, Suppression, Topic
from portal.notices.outbox import Audience
from portal.notices.subscriptions import subscribed
from portal.releases.models import Channel, Kind, Release


class Excluded(enum.StrEnum):
    """Why somebody who belongs to the circle of a release gets no mail. The values are what the page says."""

    ACCOUNT_CLOSED = "account closed"
    ENDED = "contract ended"
    NOT_STARTED = "contract not started yet"
    SUSPENDED = "contract suspended"
    CANCELLED = "contract cancelled"
    SWITCHED_OFF = "switched these notices off"
    SUPPRESSED = "address does not take our mail"


@dataclass(frozen=True)
class Person:
    """One person of the circle; `excluded` is None for those who will be mailed."""

    user_id: int
    email: str
    name: str
    organization: str | None
    excluded: Excluded | None


def topic_of(release: Release) -> Topic:
    """Return the topic under which a release is announced."""
    return Topic.BETA if release.channel is Channel.BETA else Topic(release.kind.value)


def needs_contract(release: Release) -> bool:
    """Betas and point releases are for priority support alone; minor and major ones are announced to every customer."""
    return release.channel is Channel.BETA or release.kind is Kind.POINT


def audience(release: Release, now: datetime) -> Audience:
    """Select (user id, address, name) of everybody who would be mailed about `release` at `now`, each once."""
    obstacles = [condition for _, condition in _obstacles(release, now)]
    return sa.select(User.id, User.email, User.name).where(_circle(release), *(sa.not_(condition) for condition in obstacles))


def count(release: Release, now: datetime) -> int:
    """Return how many people would be mailed at `now`."""
    return db.session.scalar(sa.select(sa.func.count()).select_from(audience(release, now).subquery())) or 0


def excluded(release: Release, now: datetime) -> dict[Excluded, int]:
    """Return how many people of the circle will not be mailed, by reason, the most frequent first."""
    people = _people(release, now).subquery()
    counts = db.session.execute(
        sa.select(people.c.why, sa.func.count()).where(people.c.why.is_not(None)).group_by(people.c.why).order_by(sa.func.count().desc())
    )
    return {Excluded(why): number for why, number in counts}


def people(release: Release, now: datetime, *, after: str = "", limit: int) -> list[Person]:
    """Return the people of the circle by address: at most `limit`, all after the address `after`."""
    found = db.session.execute(_people(release, now).where(User.email > after).order_by(User.email).limit(limit))
    return [Person(row.id, row.email, row.name, row.organization, Excluded(row.why) if row.why else None) for row in found]


def _people(release: Release, now: datetime) -> sa.Select[int, str, str, str, str | None]:
    reasons = [(condition, reason) for reason, condition in _obstacles(release, now)]
    return (
        sa.select(User.id, User.email, User.name, Organization.name.label("organization"), sa.case(*reasons).label("why"))
        .outerjoin(Organization, Organization.id == User.organization_id)
        .where(_circle(release))
    )


def _circle(release: Release) -> sa.ColumnElement[bool]:
    """Whom a release concerns at all: those who hold a seat for its product, or were ever asked about its topic."""
    if needs_contract(release):
        seats = sa.select(Contact.user_id).join(Contract, Contract.id == Contact.contract_id)
        return User.id.in_(seats.where(Contact.released_at.is_(None), Contract.product_id == release.product_id))
    asked = sa.select(Subscription.user_id)
    return User.id.in_(asked.where(Subscription.product_id == release.product_id, Subscription.topic == topic_of(release)))


def _obstacles(release: Release, now: datetime) -> list[tuple[sa.ColumnElement[str], sa.ColumnElement[bool]]]:
    """What keeps a person from being mailed, with its reason, in the order tested. No condition is ever NULL."""
    obstacles: list[tuple[sa.ColumnElement[str], sa.ColumnElement[bool]]] = [(_reason(Excluded.ACCOUNT_CLOSED), User.active.is_(False))]
    if needs_contract(release):
        people_entitled = entitled(Benefit.NOTICES, release.product_id, now)
        obstacles.append((_why_not_entitled(release.product_id, now), User.id.not_in(people_entitled)))
    wanted = subscribed(release.product_id, topic_of(release))
    obstacles.append((_reason(Excluded.SWITCHED_OFF), User.id.not_in(wanted)))
    obstacles.append((_reason(Excluded.SUPPRESSED), User.email.in_(sa.select(Suppression.address))))
    return obstacles


def _why_not_entitled(product_id: int, now: datetime) -> sa.ColumnElement[str]:
    """The contract that came furthest gives the reason, as in `decide`. Asked only of people who are not entitled."""
    seat = (
        sa.exists()
        .where(Contact.user_id == User.id, Contact.released_at.is_(None), Contract.id == Contact.contract_id)
        .where(Contract.product_id == product_id, Contract.id.not_in(live_contracts(now)))
        .correlate(User)
    )
    # A term that does not cover today but began before yesterday's end anywhere on earth has ended.
    began = sa.exists().where(Term.contract_id == Contract.id, Term.starts_on < now.astimezone(UTC).date()).correlate(Contract)
    open_seat = seat.where(Contract.suspended_at.is_(None), Contract.cancelled_at.is_(None))
    return sa.case(
        (open_seat.where(began), _reason(Excluded.ENDED)),
        (open_seat, _reason(Excluded.NOT_STARTED)),
        (seat.where(Contract.suspended_at.is_(None)), _reason(Excluded.CANCELLED)),
        else_=_reason(Excluded.SUSPENDED),
    )


def _reason(reason: Excluded) -> sa.ColumnElement[str]:
    return sa.literal(reason.value, sa.String)
