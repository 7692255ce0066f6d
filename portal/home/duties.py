"""What waits for the staff: counts, each with the place where it is resolved."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from portal.account.contracts import ContractState, standing
from portal.account.models import Contact, Contract, Invitation, Term, User
from portal.database import db
from portal.feedback.models import Item
from portal.notices.models import Delivery, DeliveryState
from portal.releases import integrity
from portal.releases.models import Release, ReleaseState

ENDING_SOON_DAYS = 60
UNREAD_SHOWN = 5


@dataclass(frozen=True)
class Duties:
    """Numbers and the few things behind them."""

    drafts: list[Release]
    unread: list[Item]
    unread_feedback: int
    undelivered: int
    waiting_deliveries: int
    open_invitations: list[Invitation]
    ending: list[tuple[Contract, int]]
    published: list[Release]
    damaged: list[Release]


def collect(now: datetime) -> Duties:
    """Gather what waits at `now`."""
    rows = db.session.execute(sa.select(Delivery.state, sa.func.count()).group_by(Delivery.state))
    states: dict[DeliveryState, int] = dict(rows.all())
    return Duties(
        drafts=_releases(ReleaseState.DRAFT, Release.created_at.desc()),
        unread=_unread(),
        unread_feedback=db.session.scalar(sa.select(sa.func.count()).where(Item.read_at.is_(None))) or 0,
        undelivered=states.get(DeliveryState.BOUNCED, 0) + states.get(DeliveryState.FAILED, 0),
        waiting_deliveries=sum(states.get(state, 0) for state in (DeliveryState.QUEUED, DeliveryState.SENDING, DeliveryState.DEFERRED)),
        open_invitations=_open_invitations(),
        ending=_ending_soon(now),
        published=_releases(ReleaseState.PUBLISHED, Release.published_at.desc(), limit=5),
        damaged=integrity.damaged(),
    )


def _unread() -> list[Item]:
    """The latest of the unread feedback."""
    newest = sa.select(Item).where(Item.read_at.is_(None)).order_by(Item.created_at.desc(), Item.id.desc()).limit(UNREAD_SHOWN)
    return list(db.session.scalars(newest.options(sa.orm.joinedload(Item.organization))))


def _releases(state: ReleaseState, order: sa.ColumnElement[Any], limit: int | None = None) -> list[Release]:
    return list(db.session.scalars(sa.select(Release).where(Release.state == state).order_by(order, Release.id.desc()).limit(limit)))


def _open_invitations() -> list[Invitation]:
    statement = (
        sa.select(Invitation)
        .join(Contact, Contact.id == Invitation.contact_id)
        .join(User, User.id == Contact.user_id)
        .where(Invitation.accepted_at.is_(None), Invitation.revoked_at.is_(None), Contact.released_at.is_(None), User.password.is_(None))
        .options(sa.orm.joinedload(Invitation.contact).joinedload(Contact.contract))
        .order_by(Invitation.created_at)
        .limit(20)
    )
    return list(db.session.scalars(statement))


def _ending_soon(now: datetime) -> list[tuple[Contract, int]]:
    """Return the active contracts whose last term ends within ENDING_SOON_DAYS, soonest first, with the days left."""
    last = sa.select(Term.contract_id, sa.func.max(Term.ends_on).label("ends_on")).group_by(Term.contract_id).subquery()
    today = now.date()
    statement = (
        sa.select(Contract)
        .join(last, last.c.contract_id == Contract.id)
        .where(last.c.ends_on >= today - timedelta(days=1), last.c.ends_on <= today + timedelta(days=ENDING_SOON_DAYS))
        .options(sa.orm.selectinload(Contract.terms), sa.orm.joinedload(Contract.organization), sa.orm.joinedload(Contract.product))
        .order_by(last.c.ends_on)
    )
    standings = [(contract, standing(contract, now)) for contract in db.session.scalars(statement)]
    return [(contract, its.days_left) for contract, its in standings if its.state is ContractState.ACTIVE]
