"""Wrong codes of second factors, counted per account in the database, apart from wrong passwords.

Whoever guesses codes knows the password already, and a right password forgets the failures counted at sign-in; so codes have a
count of their own, which nothing but a right code ends. Each SIGN_IN_FAILURES wrong ones lock codes for twice as long as
the time before, up to a day: a hundred guesses take more than a week (OWASP ASVS 5.0, 6.3.1 and 6.6.3; NIST SP 800-63B, 3.2.2).
Passkeys cannot be guessed, and stay open.
"""

from datetime import datetime, timedelta

import sqlalchemy as sa

from portal.account.models import User
from portal.config import Settings
from portal.database import db

LONGEST_LOCK = timedelta(days=1)


def locked_until(user_id: int, *, now: datetime) -> datetime | None:
    """Until when no code of this person is taken; None: codes are open."""
    until = db.session.scalar(sa.select(User.codes_locked_until).where(User.id == user_id))
    return until if until is not None and until > now else None


def count_failure(user_id: int, settings: Settings, *, now: datetime) -> datetime | None:
    """Count one wrong code. Returns until when codes are locked if this one was the last allowed, else None.

    Codes given during a lock count for nothing, and do not prolong it.
    """
    failures = db.session.scalar(
        sa.update(User)
        .where(User.id == user_id, _is_open(now))
        .values(failed_codes=User.failed_codes + 1)
        .returning(User.failed_codes)
        .execution_options(synchronize_session=False)
    )
    if failures is None or failures % settings.sign_in_failures:
        return None
    until = now + lock_after(failures // settings.sign_in_failures, settings.sign_in_lock_minutes)
    _set(user_id, codes_locked_until=until)
    return until


def lock_after(times: int, minutes: int) -> timedelta:
    """For how long codes stay locked when it happens for the `times`-th time in a row."""
    once = timedelta(minutes=minutes)
    longest = max(LONGEST_LOCK, once)
    for _ in range(times - 1):
        if once >= longest:
            break
        once *= 2
    return min(once, longest)


def admit(user_id: int, *, now: datetime) -> bool:
    """Forget the failures of somebody whose code was right; False while codes are locked, and then nothing changes."""
    admitted = db.session.execute(
        sa.update(User)
        .where(User.id == user_id, _is_open(now))
        .values(failed_codes=0, codes_locked_until=None)
        .returning(User.id)
        .execution_options(synchronize_session=False)
    )
    return admitted.first() is not None


def unlock(user_id: int) -> None:
    """Forget failures and lock."""
    _set(user_id, failed_codes=0, codes_locked_until=None)


def _set(user_id: int, **values: object) -> None:
    db.session.execute(sa.update(User).where(User.id == user_id).values(**values).execution_options(synchronize_session=False))


def _is_open(now: datetime) -> sa.ColumnElement[bool]:
    return sa.or_(User.codes_locked_until.is_(None), User.codes_locked_until <= now)
