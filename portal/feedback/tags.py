"""Tags: words by which staff sort items, made on the fly. Subscribers never read them, nor does any mail or file for customers.

Two names are one tag when they differ in case alone. Adding and removing need no revision of the item: whoever comes second changes
nothing that the first one wrote.
"""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from portal import audit
from portal.account.models import User
from portal.database import db, insert
from portal.errors import Conflict, Invalid, NotFound
from portal.feedback.access import LARGEST_ID
from portal.feedback.models import Item, ItemTag, Tag
from portal.text import clean_line

NAME_LIMIT = 40
TAGS_OF_AN_ITEM = 20


@dataclass(frozen=True)
class Use:
    """A tag, and how many items bear it. Merged items count too: they bear it again when they are told apart."""

    tag: Tag
    items: int


def all_tags() -> list[Use]:
    """Return every tag by name."""
    counted = sa.select(sa.func.count()).select_from(ItemTag).where(ItemTag.tag_id == Tag.id).correlate(Tag).scalar_subquery()
    return [Use(tag, items) for tag, items in db.session.execute(sa.select(Tag, counted).order_by(Tag.key))]


def find_tag(tag_id: int) -> Tag:
    """Return a tag. Raises NotFound."""
    tag = db.session.get(Tag, tag_id) if 0 < tag_id <= LARGEST_ID else None
    if tag is None:
        raise NotFound("There is no such tag.")
    return tag


def add_tag(item_id: int, name: str, *, actor: User, now: datetime) -> Tag:
    """Put a tag on an item; the tag is made if there is none of that name. Twice is the same as once.

    Raises NotFound for the item, Invalid("tag") for the name, and when the item bears as many tags as it can.
    """
    item = _find_item(item_id)
    tag = _find_or_make(_clean(name, "tag"), now)
    borne = db.session.scalars(sa.select(ItemTag.tag_id).where(ItemTag.item_id == item.id)).all()
    if tag.id in borne:
        return tag
    if len(borne) >= TAGS_OF_AN_ITEM:
        raise Invalid(f"It bears {len(borne)} tags; {TAGS_OF_AN_ITEM} is the most. Remove one first.", "tag")
    db.session.execute(insert(ItemTag).values(item_id=item.id, tag_id=tag.id).on_conflict_do_nothing())
    audit.record("feedback.tagged", subject_type="feedback_item", subject_id=item.id, actor=actor, now=now, tag=tag.name)
    return tag


def remove_tag(item_id: int, tag_id: int, *, actor: User, now: datetime) -> None:
    """Take a tag off an item. Raises NotFound for an item or a tag that is not there; a tag the item does not bear is no error."""
    item, tag = _find_item(item_id), find_tag(tag_id)
    removed = db.session.execute(sa.delete(ItemTag).where(ItemTag.item_id == item.id, ItemTag.tag_id == tag.id).returning(ItemTag.tag_id))
    if removed.first() is not None:
        audit.record("feedback.untagged", subject_type="feedback_item", subject_id=item.id, actor=actor, now=now, tag=tag.name)


def rename_tag(tag_id: int, name: str, *, seen: str, actor: User, now: datetime) -> None:
    """Give a tag another name, on all items that bear it. `seen` is the name the editor saw.

    Raises NotFound, Invalid("name"), and Conflict when somebody renamed it since, or another tag has that name.
    """
    tag = _lock_tag(tag_id)
    if tag.name != seen:
        raise Conflict(f"Somebody renamed this tag to “{tag.name}” in the meantime, so it was left alone.")
    name = _clean(name, "name")
    if name == tag.name:
        return
    if db.session.scalar(sa.select(Tag.id).where(Tag.key == _key(name), Tag.id != tag.id)) is not None:
        raise Conflict(f"There is another tag “{name}”. Choose another name, or remove one of the two.")
    audit.record("feedback.tag_renamed", subject_type="feedback_tag", subject_id=tag.id, actor=actor, now=now, before=tag.name, after=name)
    tag.name, tag.key = name, _key(name)
    db.session.flush()


def delete_tag(tag_id: int, *, actor: User, now: datetime) -> int:
    """Remove a tag, from all items that bear it too; return how many those were. Raises NotFound."""
    tag = _lock_tag(tag_id)
    borne = db.session.scalars(sa.delete(ItemTag).where(ItemTag.tag_id == tag.id).returning(ItemTag.item_id)).all()
    audit.record(
        "feedback.tag_removed", subject_type="feedback_tag", subject_id=tag.id, actor=actor, now=now, name=tag.name, items=sorted(borne)
    )
    db.session.delete(tag)
    db.session.flush()
    return len(borne)


def bears(tag_id: int) -> sa.ColumnElement[bool]:
    """Whether an Item bears a tag."""
    return sa.exists().where(ItemTag.item_id == Item.id, ItemTag.tag_id == tag_id).correlate(Item)


def _clean(name: str, field: str) -> str:
    return " ".join(clean_line(name, field, NAME_LIMIT).split())


def _key(name: str) -> str:
    return name.casefold()


def _find_or_make(name: str, now: datetime) -> Tag:
    """Return the tag of this name. Two who make the same one at the same time get the same one."""
    db.session.execute(insert(Tag).values(name=name, key=_key(name), created_at=now).on_conflict_do_nothing(index_elements=["key"]))
    return db.session.scalars(sa.select(Tag).where(Tag.key == _key(name)).with_for_update(read=True, key_share=True)).one()


def _find_item(item_id: int) -> Item:
    item = db.session.get(Item, item_id) if 0 < item_id <= LARGEST_ID else None
    if item is None:
        raise NotFound("There is no such feedback.")
    return item


def _lock_tag(tag_id: int) -> Tag:
    tag = db.session.scalar(sa.select(Tag).where(Tag.id == tag_id).with_for_update()) if 0 < tag_id <= LARGEST_ID else None
    if tag is None:
        raise NotFound("There is no such tag. Somebody may have removed it.")
    return tag
