"""The product team's work: the inbox, the official response, the status, notes among staff.

What a contract is worth is shown to staff alone, as a fact beside the others; no score is made of it.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import joinedload

from portal import audit
from portal.account.entitlements import live_contracts
from portal.account.models import Contract, Term, User
from portal.database import db
from portal.errors import Conflict, Invalid, NotFound
from portal.feedback import announcements, board, paging, reading, votes, writing
from portal.feedback.access import LARGEST_ID
from portal.feedback.models import Comment, Item, Status, StatusChange, Vote
from portal.releases.models import Channel, Release, ReleaseState
from portal.text import clean_line, clean_text

RESPONSE_LIMIT = 20_000
REASON_LIMIT = 2_000
VERSION_LIMIT = 60
RELEASES_OFFERED = 40
STATUSES_WITH_VERSION = (Status.PLANNED, Status.IN_BETA, Status.SHIPPED)

# Currency -> cents a year.
Value = dict[str, int]


@dataclass(frozen=True)
class InboxFilter:
    """What the inbox is narrowed to, and how it is sorted behind "unread first"."""

    search: str = ""
    product_id: int | None = None
    status: Status | None = None
    unread: bool = False
    sort: board.Sort = board.Sort.NEWEST


@dataclass(frozen=True)
class InboxRow:
    item: Item
    votes: int
    value: Value


@dataclass(frozen=True)
class Voter:
    """A contract that votes, with what staff weigh: its yearly price, and the day its term ends."""

    contract: Contract
    by: User
    voted_at: datetime
    term: Term


@dataclass(frozen=True)
class Case:
    """An item as product staff see it."""

    item: Item
    votes: int
    value: Value
    voters: list[Voter]
    steps: list[StatusChange]
    comments: list[Comment] = field(default_factory=list)

    @property
    def reason(self) -> str:
        """Why the item stands where it does."""
        return self.steps[-1].reason if self.steps else ""


def inbox(wanted: InboxFilter, place: paging.Place, *, now: datetime, size: int = paging.PAGE_SIZE) -> paging.Page:
    """Return a page of InboxRows, unread first."""
    unread = sa.case((Item.read_at.is_(None), 1), else_=0)
    conditions = search.matches(wanted.search)
    if wanted.product_id is not None:
        conditions.append(Item.product_id == wanted.product_id)
    if wanted.status is not None:
        conditions.append(Item.status == wanted.status)
    if wanted.unread:
        conditions.append(Item.read_at.is_(None))
    statement = (
        sa.select(Item, votes.count_of_item(now))
        .where(*conditions)
        .options(joinedload(Item.organization), joinedload(Item.release), joinedload(Item.status_release))
    )
    page = paging.fetch(statement, [unread, *board.sort_keys(wanted.sort, now)], place, size)
    values = value_by_item([item.id for item, _ in page.rows], now)
    return paging.Page([InboxRow(item, count, values[item.id]) for item, count in page.rows], page.newer, page.older)


def count_unread() -> int:
    """Return how many items wait unread."""
    return db.session.scalar(sa.select(sa.func.count()).select_from(Item).where(Item.read_at.is_(None))) or 0


def value_by_item(item_ids: Sequence[int], now: datetime) -> dict[int, Value]:
    """Return, for each item, the yearly price of the contracts that vote for it, by currency."""
    running = live_contracts(now).add_columns(Term.price_cents, Term.currency).subquery()
    rows = db.session.execute(
        sa.select(Vote.item_id, running.c.currency, sa.func.sum(running.c.price_cents))
        .join(running, running.c.id == Vote.contract_id)
        .where(Vote.item_id.in_(item_ids), Vote.withdrawn_at.is_(None))
        .group_by(Vote.item_id, running.c.currency)
        .order_by(running.c.currency)
    )
    values: dict[int, Value] = defaultdict(dict)
    for item_id, currency, cents in rows:
        values[item_id][currency] = int(cents)
    return values


def open_case(item_id: int, *, now: datetime) -> Case:
    """Return everything staff see of an item. Raises NotFound."""
    item = _find(item_id)
    voters = _voters(item.id, now)
    return Case(
        item=item,
        votes=len(voters),
        value=value_by_item([item.id], now)[item.id],
        voters=voters,
        steps=reading.list_changes(item.id),
        comments=list(
            db.session.scalars(
                sa.select(Comment)
                .where(Comment.item_id == item.id)
                .options(joinedload(Comment.author), joinedload(Comment.organization))
                .order_by(Comment.id.desc())
                .limit(200)
            )
        ),
    )


def _voters(item_id: int, now: datetime) -> list[Voter]:
    running = live_contracts(now).add_columns(Term.id.label("term_id")).subquery()
    rows = db.session.execute(
        sa.select(Vote, Term)
        .join(running, running.c.id == Vote.contract_id)
        .join(Term, Term.id == running.c.term_id)
        .where(Vote.item_id == item_id, Vote.withdrawn_at.is_(None))
        .options(joinedload(Vote.user), joinedload(Vote.contract).joinedload(Contract.organization))
        .order_by(Vote.id)
    )
    return [Voter(vote.contract, vote.user, vote.created_at, term) for vote, term in rows]


def mark_read(item_id: int, *, read: bool, now: datetime) -> None:
    """Take an item out of the inbox, or put it back. Not an edit: nobody's open form is overtaken by it."""
    item = _find(item_id)
    item.read_at = now if read else None


