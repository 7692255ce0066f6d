"""The week's feedback in one mail to the product team: on Monday morning, once, and not when nothing happened.

The worker asks every hour. A digest is a notice whose key names its week, so it is made once, whoever asks how often; a worker that
was away on Monday morning makes up for it within a day, and lets it be later: the pages say the same.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from portal.account.models import Role, User, roles_users
from portal.clock import civil_date
from portal.config import current_settings
from portal.database import db, insert
from portal.feedback import reports, tallies
from portal.feedback.loop_models import DigestChoice, Verdict
from portal.feedback.models import Comment, Item, ItemKind, StatusChange, Vote
from portal.notices import outbox
from portal.notices.kinds import Due, Kind, register
from portal.notices.models import Notice
from portal.releases.models import Release
from portal.web.formatting import count, days_phrase, kind_version, long_date

DIGEST = "feedback_digest"
LATEST = timedelta(days=1)
LISTED = 8

NOT_ON_THE_TEAM = "no longer on the product team"
SWITCHED_OFF = "switched off"


def send_due(now: datetime) -> int:
    """Put last week's digest into the outbox, if it is due at `now`, was not made yet, and has something to say. Returns how many."""
    settings = current_settings()
    zone = settings.default_time_zone
    today = civil_date(now, zone)
    monday = today - timedelta(days=today.weekday())
    due = reports.start_of(monday, zone) + timedelta(hours=settings.feedback_digest_hour)
    if not due <= now < due + LATEST:
        return 0
    found = _week(monday, zone, now)
    if found is None or not db.session.scalar(sa.select(readers().exists())):
        return 0
    to_readers = readers().with_only_columns(Notice.id, User.id, User.email, User.name).join(Notice, sa.true())
    return outbox.enqueue_each(DIGEST, [outbox.Planned(f"feedback-digest-{monday}", found, None)], to_readers, now=now)


def readers() -> sa.Select[int, str, str]:
    """Select (id, address, name) of the product team, or of admins where nobody is on it, but for who switched the digest off."""
    member = aliased(User)
    somebody = sa.exists().where(member.active.is_(True), member.roles.any(Role.name == "product"))
    holders = (
        sa.select(roles_users.c.user_id)
        .join(Role, Role.id == roles_users.c.role_id)
        .where(sa.or_(Role.name == "product", sa.and_(Role.name == "admin", sa.not_(somebody))))
    )
    off = sa.select(DigestChoice.user_id).where(DigestChoice.wanted.is_(False))
    return sa.select(User.id, User.email, User.name).where(User.active.is_(True), User.id.in_(holders), User.id.not_in(off))


def is_wanted(user_id: int) -> bool:
    """Say whether a member of the product team gets the digest."""
    choice = db.session.get(DigestChoice, user_id)
    return choice is None or choice.wanted


def choose(user_id: int, *, wanted: bool, now: datetime) -> None:
    """Store whether a member of the product team wants the digest."""
    values = {"wanted": wanted, "changed_at": now}
    added = insert(DigestChoice).values(user_id=user_id, **values)
    db.session.execute(added.on_conflict_do_update(index_elements=["user_id"], set_=values))


def _week(monday: date, zone: str, now: datetime) -> dict[str, Any] | None:
    """What happened in the week before `monday`, as the mail tells it; None if nothing did."""
    since, until = reports.start_of(monday - timedelta(days=7), zone), reports.start_of(monday, zone)

    def happened(model: type[Any], at: sa.SQLColumnExpression[datetime], *which: sa.ColumnElement[bool]) -> int:
        return db.session.scalar(sa.select(sa.func.count()).select_from(model).where(at >= since, at < until, *which)) or 0

    asked = {kind: happened(Item, Item.created_at, Item.kind == kind) for kind in ItemKind}
    votes = happened(Vote, Vote.created_at, Vote.copy_of_id.is_(None))
    comments = happened(Comment, Comment.created_at, Comment.organization_id.is_not(None))
    verdicts, moved = happened(Verdict, Verdict.changed_at), happened(StatusChange, StatusChange.at)
    if not (any(asked.values()) or votes or comments or verdicts):
        return None
    sums = tallies.sums(now)
    newest = sums.votes.label("contracts")
    new = db.session.execute(
        sa.select(Item.id, Item.title, Item.kind, newest)
        .where(Item.created_at >= since, Item.created_at < until, Item.merged_into_id.is_(None))
        .order_by(newest.desc(), Item.id.desc())
        .limit(LISTED)
    ).all()
    waits = sa.select(sa.func.count(), sa.func.min(Item.created_at)).where(Item.read_at.is_(None), Item.merged_into_id.is_(None))
    unread, oldest = db.session.execute(waits).one()
    return {
        "title": f"the week from {long_date(monday - timedelta(days=7))}",
        "from_day": long_date(monday - timedelta(days=7)),
        "until_day": long_date(monday - timedelta(days=1)),
        "numbers": [
            text
            for number, text in (
                *((asked[kind], count(asked[kind], f"new {kind.value}")) for kind in ItemKind),
                (votes, count(votes, "vote")),
                (comments, count(comments, "comment of subscribers", "comments of subscribers")),
                (verdicts, count(verdicts, "verdict")),
                (moved, count(moved, "status changed", "statuses changed")),
            )
            if number
        ],
        "asked": sum(asked.values()),
        "new": [
            {"title": title, "about": f"{kind.value.capitalize()} {item_id}, {count(contracts, 'contract')}", "path": _path(item_id)}
            for item_id, title, kind, contracts in new
        ],
        "verdicts": _verdicts(since, until),
        "unread": unread,
        "oldest": days_phrase((civil_date(oldest, zone) - civil_date(now, zone)).days) if oldest else "",
    }


def _path(item_id: int) -> str:
    return f"/staff/feedback/{item_id}/"


def _verdicts(since: datetime, until: datetime) -> list[dict[str, str]]:
    """What testers said in the week, by beta and item."""
    rows = db.session.execute(
        sa.select(Item.id, Item.title, Release.version, Verdict.answer, sa.func.count())
        .join(Item, Item.id == Verdict.item_id)
        .join(Release, Release.id == Verdict.release_id)
        .where(Verdict.changed_at >= since, Verdict.changed_at < until)
        .group_by(Item.id, Item.title, Release.version, Release.version_key, Verdict.answer)
        .order_by(Release.version_key.desc(), Item.id, Verdict.answer.desc())
    )
    said: dict[tuple[int, str, str], list[str]] = {}
    for item_id, title, version, answer, number in rows:
        said.setdefault((item_id, title, version), []).append(f"{number} {answer.value}")
    return [
        {"title": title, "about": f"{kind_version(version)}: {', '.join(words)}", "path": _path(item_id)}
        for (item_id, title, version), words in list(said.items())[:LISTED]
    ]


def check(notice: Notice, deliveries: Sequence[Due], now: datetime) -> Mapping[int, str]:
    """Skip who left the product team, or switched it off since."""
    people = [delivery.user_id for delivery in deliveries]
    still = {person.id for person in db.session.execute(readers().where(User.id.in_(people)))}
    return {
        delivery.id: NOT_ON_THE_TEAM if is_wanted(delivery.user_id) else SWITCHED_OFF
        for delivery in deliveries
        if delivery.user_id not in still
    }


def register_kinds() -> None:
    """Make this module's kind of notice known."""
    register(Kind(DIGEST, label="Week of feedback", check=check, to_many=True, staff_path=lambda _: "/staff/feedback/reports/"))
