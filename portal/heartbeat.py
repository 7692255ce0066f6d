"""Signs of life: a process that matters writes the time, others see when it last did."""

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from portal.database import Base, db, insert

WORKER = "worker"
# Who has not shown for so long that it lives is taken for dead.
SILENCE = timedelta(minutes=3)


class Heartbeat(Base):
    """When a kind of process last showed that it runs. Several workers share one row: one alive is enough."""

    __tablename__ = "heartbeats"

    name: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    at: Mapped[datetime]


def beat(name: str, *, now: datetime) -> None:
    """Write down that `name` is alive at `now`."""
    statement = insert(Heartbeat).values(name=name, at=now)
    db.session.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"at": now}))


def last_beat(name: str) -> datetime | None:
    """Return when `name` was last alive, None if it never was."""
    return db.session.scalar(sa.select(Heartbeat.at).where(Heartbeat.name == name))


def is_silent(name: str, now: datetime) -> bool:
    """Say whether `name` has not shown for SILENCE that it lives."""
    seen = last_beat(name)
    return seen is None or now - seen > SILENCE
