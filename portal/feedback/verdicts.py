"""Verdicts: what testers say of an item in a beta. One per person, changed as often as they like; contracts are counted, not people.

Where both contacts of a contract answered, the later answer counts for it. A verdict stays with the item that was linked, so it
comes along when that is merged, and goes with it when the two are told apart.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import joinedload

from portal.account.models import Contract, User
from portal.database import db, insert
from portal.errors import Conflict, NotFound
from portal.feedback import asking
from portal.feedback.access import Viewer, find_item, visible_to
from portal.feedback.askers import asked_for
from portal.feedback.groups import members_of
from portal.feedback.links import roots_of
from portal.feedback.loop_models import Answer, Link, Verdict
from portal.feedback.models import Item
from portal.releases.models import Release
from portal.text import clean_text

WORDS_LIMIT = 4_000

# Whose verdict counts for a contract: the latest.
_LATEST_FIRST = (Verdict.changed_at.desc(), Verdict.id.desc())


@dataclass(frozen=True)
class Tally:
    """How many contracts say what of one item in one beta, and each person's words, latest first."""

    verdicts: list[Verdict] = field(default_factory=list)

    def count(self, answer: Answer) -> int:
        latest: dict[int, Answer] = {}
        for verdict in self.verdicts:  # latest first
            latest.setdefault(verdict.contract_id, verdict.answer)
        return sum(one is answer for one in latest.values())

    @property
    def counts(self) -> dict[Answer, int]:
        return {answer: self.count(answer) for answer in Answer}

    @property
    def contracts(self) -> int:
        return len({verdict.contract_id for verdict in self.verdicts})


@dataclass(frozen=True)
class Asked:
    """An item in a beta about which a person can say something: their own verdict, and that of the other contact of their contract."""

    item: Item
    release: Release
    mine: Verdict | None
    colleague: Verdict | None


def give(viewer: Viewer, item_id: int, release_id: int, *, answer: Answer, words: str, now: datetime) -> None:
    """Store what the viewer says of an item in a beta; a second time, it replaces the first.

    Raises NotFound for an item or a link the viewer cannot see; Conflict for those who only read, and when the beta has ended;
    Invalid(words).
    """
    item = find_item(viewer, item_id)
    contract_id = viewer.voting_contract(item.product_id)
    words = clean_text(words, "words", WORDS_LIMIT, required=False)
    linked = _linked_item(item, release_id)
    release = db.session.get(Release, release_id)
    if linked is None or release is None:
        raise NotFound("This feedback is not in that beta.")
    if not asking.is_open(release, now):
        raise Conflict(f"{release.product.name} {release.version} is no longer tested, so nothing was saved.")
    values = {"contract_id": contract_id, "answer": answer, "words": words, "changed_at": now}
    keys = {"item_id": linked, "release_id": release_id, "user_id": viewer.person.id}
    db.session.execute(
        insert(Verdict).values(**keys, **values, created_at=now).on_conflict_do_update(index_elements=list(keys), set_=values)
    )
    item.read_at = None  # somebody on the product team reads it


def _linked_item(item: Item, release_id: int) -> int | None:
    """The item of the group that is linked: itself, where both are."""
    members = Link.item_id.in_(members_of(item.id)), Link.release_id == release_id, Link.removed_at.is_(None)
    itself_first = sa.case((Link.item_id == item.id, 0), else_=1)
    return db.session.scalar(sa.select(Link.item_id).where(*members).order_by(itself_first, Link.item_id).limit(1))


def to_answer(viewer: Viewer, release: Release, now: datetime, *, item_ids: Collection[int] | None = None) -> list[Asked]:
    """Return what of a beta the viewer asked for and can answer for, by item; with `item_ids`, those of them that they may see.

    None for staff, and once the beta has ended.
    """
    if viewer.staff or release.product_id not in viewer.contracts or not asking.is_open(release, now):
        return []
    which = asked_for(now) if item_ids is None else Item.id.in_(item_ids)
    items = list(
        db.session.scalars(
            sa.select(Item)
            .join(User, User.id == viewer.person.id)
            .where(Item.id.in_(roots_of(release.id)), visible_to(viewer), which)
            .order_by(Item.id)
        )
    )
    given = _of_contract(viewer, [item.id for item in items], [release.id])
    return [_asked(viewer, item, release, given.get((item.id, release.id), [])) for item in items]


def of_reader(viewer: Viewer, item: Item, releases: Sequence[Release], now: datetime) -> list[Asked]:
    """Return, for an item's page, those of the releases linked to it that the viewer can say something about."""
    open_ones = [release for release in releases if asking.is_open(release, now)]
    if viewer.staff or item.product_id not in viewer.contracts or not open_ones:
        return []
    given = _of_contract(viewer, [item.id], [release.id for release in open_ones])
    return [_asked(viewer, item, release, given.get((item.id, release.id), [])) for release in open_ones]


def _asked(viewer: Viewer, item: Item, release: Release, given: Sequence[Verdict]) -> Asked:
    mine = next((one for one in given if one.user_id == viewer.person.id), None)
    return Asked(item, release, mine, next((one for one in given if one.user_id != viewer.person.id), None))


def _of_contract(viewer: Viewer, item_ids: Collection[int], release_ids: Collection[int]) -> Mapping[tuple[int, int], list[Verdict]]:
    own = Verdict.contract_id.in_(viewer.contracts.values()), Verdict.release_id.in_(release_ids)
    found: dict[tuple[int, int], list[Verdict]] = defaultdict(list)
    for item_id, verdict in _rows(item_ids, *own):
        found[item_id, verdict.release_id].append(verdict)
    return found


def of_release(release_id: int, item_ids: Collection[int]) -> Mapping[int, Tally]:
    """Return what was said of these items in a beta, by item id."""
    found = {item_id: Tally() for item_id in item_ids}
    for item_id, verdict in _rows(item_ids, Verdict.release_id == release_id):
        found[item_id].verdicts.append(verdict)
    return found


def of_item(item_id: int, release_ids: Collection[int]) -> Mapping[int, Tally]:
    """Return what was said of an item, by release id."""
    found = {release_id: Tally() for release_id in release_ids}
    for _, verdict in _rows([item_id], Verdict.release_id.in_(release_ids)):
        found[verdict.release_id].verdicts.append(verdict)
    return found


def _rows(item_ids: Collection[int], *which: sa.ColumnElement[bool]) -> list[tuple[int, Verdict]]:
    """Verdicts of these items and of all that was merged into them, each with the id of the item that stands, latest first."""
    down = sa.select(Item.id.label("root"), Item.id.label("member")).where(Item.id.in_(item_ids)).cte("down", recursive=True)
    down = down.union(sa.select(down.c.root, Item.id).where(Item.merged_into_id == down.c.member))
    rows = db.session.execute(
        sa.select(down.c.root, Verdict)
        .join(Verdict, Verdict.item_id == down.c.member)
        .where(*which)
        .options(joinedload(Verdict.user), joinedload(Verdict.contract).joinedload(Contract.organization))
        .order_by(*_LATEST_FIRST)
    )
    return [(root, verdict) for root, verdict in rows]
