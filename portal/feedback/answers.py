"""Who wrote about a release."""

from collections.abc import Mapping

import sqlalchemy as sa

from portal.database import db
from portal.feedback.models import Item


def answers(release_id: int) -> Mapping[int, int]:
    """Return, by user id, how many items each person wrote about a release."""
    counted = sa.select(Item.author_id, sa.func.count()).where(Item.release_id == release_id).group_by(Item.author_id)
    return dict(db.session.execute(counted).all())
