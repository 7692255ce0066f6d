"""How often something was tried lately, counted in the database, so that all processes on all machines count together.

It is a storage of the `limits` library under the scheme `database://`. Each count is one statement in a transaction of its own:
what becomes of the request that is counted does not undo it. What is counted is named by a keyed hash, so that no address of a
client can be read here; rows that have run out are swept.
"""

import hashlib
import hmac
from datetime import datetime, timedelta

import sqlalchemy as sa
from limits.storage import Storage
from sqlalchemy.orm import Mapped, mapped_column

from portal import clock
from portal.config import current_settings
from portal.database import NO_ANSWER, Base, aside, db, insert

SCHEME = "database"


class RateCount(Base):
    """How often the thing named by `key_hash` happened in the window that ends at `expires_at`."""

    __tablename__ = "rate_counts"

    key_hash: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    count: Mapped[int]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class DatabaseStorage(Storage):
    """Fixed windows in the table `rate_counts`. Needs an app context."""

    STORAGE_SCHEME = [SCHEME]  # noqa: RUF012 - the library declares it so

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        return NO_ANSWER

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count `amount` more (less, when it is negative), beginning a window of `expiry` seconds if none runs; return the count.

        What is given back when its window is over gives nothing to the next one.
        """
        now = clock.now()
        fresh = {"key_hash": _hashed(key), "count": max(amount, 0), "expires_at": now + timedelta(seconds=expiry)}
        new = insert(RateCount).values(fresh)
        over = RateCount.expires_at <= now
        statement = new.on_conflict_do_update(
            index_elements=[RateCount.key_hash],
            set_={
                "count": sa.case((over, new.excluded["count"]), (RateCount.count + amount < 0, 0), else_=RateCount.count + amount),
                "expires_at": sa.case((over, new.excluded.expires_at), else_=RateCount.expires_at),
            },
        ).returning(RateCount.count)
        with aside() as connection:
            return int(connection.execute(statement).scalar_one())

    def get(self, key: str) -> int:
        return _running(key)[0]

    def get_expiry(self, key: str) -> float:
        """Return when the window ends, in seconds since 1970; now, where none runs."""
        return (_running(key)[1] or clock.now()).timestamp()

    def check(self) -> bool:
        return True

    def reset(self) -> int | None:
        with aside() as connection:
            return connection.execute(sa.delete(RateCount)).rowcount

    def clear(self, key: str) -> None:
        with aside() as connection:
            connection.execute(sa.delete(RateCount).where(RateCount.key_hash == _hashed(key)))


def sweep(now: datetime) -> int:
    """Forget the windows that are over; return how many."""
    done = db.session.execute(sa.delete(RateCount).where(RateCount.expires_at <= now).returning(RateCount.key_hash))
    return len(done.all())


def _running(key: str) -> tuple[int, datetime | None]:
    """The count of the window that runs, and its end."""
    statement = sa.select(RateCount.count, RateCount.expires_at).where(
        RateCount.key_hash == _hashed(key), RateCount.expires_at > clock.now()
    )
    with aside(reads=True) as connection:
        found = connection.execute(statement).one_or_none()
    return (int(found[0]), found[1]) if found else (0, None)


def _hashed(key: str) -> str:
    return hmac.new(current_settings().secret_key.encode(), f"rate:{key}".encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
