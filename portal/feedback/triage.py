"""The product team's acts on one item: read it, look after it, set status and official response, note something among staff."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import joinedload

from portal import audit
from portal.account.models import Role, User
from portal.database import db
from portal.errors import Conflict, Invalid, NotFound
from portal.feedback import announcements, links, writing
from portal.feedback.access import LARGEST_ID
from portal.feedback.models import Comment, Item, Status, StatusChange
from portal.releases.models import Channel, Release, ReleaseState
from portal.text import clean_line, clean_text

RESPONSE_LIMIT = 20_000
REASON_LIMIT = 2_000
VERSION_LIMIT = 60
RELEASES_OFFERED = 40
STATUSES_WITH_VERSION = (Status.PLANNED, Status.IN_BETA, Status.SHIPPED)


def mark_read(item_id: int, *, read: bool, now: datetime) -> None:
    """Take an item out of the inbox, or put it back. Not an edit: nobody's open form is overtaken by it."""
    item = find_item(item_id)
    item.read_at = now if read else None


def product_staff() -> list[User]:
    """Return the people who can look after items: active, and with a role that opens the inbox; by name."""
    may = User.roles.any(Role.name.in_(["product", "admin"]))
    people = db.session.scalars(sa.select(User).where(User.active.is_(True), may))
    return sorted(people, key=lambda person: person.label.casefold())


def assign(item_id: int, assignee_id: int | None, *, seen: int | None, actor: User, now: datetime) -> None:
    """Give an item to a member of the product team, or with None to nobody. `seen` is whose it was when the editor chose.

    Raises NotFound, Invalid("assignee") for anybody else, and Conflict when somebody has given it to another person since.
    """
    item = find_item(item_id, lock=True)
    if item.assignee_id == assignee_id:
        return
    if item.assignee_id != seen:
        whose = item.assignee.label if item.assignee else "nobody"
        raise Conflict(f"Somebody gave this to {whose} in the meantime, so it was left alone.")
    if assignee_id is not None and assignee_id not in {person.id for person in product_staff()}:
        raise Invalid("Choose somebody of the product team.", "assignee")
    audit.record(
        "feedback.assigned", subject_type="feedback_item", subject_id=item.id, actor=actor, now=now,
        before=item.assignee_id, after=assignee_id,
    )  # fmt: skip
    item.assignee_id = assignee_id
    db.session.flush()


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
    if release_id is not None:  # held before the item, as publishing and withdrawing do: the item names none that is withdrawn meanwhile
        db.session.execute(sa.select(Release.id).where(Release.id == release_id).with_for_update(read=True))
    item = find_item(item_id, lock=True)
    _refuse_merged(item)
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
    told_by = links.follow_status(item, release, actor=actor, now=now) if status_changed and release is not None else None
    announcements.announce_update(
        item, status_changed=status_changed, response_changed=response_changed, reason=reason, actor=actor, now=now, told_by=told_by
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
    item = find_item(item_id)
    if not staff_only:
        _refuse_merged(item)
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


def _refuse_merged(item: Item) -> None:
    """What is said to subscribers is said where they read it."""
    if item.merged_into_id is not None:
        raise Conflict(f"This was merged into {item.merged_into_id} in the meantime. Answer there.")


def find_item(item_id: int, *, lock: bool = False) -> Item:
    """Return an item, whoever may read it. Raises NotFound."""
    statement = sa.select(Item).where(Item.id == item_id)
    if lock:
        statement = statement.with_for_update(of=Item)
    else:
        statement = statement.options(joinedload(Item.author), joinedload(Item.organization), joinedload(Item.release))
    item = db.session.scalar(statement) if 0 < item_id <= LARGEST_ID else None
    if item is None:
        raise NotFound("There is no such feedback.")
    return item
