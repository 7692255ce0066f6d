"""Failed sign-ins, counted per account in the database.

Counting is one UPDATE, and a right password only counts while the account is not locked, decided by one UPDATE too:
however many guesses arrive side by side, no more than SIGN_IN_FAILURES of them are ever answered truly
(OWASP ASVS 5.0, 6.3.1).
"""

from datetime import datetime, timedelta

import sqlalchemy as sa

from portal import audit
from portal.account.models import User
from portal.config import Settings
from portal.database import db

# The id of nobody.
NOBODY = -1


def count_failure(user_id: int | None, settings: Settings, *, now: datetime) -> None:
    """Count one failed sign-in; the last one allowed locks the account for SIGN_IN_LOCK_MINUTES.

    `user_id` is None for an address nobody has: it costs the same statements and writes the same event, so that time does
    not tell accounts from unknown addresses. Failures during a lock do not prolong it.
    """
    reached = User.failed_sign_ins + 1 >= settings.sign_in_failures
    db.session.execute(
        sa.update(User)
        .where(User.id == (user_id if user_id is not None else NOBODY), _is_open(now))
        .values(
            failed_sign_ins=sa.case((reached, 0), else_=User.failed_sign_ins + 1),
            sign_in_locked_until=sa.case(
                (reached, sa.literal(now + timedelta(minutes=settings.sign_in_lock_minutes), User.sign_in_locked_until.type)),
                else_=None,
            ),
        )
        .execution_options(synchronize_session=False)
    )
    audit.record("sign_in.failed", subject_type="user", subject_id=user_id, actor=None, now=now)


def admit(user_id: int | None, *, now: datetime) -> bool:
    """Forget the failures of an account whose password was right; False while it is locked, and then nothing changes.

    None stands for nobody, who is never admitted, at the same cost.
    """
    admitted = db.session.execute(
        sa.update(User)
        .where(User.id == (user_id if user_id is not None else NOBODY), _is_open(now))
        .values(failed_sign_ins=0, sign_in_locked_until=None)
        .returning(User.id)
        .execution_options(synchronize_session=False)
    )
    return admitted.first() is not None


def unlock(user_id: int) -> None:
    """Forget failures and lock: the person has proved by mail that the account is theirs."""
    db.session.execute(
        sa.update(User)
        .where(User.id == user_id)
        .values(failed_sign_ins=0, sign_in_locked_until=None)
        .execution_options(synchronize_session=False)
    )


def _is_open(now: datetime) -> sa.ColumnElement[bool]:
    return sa.or_(User.sign_in_locked_until.is_(None), User.sign_in_locked_until <= now)
