"""What authors and followers are mailed: the vendor moved an item or answered it, and, to the author, a comment.

What is said is an Update with its words, in the transaction of the act. The first one goes out at once; what follows within the
hour waits, and goes out together in one mail when the hour is over (`send_due`, asked by the worker). So there is one mail of
news per item and hour at most, and, so that a talk delays no news, one of comments; and nothing is lost with a worker: what waits
stands in the database.

Who is mailed is decided when the mail is asked for; who may read which part of it, at the second of sending.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from portal.account.models import User
from portal.config import current_settings
from portal.database import db, insert
from portal.feedback import followers
from portal.feedback.access import names_beta
from portal.feedback.askers import asked_for, readers
from portal.feedback.loop_models import Mailed, Update, UpdateKind
from portal.feedback.models import Comment, Item, Status
from portal.notices import outbox
from portal.notices.kinds import Due, Kind, register
from portal.notices.models import Delivery, Notice, Topic
from portal.releases.models import Channel
from portal.web.formatting import exact_time

UPDATE = "feedback_update"
QUIET = timedelta(hours=1)
# How many items one call of `send_due` writes about; the worker asks again in seconds.
MOST_AT_ONCE = 200

NOT_VISIBLE = "no longer sees this feedback"
NOT_ENTITLED = "about a beta; no live contract"
NOT_FOLLOWING = "no longer follows it"
_EXCERPT = 400


def announce_update(
    item: Item,
    *,
    status_changed: bool,
    response_changed: bool,
    reason: str,
    actor: User | None,
    now: datetime,
    told_by: Notice | None = None,
    beta: bool = False,
) -> None:
    """Tell author and followers that the status or the response changed. A response that was taken away is no news.

    Who asked for the item and gets the notice `told_by` reads of the new status there, so they get no second mail. With `beta`
    it is part of what only the entitled read, even where the item itself no longer is: a beta was taken back.
    """
    updates = []
    if status_changed:
        words = {"status": item.status, "version": item.status_version, "text": reason}
        updates.append(_update(item, UpdateKind.STATUS, actor, now, beta=beta, **words))
        updates[0].told_by_id = told_by.id if told_by else None
    if response_changed and item.response:
        updates.append(_update(item, UpdateKind.RESPONSE, actor, now, text=item.response))
    _tell(item, updates, now)


def announce_comment(item: Item, comment: Comment, *, now: datetime) -> None:
    """Tell the author that somebody else commented. Another organisation's people go by their organisation's name alone."""
    if comment.author_id == item.author_id:
        return
    author = db.session.get_one(User, comment.author_id)
    text = comment.body if len(comment.body) <= _EXCERPT else comment.body[:_EXCERPT].rstrip() + "…"
    _tell(item, [_update(item, UpdateKind.COMMENT, author, now, text=text, who=_who(item, comment))], now)


def _update(item: Item, kind: UpdateKind, actor: User | None, now: datetime, *, beta: bool = False, **words: Any) -> Update:
    by_id = actor.id if actor else None
    return Update(item_id=item.id, kind=kind, at=now, by_id=by_id, beta=beta or concerns_beta(item), **words)


def concerns_beta(item: Item) -> bool:
    """Whether what is said about the item now is part of what only the entitled read."""
    written_about = item.release is not None and item.release.channel is Channel.BETA
    return written_about or item.status is Status.IN_BETA or names_beta(item.status_version)


def _who(item: Item, comment: Comment) -> str:
    if comment.organization_id is None:
        return "The product team"
    if comment.organization_id == item.organization_id:
        return db.session.get_one(User, comment.author_id).label
    organization = comment.organization
    return f"A contact at {organization.name}" if organization is not None else "A contact"


# When ----------------------------------------------------------------------------------------------------------------------------


def _tell(item: Item, updates: Sequence[Update], now: datetime) -> None:
    if not updates:
        return
    db.session.add_all(updates)
    db.session.flush()
    _mail_if_quiet(item, now)


def send_due(now: datetime) -> int:
    """Write about what waited until its hour was over. Returns about how many items."""
    is_comment, over = Update.kind == UpdateKind.COMMENT, now - QUIET
    quiet = sa.or_(
        sa.and_(sa.not_(is_comment), sa.or_(Mailed.at.is_(None), Mailed.at <= over)),
        sa.and_(is_comment, sa.or_(Mailed.comments_at.is_(None), Mailed.comments_at <= over)),
    )
    waiting = sa.select(Update.item_id).where(Update.settled_at.is_(None)).distinct()
    ready = waiting.outerjoin(Mailed, Mailed.item_id == Update.item_id).where(quiet).order_by(Update.item_id).limit(MOST_AT_ONCE)
    return sum(_mail_if_quiet(db.session.get_one(Item, item_id), now) for item_id in db.session.scalars(ready).all())


def _mail_if_quiet(item: Item, now: datetime) -> bool:
    """Put what waits about an item into one mail, unless one was made within the hour. Whoever asks at the same time waits here.

    News does not wait for comments to be an hour old, and takes along those that wait; comments wait for comments alone.
    """
    db.session.execute(insert(Mailed).values(item_id=item.id).on_conflict_do_nothing(index_elements=["item_id"]))
    locked = sa.select(Mailed).where(Mailed.item_id == item.id).with_for_update().execution_options(populate_existing=True)
    last = db.session.scalars(locked).one()
    waiting = db.session.scalars(sa.select(Update).where(Update.item_id == item.id, Update.settled_at.is_(None)).order_by(Update.id)).all()
    comments = [one for one in waiting if one.kind is UpdateKind.COMMENT]
    if len(waiting) > len(comments) and _is_quiet(last.at, now):
        updates = list(waiting)
    elif comments and _is_quiet(last.comments_at, now):
        updates = comments
    else:
        return False
    audience = _audience(item, now, Update.id.in_([one.id for one in updates]))
    notice: Notice | None = None
    if db.session.scalar(sa.select(audience.exists())):
        notice = outbox.enqueue(
            UPDATE,
            audience,
            context={"item_id": item.id, "noun": item.kind.value, "title": item.title},
            now=now,
            topic=Topic.FEEDBACK,
            product_id=item.product_id,
            created_by_id=updates[-1].by_id,
        )
        last.at = now if any(one.kind is not UpdateKind.COMMENT for one in updates) else last.at
        last.comments_at = now if any(one.kind is UpdateKind.COMMENT for one in updates) else last.comments_at
    for one in updates:
        one.settled_at, one.notice_id = now, notice.id if notice else None
    db.session.flush()
    return notice is not None


def _is_quiet(last: datetime | None, now: datetime) -> bool:
    return last is None or now >= last + QUIET


# Whom ----------------------------------------------------------------------------------------------------------------------------


def _audience(item: Item, now: datetime, *which: sa.ColumnElement[bool]) -> outbox.Audience:
    """Who follows the item and finds something among these updates that is for them."""
    something = sa.exists().where(*which, _is_for(item, now)).correlate(User)
    return sa.select(User.id, User.email, User.name).where(User.active.is_(True), User.id.in_(followers.of(item.id)), something)


def _is_for(item: Item, now: datetime) -> sa.ColumnElement[bool]:
    """The condition on an Update and a User that this is news to them: not their own doing, not told elsewhere, no comment on others'."""
    told = sa.exists().where(Delivery.notice_id == Update.told_by_id, Delivery.user_id == User.id).correlate(Update, User)
    asked = sa.select(Item.id).where(Item.id == item.id, asked_for(now)).correlate(User).exists()
    return sa.and_(_is_theirs(item), sa.not_(sa.and_(told, asked)))


