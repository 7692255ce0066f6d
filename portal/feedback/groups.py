"""Items that are one: an item, and those that were merged into it, over however many steps.

A vote for any of them goes to the one that stands, the root. Comments, attachments and texts stay with the item they were written
for, and with whom that one may be read by; the root's page brings them together.
"""

import sqlalchemy as sa

from portal.database import db, locked
from portal.errors import NotFound
from portal.feedback.models import Item


def members_of(item_id: int) -> list[int]:
    """Return the id of an item and of all that were merged into it, in order."""
    merged = sa.select(Item.id).where(Item.id == item_id).cte("merged", recursive=True)
    merged = merged.union(sa.select(Item.id).join(merged, Item.merged_into_id == merged.c.id))
    return sorted(db.session.scalars(sa.select(merged.c.id)))


def root_of(item_id: int) -> int:
    """Return the id of the item that stands for `item_id`: itself, unless it was merged into another one. Raises NotFound."""
    while True:
        found = db.session.execute(sa.select(Item.merged_into_id).where(Item.id == item_id)).one_or_none()
        if found is None:
            raise NotFound("There is no such feedback.")
        if found.merged_into_id is None:
            return item_id
        item_id = found.merged_into_id


def roots(item_ids: sa.Select[int]) -> sa.Select[int, int]:
    """Select each of these items with the one that stands for it."""
    up = sa.select(Item.id.label("member"), Item.id, Item.merged_into_id).where(Item.id.in_(item_ids)).cte("up", recursive=True)
    up = up.union(sa.select(up.c.member, Item.id, Item.merged_into_id).where(Item.id == up.c.merged_into_id))
    return sa.select(up.c.member, up.c.id).where(up.c.merged_into_id.is_(None))


def hold(item_id: int) -> int:
    """Return the item that stands for `item_id`, and keep it standing until the transaction ends. Raises NotFound.

    Whoever adds something that follows a merge (a vote) does it under this lock, so that a merge made at the same moment either
    takes it along or sends it to the target. PostgreSQL locks also what turns out, after the wait, to be merged: that lock is given
    back before another one is asked for. So only one row is held, and whoever merges or tells apart never waits in a circle with this.
    """

    def take() -> int | None:
        root = root_of(item_id)
        return root if _stands(root) and root_of(item_id) == root else None

    return locked(take)


def _stands(item_id: int) -> bool:
    """Lock an item against being merged; False if it was."""
    statement = sa.select(Item.id).where(Item.id == item_id, Item.merged_into_id.is_(None))
    return db.session.scalar(statement.with_for_update(read=True, key_share=True)) is not None
