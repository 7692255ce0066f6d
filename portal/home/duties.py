"""What waits for the staff: a few lines of each kind, with how many there are, each to be resolved somewhere.

Only what the reader's roles may resolve is asked for. Each kind is one statement, however much there is of it.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import aliased, contains_eager, defer, joinedload

from portal import clock
from portal.account import entitlements, renewals
from portal.account.models import Contact, Contract, Invitation, RenewalRequest, Term, User
from portal.beta.access import has_expired
from portal.config import current_settings
from portal.database import db
from portal.feedback.models import Item
from portal.notices.models import Delivery, DeliveryState, Notice, Suppression
from portal.releases import integrity
from portal.releases.catalog import newest_published
from portal.releases.models import Build, Channel, Download, Release, ReleaseState

ENDING_SOON_DAYS = 60
# A notice older than this has been dealt with, or nobody waits for it any more.
NOTICE_DAYS = 30
# How long testers have before a beta that nobody downloaded is a duty.
UNTRIED_AFTER = timedelta(days=2)
SHOWN = 10
UNREAD_SHOWN = 5
Row = TypeVar("Row")


@dataclass(frozen=True)
class Some(Generic[Row]):
    """The first rows of a kind, and how many there are."""

    rows: list[Row] = field(default_factory=list)
    total: int = 0

    def __bool__(self) -> bool:
        return self.total > 0


@dataclass(frozen=True)
class Trouble:
    """A notice of which some mails came back or failed."""

    notice: Notice
    failed: int
    bounced: int


@dataclass(frozen=True)
class Releasing:
    """What waits for release managers. `waiting` is how many mails are on their way."""

    drafts: list[Release]
    scheduled: list[Release]
    untried: list[Release]
    damaged: list[Release]
    troubles: Some[Trouble]
    waiting: int
    published: list[Release]


@dataclass(frozen=True)
class Accounts:
    """What waits for account managers; support looks it up. Of what ends: the contract, and the days left by its calendar."""

    ending: Some[tuple[Contract, int]]
    asked: Some[RenewalRequest]
    invitations: Some[Invitation]
    lonely: Some[Contract]
    unreachable: Some[tuple[Contact, str]]


@dataclass(frozen=True)
class Duties:
    """What waits, by role; None for what the reader has no part in."""

    releasing: Releasing | None
    feedback: Some[Item] | None
    accounts: Accounts | None


def collect(roles: Collection[str], now: datetime) -> Duties:
    """Gather what waits at `now` for somebody with these roles."""
    admin = "admin" in roles
    return Duties(
        releasing=_releasing(now) if admin or "publisher" in roles else None,
        feedback=_unread() if admin or "product" in roles else None,
        accounts=_accounts(now) if admin or not {"accounts", "support"}.isdisjoint(roles) else None,
    )


# Releases ------------------------------------------------------------------------------------------------------------------------


def _releasing(now: datetime) -> Releasing:
    return Releasing(
        drafts=_releases(ReleaseState.DRAFT, Release.created_at.desc(), limit=20),
        scheduled=_releases(ReleaseState.SCHEDULED, Release.scheduled_for, limit=20),
        untried=_untried(now),
        damaged=integrity.damaged(),
        troubles=_troubles(now),
        waiting=_waiting(),
        published=_releases(ReleaseState.PUBLISHED, Release.published_at.desc(), limit=5),
    )


def _releases(state: ReleaseState, order: sa.ColumnElement[Any] | Any, limit: int) -> list[Release]:
    wanted = sa.select(Release).where(Release.state == state).order_by(order, Release.id.desc()).limit(limit)
    return list(db.session.scalars(wanted))


def _untried(now: datetime) -> list[Release]:
    """The newest beta of each product that has been out for a while, still runs, and was downloaded under no contract."""
    newest = newest_published()
    running = [
        beta
        for product_id, beta in newest[Channel.BETA].items()
        if beta.published_at is not None
        and beta.published_at <= now - UNTRIED_AFTER
        and not _is_superseded(beta, newest[Channel.STABLE].get(product_id))
        and not has_expired(beta, current_settings().default_time_zone, now)
    ]
    tried = set(
        db.session.scalars(
            sa.select(Build.release_id)
            .join(Download, Download.build_id == Build.id)
            .where(Build.release_id.in_([beta.id for beta in running]), Download.contract_id.is_not(None))
            .distinct()
        )
    )
    return [beta for beta in running if beta.id not in tried]


def _is_superseded(beta: Release, final: Release | None) -> bool:
    return final is not None and final.version_key > beta.version_key


def _waiting() -> int:
    """How many mails wait their turn or are being sent: counted by the indexes of just these."""
    due = sa.select(sa.func.count()).where(Delivery.next_attempt_at.is_not(None)).scalar_subquery()
    held = sa.select(sa.func.count()).where(Delivery.lease_id.is_not(None)).scalar_subquery()
    return db.session.scalar(sa.select(due + held)) or 0


def _troubles(now: datetime) -> Some[Trouble]:
    """The latest notices with mails that failed or came back."""
    failed, bounced = (sa.func.count().filter(Delivery.state == state) for state in (DeliveryState.FAILED, DeliveryState.BOUNCED))
    wanted = (
        sa.select(Delivery.notice_id, failed, bounced, sa.func.count().over())
        .join(Notice, Notice.id == Delivery.notice_id)
        .where(Notice.created_at >= now - timedelta(days=NOTICE_DAYS), Delivery.state.in_((DeliveryState.FAILED, DeliveryState.BOUNCED)))
        .group_by(Delivery.notice_id)
        .order_by(Delivery.notice_id.desc())
        .limit(UNREAD_SHOWN)
    )
    rows = db.session.execute(wanted).all()
    found = sa.select(Notice).where(Notice.id.in_([row[0] for row in rows])).options(defer(Notice.compiled))
    notices = {notice.id: notice for notice in db.session.scalars(found)}
    return Some([Trouble(notices[row[0]], row[1], row[2]) for row in rows], rows[0][3] if rows else 0)


# Feedback ------------------------------------------------------------------------------------------------------------------------


def _unread() -> Some[Item]:
    """The latest of the unread feedback."""
    unread = sa.select(Item).where(Item.read_at.is_(None), Item.merged_into_id.is_(None))
    newest = unread.order_by(Item.created_at.desc(), Item.id.desc()).limit(UNREAD_SHOWN).options(joinedload(Item.organization))
    total = db.session.scalar(sa.select(sa.func.count()).select_from(unread.subquery())) or 0
    return Some(list(db.session.scalars(newest)), total)


# Contracts -----------------------------------------------------------------------------------------------------------------------


def _accounts(now: datetime) -> Accounts:
    live = entitlements.live_contracts(now)
    return Accounts(_ending(live, now), _asked(), _open_invitations(), _lonely(live), _unreachable(live))


def _ending(live: sa.Select[int], now: datetime) -> Some[tuple[Contract, int]]:
    """The contracts in force whose last term ends within ENDING_SOON_DAYS, soonest first, each by its own calendar."""
    within = timedelta(days=ENDING_SOON_DAYS)
    last = sa.select(Term.contract_id, sa.func.max(Term.ends_on).label("ends_on")).group_by(Term.contract_id).subquery()
    wanted = (
        sa.select(Contract, last.c.ends_on, sa.func.count().over())
        .join(last, last.c.contract_id == Contract.id)
        .where(Contract.id.in_(live), entitlements.by_calendar(now, lambda today: last.c.ends_on <= today + within))
        .options(joinedload(Contract.organization))
        .order_by(last.c.ends_on, Contract.number)
        .limit(SHOWN)
    )
    rows = db.session.execute(wanted).all()
    found = [(contract, (ends_on - clock.civil_date(now, contract.time_zone)).days) for contract, ends_on, _ in rows]
    return Some(found, rows[0][2] if rows else 0)


def _asked() -> Some[RenewalRequest]:
    """The renewals that contacts asked for and nobody has made, the oldest first."""
    wanted = (
        sa.select(RenewalRequest, sa.func.count().over())
        .join(RenewalRequest.contract)
        .join(Contract.organization)
        .where(renewals.is_open())
        .options(contains_eager(RenewalRequest.contract).contains_eager(Contract.organization), joinedload(RenewalRequest.asked_by))
        .order_by(RenewalRequest.asked_at)
        .limit(SHOWN)
    )
    return _counted(wanted)


def _open_invitations() -> Some[Invitation]:
    """Who was invited and has not come, the longest wait first; those whose link has expired too."""
    later = aliased(Invitation)
    newest = sa.not_(sa.exists().where(later.contact_id == Invitation.contact_id, later.id > Invitation.id))
    wanted = (
        sa.select(Invitation, sa.func.count().over())
        .join(Invitation.contact)
        .join(Contact.user)
        .join(Contact.contract)
        .where(Invitation.accepted_at.is_(None), Contact.released_at.is_(None), User.password.is_(None), User.active.is_(True), newest)
        .where(Contract.cancelled_at.is_(None))
        .options(
            contains_eager(Invitation.contact).contains_eager(Contact.user).lazyload(User.organization),
            contains_eager(Invitation.contact).contains_eager(Contact.contract),
        )
        .order_by(Invitation.created_at)
        .limit(SHOWN)
    )
    return _counted(wanted)


def _lonely(live: sa.Select[int]) -> Some[Contract]:
    """The contracts in force with one contact: when that one is ill, nobody can ask for help."""
    seats = sa.select(sa.func.count()).where(Contact.contract_id == Contract.id, Contact.released_at.is_(None)).scalar_subquery()
    wanted = (
        sa.select(Contract, sa.func.count().over())
        .where(Contract.id.in_(live), seats < 2)
        .options(joinedload(Contract.organization))
        .order_by(Contract.number)
        .limit(SHOWN)
    )
    return _counted(wanted)


def _unreachable(live: sa.Select[int]) -> Some[tuple[Contact, str]]:
    """The contacts of contracts in force whose address no mail goes to, and why."""
    wanted = (
        sa.select(Contact, Suppression.reason, sa.func.count().over())
        .join(Contact.user)
        .join(Contact.contract)
        .join(Suppression, Suppression.address == User.email)
        .where(Contact.released_at.is_(None), Contact.contract_id.in_(live))
        .options(contains_eager(Contact.user).lazyload(User.organization), contains_eager(Contact.contract))
        .order_by(Suppression.id.desc())
        .limit(SHOWN)
    )
    rows = db.session.execute(wanted).all()
    return Some([(row[0], row[1]) for row in rows], rows[0][2] if rows else 0)


def _counted(wanted: sa.Select[Any, int]) -> Some[Any]:
    rows = db.session.execute(wanted).all()
    return Some([row[0] for row in rows], rows[0][1] if rows else 0)