def _is_theirs(item: Item) -> sa.ColumnElement[bool]:
    """The same, wherever else it is told."""
    return sa.and_(
        sa.or_(Update.by_id.is_(None), Update.by_id != User.id), sa.or_(Update.kind != UpdateKind.COMMENT, User.id == item.author_id)
    )


def _read_by(notice: Notice, item: Item, user_ids: Sequence[int], now: datetime) -> dict[int, list[Update]]:
    """Return, by user id, what stands in a mail for each of these people, in order, whatever they may read of it.

    Who asked for the item only after the mail was made is told by no other notice: to them all of it is news.
    """
    found: dict[int, list[Update]] = {}
    for is_news in (_is_for(item, now), _is_theirs(item)):
        rows = db.session.execute(
            sa.select(User.id, Update)
            .join(Update, Update.notice_id == notice.id)
            .where(User.id.in_(set(user_ids) - found.keys()), is_news)
            .order_by(Update.id)
        ).all()
        for user_id, update in rows:
            found.setdefault(user_id, []).append(update)
        if found.keys() >= set(user_ids):
            break
    return found


def check(notice: Notice, deliveries: Sequence[Due], now: datetime) -> Mapping[int, str]:
    """Skip whoever may read none of it now: a closed account, a released seat, a lapsed contract where betas are concerned."""
    item = _item_of(notice)
    people = [delivery.user_id for delivery in deliveries]
    may_read = readers(item, people, now)
    still = set(db.session.scalars(sa.select(User.id).where(User.id.in_(people), User.id.in_(followers.of(item.id)))))
    texts = _read_by(notice, item, people, now)
    refused: dict[int, str] = {}
    for delivery in deliveries:
        betas = may_read.get(delivery.user_id)
        if betas is None:
            refused[delivery.id] = NOT_VISIBLE
        elif delivery.user_id not in still:
            refused[delivery.id] = NOT_FOLLOWING
        elif not betas and all(update.beta for update in texts.get(delivery.user_id, [])):
            refused[delivery.id] = NOT_ENTITLED
    return refused


