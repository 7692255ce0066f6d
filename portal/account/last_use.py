"""When something was last used, kept to the minute: or each look at a page would write."""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute

from portal.database import db

EVERY = timedelta(minutes=1)


def is_due(last: datetime | None, now: datetime) -> bool:
    """Whether `touch` would write anything."""
    return last is None or last <= now - EVERY


def touch(column: InstrumentedAttribute[Any], which: sa.ColumnElement[bool], *, now: datetime) -> None:
    """Remember in `column`, which says when a row was last used, that the row was used now; at most once a minute."""
    db.session.execute(
        sa.update(column.class_)
        .where(which, sa.or_(column.is_(None), column <= now - EVERY))
        .values({column: now})
        .execution_options(synchronize_session=False)
    )
