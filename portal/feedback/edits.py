"""Changing what an item says. Each edition is kept and can be compared with the one before.

Its author may change it as long as it is under review or planned; from then on people rely on what it says, and the comments
are the place. Staff may at any time; while it is in a beta they only take words out (a password that somebody wrote into it): the
lapsed go on reading what it says, and nothing of betas must come into it, and testers say of it whether the beta solves it.
Whoever began from an older edition is told, and overwrites nothing.
"""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import sqlalchemy as sa
from sqlalchemy.orm import joinedload

from portal import audit
from portal.database import db
from portal.errors import Conflict, Invalid
from portal.feedback.access import Viewer, find_item
from portal.feedback.models import Item, Status
from portal.feedback.writing import BODY_LIMIT, TITLE_LIMIT
from portal.feedback.writing_models import Edition
from portal.text import clean_line, clean_text

OPEN_TO_ITS_AUTHOR = (Status.UNDER_REVIEW, Status.PLANNED)
MOST_EDITIONS = 100
_WORDS = re.compile(r"\s+|\w+|[^\w\s]")


class Overtaken(Conflict):
    """Somebody else has changed the text since it was opened."""


@dataclass(frozen=True)
class Change:
    """An edition beside the one before it. The pieces are (how, text), with how one of "same", "out" and "in"."""

    edition: Edition
    title: list[tuple[str, str]]
    body: list[tuple[str, str]]


def may_edit(viewer: Viewer, item: Item) -> bool:
    """Whether the viewer may change what the item says. Which staff may is the edge's to ask."""
    if viewer.staff:
        return True
    own = item.author_id == viewer.person.id and item.product_id in viewer.contracts
    return own and item.status in OPEN_TO_ITS_AUTHOR and item.merged_into_id is None


def current_number(item_id: int) -> int:
    """Return which edition of an item is the one it shows: 1 until it is edited."""
    return db.session.scalar(sa.select(sa.func.max(Edition.number)).where(Edition.item_id == item_id)) or 1


def edit(viewer: Viewer, item_id: int, *, title: str, body: str, number: int, now: datetime) -> bool:
    """Give an item another title or body; return whether anything changed. `number` is the edition the editor began from.

    Raises NotFound; Conflict for somebody who may not, or not any more; Overtaken; Invalid(field) for the text.
    """
    item = find_item(viewer, item_id)
    db.session.execute(sa.select(Item.id).where(Item.id == item.id).with_for_update())
    db.session.refresh(item)
    if not may_edit(viewer, item):
        raise Conflict(_why_not(viewer, item))
    current = current_number(item.id)
    if number != current:
        raise Overtaken("Somebody else changed this in the meantime.")
    title = clean_line(title, "title", TITLE_LIMIT)
    body = clean_text(body, "body", BODY_LIMIT)
    if (title, body) == (item.title, item.body):
        return False
    if item.status is Status.IN_BETA:
        _refuse_additions(title=(item.title, title), body=(item.body, body))
    if current >= MOST_EDITIONS:
        raise Conflict(f"It was changed {MOST_EDITIONS - 1} times, which is the most. Say what is new in a comment.")
    if current == 1:
        db.session.add(Edition(item_id=item.id, number=1, title=item.title, body=item.body, by_id=item.author_id, at=item.created_at))
    db.session.add(Edition(item_id=item.id, number=current + 1, title=title, body=body, by_id=viewer.person.id, at=now))
    item.title, item.body = title, body
    if viewer.staff:
        audit.record("feedback.edited", subject_type="feedback_item", subject_id=item.id, actor=viewer.person, now=now, edition=current + 1)
    else:
        item.read_at = None
    db.session.flush()
    return True


def _refuse_additions(**texts: tuple[str, str]) -> None:
    """Raise Invalid(field) for a text, given as it was and as it would be, that says more than it did."""
    for field, (old, new) in texts.items():
        left = iter(old.split())
        if not all(word in left for word in new.split()):
            raise Invalid(
                "While it is in a beta, words can be taken out but none added: those whose contract has lapsed read this too,"
                " and nothing of betas. Say what is new in the response or in a comment.", field,
            )  # fmt: skip


def _why_not(viewer: Viewer, item: Item) -> str:
    if item.author_id != viewer.person.id:
        return "Only its author and the product team change what it says. Say yours in a comment."
    return "What it says can be changed while it is under review or planned, and the contract is live. Say what is new in a comment."


def latest(item_id: int) -> Edition | None:
    """Return the edition that an item shows, None if it was never edited."""
    newest = sa.select(Edition).where(Edition.item_id == item_id).options(joinedload(Edition.by)).order_by(Edition.number.desc())
    return db.session.scalar(newest.limit(1))


def history(viewer: Viewer, item: Item) -> list[Change]:
    """Return the editions of an item, the newest first, each compared with the one before. Empty until the first edit.

    The lapsed get none: an edition may have been about a beta.
    """
    if item.product_id in viewer.lapsed:
        return []
    editions = list(
        db.session.scalars(
            sa.select(Edition).where(Edition.item_id == item.id).options(joinedload(Edition.by)).order_by(Edition.number.desc())
        )
    )
    changes = [
        Change(newer, list(compare(older.title, newer.title)), list(compare(older.body, newer.body))) for newer, older in pairwise(editions)
    ]
    return [*changes, *(Change(first, [("same", first.title)], [("same", first.body)]) for first in editions[-1:])]


def compare(old: str, new: str) -> Iterator[tuple[str, str]]:
    """Yield what stayed, what went out and what came in, word by word; line by line where whole texts would take too long."""
    words = _WORDS.findall if len(old) + len(new) < 8_000 else lambda text: text.splitlines(keepends=True)
    before, after = words(old), words(new)
    for how, old_from, old_to, new_from, new_to in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if how == "equal":
            yield "same", "".join(before[old_from:old_to])
            continue
        if old_to > old_from:
            yield "out", "".join(before[old_from:old_to])
        if new_to > new_from:
            yield "in", "".join(after[new_from:new_to])