# What ----------------------------------------------------------------------------------------------------------------------------


def personal(notice: Notice, delivery: Due, now: datetime) -> Mapping[str, Any]:
    """Return what one person reads: what is for them, without what they may not see."""
    item = _item_of(notice)
    betas = readers(item, [delivery.user_id], now).get(delivery.user_id, False)
    updates = [one for one in _read_by(notice, item, [delivery.user_id], now).get(delivery.user_id, []) if betas or not one.beta]
    newest_response = max((one.id for one in updates if one.kind is UpdateKind.RESPONSE), default=None)
    shown = [one for one in updates if one.kind is not UpdateKind.RESPONSE or one.id == newest_response]
    own, zone = item.author_id == delivery.user_id, current_settings().default_time_zone
    several = len({one.at for one in shown}) > 1  # not one save alone, of which the headline says the status
    return {
        "headline": _headline(shown, _subject(item, own)),
        "call": f"your {item.kind.value}" if own else f"the {item.kind.value}",
        "own": own,
        "updates": [
            {
                "kind": one.kind.value,
                "words": _status_words(one),
                "when": exact_time(one.at, zone) if several else "",
                "text": one.text,
                "who": one.who,
            }
            for one in shown
        ],
    }


def _subject(item: Item, own: bool) -> str:
    noun = item.kind.value
    return f"your {noun}" if own else f"{'an' if noun[0] in 'aeiou' else 'a'} {noun} you follow"


def _headline(updates: Sequence[Update], subject: str) -> str:
    """What the mail says first: where the item stands now, else that it was answered, else that somebody commented."""
    status = next((one for one in reversed(updates) if one.kind is UpdateKind.STATUS), None)
    if status is None:
        answered = any(one.kind is UpdateKind.RESPONSE for one in updates)
        return f"We answered {subject}" if answered else f"New comment on {subject}"
    version, whole = status.version, subject[0].upper() + subject[1:]
    return {
        Status.UNDER_REVIEW: f"{whole} is under review",
        Status.PLANNED: f"{whole} is planned for {version}" if version else f"{whole} is planned",
        Status.IN_BETA: f"{whole} is in beta {version}" if version else f"{whole} is in beta",
        Status.SHIPPED: f"{whole} shipped in {version}" if version else f"{whole} shipped",
        Status.DECLINED: f"{whole} is not planned",
    }[status.status or Status.UNDER_REVIEW]


def _status_words(update: Update) -> str:
    """The status in words, as on the page: In beta 15.3b2."""
    version = update.version
    if update.status is None:
        return ""
    return {
        Status.UNDER_REVIEW: "Under review",
        Status.PLANNED: f"Planned for {version}" if version else "Planned",
        Status.IN_BETA: f"In beta {version}" if version else "In beta",
        Status.SHIPPED: f"Shipped in {version}" if version else "Shipped",
        Status.DECLINED: "Not planned",
    }[update.status]


def _item_of(notice: Notice) -> Item:
    return db.session.get_one(Item, notice.context["item_id"])


def _staff_path(notice: Notice) -> str:
    return f"/staff/feedback/{notice.context['item_id']}/"


def register_kinds() -> None:
    """Make this module's kind of notice known."""
    register(Kind(UPDATE, label="News of feedback", check=check, personal=personal, to_many=True, staff_path=_staff_path))