def releases_to_choose(item: Item) -> list[Release]:
    """Return the releases that the item's status can name, newest first: published ones, and the one it names already.

    Subscribers read the version, so no draft is among them: what is planned for a version yet to come is said in words.
    """
    named = Release.id == item.status_release_id
    return list(
        db.session.scalars(
            sa.select(Release)
            .where(Release.product_id == item.product_id, sa.or_(Release.state == ReleaseState.PUBLISHED, named))
            .order_by(sa.case((named, 0), else_=1), Release.version_key.desc())
            .limit(RELEASES_OFFERED)
        )
    )


def answer(
    item_id: int,
    *,
    revision: int,
    status: Status,
    release_id: int | None = None,
    version: str = "",
    reason: str = "",
    response: str = "",
    actor: User,
    now: datetime,
) -> bool:
    """Set status and official response of an item as one act, and mail its author once. Return whether anything changed.

    `revision` is the one the editor saw. `release_id` names a published release of the product and wins over `version`, free
    text; both count only for statuses that name a version. The reason is needed to decline.
    Raises NotFound, Conflict when somebody else has edited the item since, and Invalid(field) otherwise.
    """
    item = _find(item_id, lock=True)
    if item.revision != revision:
        raise Conflict("Somebody else changed this in the meantime.")
    version, release = _read_version(item, status, release_id, version)
    reason = clean_text(reason, "reason", REASON_LIMIT, required=False)
    if status is Status.DECLINED and not reason:
        raise Invalid("Say why. Whoever asked for it gets a reason.", "reason")
    response = clean_text(response, "response", RESPONSE_LIMIT, required=False)

    before = (item.status, item.status_version, item.status_release_id, _last_reason(item.id))
    status_changed = before != (status, version, release.id if release else None, reason)
    response_changed = response != item.response
    if not status_changed and not response_changed:
        return False
    audit.record(
        "feedback.answered", subject_type="feedback_item", subject_id=item.id, actor=actor, now=now,
        before={"status": item.status, "version": item.status_version},
        after={"status": status, "version": version, "reason": reason},
        response="changed" if response_changed else "unchanged",
    )  # fmt: skip
    if status_changed:
        item.status, item.status_version, item.status_release = status, version, release
        db.session.add(StatusChange(item_id=item.id, status=status, version=version, reason=reason, at=now, by_id=actor.id))
    if response_changed:
        item.response = response
        item.responded_at = now if response else None
        item.responded_by_id = actor.id if response else None
    item.revision += 1
    item.changed_at = now
    item.read_at = item.read_at or now
    db.session.flush()
    if status_changed or response:
        announcements.announce_update(
            item, status_changed=status_changed, response_changed=response_changed, reason=reason, actor=actor, now=now
        )
    return True


def _read_version(item: Item, status: Status, release_id: int | None, version: str) -> tuple[str, Release | None]:
    if status not in STATUSES_WITH_VERSION:
        return "", None
    if release_id is None:
        return clean_line(version, "version", VERSION_LIMIT, required=False), None
    release = db.session.get(Release, release_id)
    if release is not None and (status, release.id) == (item.status, item.status_release_id):
        return release.version, release  # as it stands, though the release may have been withdrawn since
    if release is None or release.product_id != item.product_id or release.state is not ReleaseState.PUBLISHED:
        raise Invalid("Only a published release of the product can be chosen. Give the version in words, or choose another one.", "release")
    if status is Status.IN_BETA and release.channel is not Channel.BETA:
        raise Invalid(f"{release.version} is no beta. Choose one that is, or set the status to Planned.", "release")
    if status is Status.SHIPPED and release.channel is not Channel.STABLE:
        raise Invalid(f"{release.version} is no stable release, so nothing shipped in it yet.", "release")
    return release.version, release


def _last_reason(item_id: int) -> str:
    last = sa.select(StatusChange.reason).where(StatusChange.item_id == item_id).order_by(StatusChange.id.desc()).limit(1)
    return db.session.scalar(last) or ""


def add_note(item_id: int, body: str, *, staff_only: bool, actor: User, now: datetime) -> Comment:
    """Add a note that only staff read, or a comment in the product team's name, of which the author is mailed.

    Raises NotFound, and Invalid for the text.
    """
    item = _find(item_id)
    note = Comment(
        item_id=item.id,
        author_id=actor.id,
        body=clean_text(body, "body", writing.COMMENT_LIMIT),
        staff_only=staff_only,
        created_at=now,
    )
    db.session.add(note)
    db.session.flush()
    action = "feedback.noted" if staff_only else "feedback.commented"
    audit.record(action, subject_type="feedback_item", subject_id=item.id, actor=actor, now=now, comment_id=note.id)
    if not staff_only:
        announcements.announce_comment(item, note, now=now)
    return note


def _find(item_id: int, *, lock: bool = False) -> Item:
    statement = sa.select(Item).where(Item.id == item_id)
    if lock:
        statement = statement.with_for_update(of=Item)
    else:
        statement = statement.options(joinedload(Item.author), joinedload(Item.organization), joinedload(Item.release))
    item = db.session.scalar(statement) if 0 < item_id <= LARGEST_ID else None
    if item is None:
        raise NotFound("There is no such feedback.")
    return item
