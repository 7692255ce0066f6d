"""Sessions kept by the server: the cookie names a row by a random token, and the row decides.

A signed cookie alone stays valid wherever it was copied to; a row can be ended (OWASP ASVS 5.0, 7.2 and 7.4).
"""

import uuid
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import joinedload

from portal import tokens
from portal.account import last_use
from portal.account.models import User, UserSession
from portal.config import Settings
from portal.database import db
from portal.errors import NotFound

# How long an ended session is remembered, so that staff can say when somebody was last here; longer than any session lasts.
KEPT = timedelta(days=365)
_DEVICE_LENGTH = UserSession.device.type.length


_ALIVE = (
    UserSession.ended_at.is_(None),
    UserSession.last_seen_at > sa.bindparam("seen_after", type_=UserSession.last_seen_at.type),
    UserSession.created_at > sa.bindparam("begun_after", type_=UserSession.created_at.type),
)
# Built once, since every request of a signed-in person runs it. Roles come along: each guard asks for them.
_FIND = (
    sa.select(User, UserSession)
    .join(UserSession, UserSession.user_id == User.id)
    .where(
        UserSession.token_hash == sa.bindparam("token_hash"),
        User.fs_uniquifier == sa.bindparam("uniquifier"),
        User.active.is_(True),
        *_ALIVE,
    )
    .options(joinedload(User.roles))
)


def begin(person: User, *, device: str, now: datetime) -> str:
    """Add a session of `person` and return its token, which is kept nowhere but in the cookie."""
    token = tokens.make_token()
    db.session.add(
        UserSession(
            user_id=person.id,
            token_hash=tokens.hash_token(token),
            created_at=now,
            last_seen_at=now,
            confirmed_at=now,
            device=device[:_DEVICE_LENGTH],
        )
    )
    db.session.flush()
    return token


def find(token: str, uniquifier: str, settings: Settings, now: datetime) -> tuple[User, UserSession] | None:
    """Return the person and the session of a cookie, or None if either no longer counts.

    It counts while the account is active, the session was not ended, had a request within SESSION_IDLE_HOURS and is
    younger than SESSION_DAYS.
    """
    values = {"token_hash": tokens.hash_token(token), "uniquifier": uniquifier, **_limits(settings, now)}
    row = db.session.execute(_FIND, values).unique().one_or_none()
    return row and (row[0], row[1])


def touch(session_id: int, *, now: datetime) -> None:
    """Remember that the session was used just now, at most once a minute."""
    last_use.touch(UserSession.last_seen_at, UserSession.id == session_id, now=now)


def confirm(token: str, *, now: datetime) -> str | None:
    """Note that the person has just proved once more who they are, and return the session's new token; None if it has ended.

    The old token is worth nothing from now on (OWASP ASVS 5.0, 7.2.4): a copied cookie does not become fresh with its original.
    """
    renewed = tokens.make_token()
    changed = db.session.execute(
        sa.update(UserSession)
        .where(UserSession.token_hash == tokens.hash_token(token), UserSession.ended_at.is_(None))
        .values(token_hash=tokens.hash_token(renewed), confirmed_at=now, last_seen_at=now)
        .returning(UserSession.id)
        .execution_options(synchronize_session=False)
    )
    return renewed if changed.first() else None


def is_due(session: UserSession, now: datetime) -> bool:
    """Whether `touch` would write."""
    return last_use.is_due(session.last_seen_at, now)


def end(token: str, *, now: datetime) -> None:
    """End the session of this token, if it still runs."""
    _end_where(UserSession.token_hash == tokens.hash_token(token), now=now)


def end_one(person: User, session_id: int, *, now: datetime) -> None:
    """End one session of `person`. Raises NotFound if the person has no such session running."""
    if not _end_where(UserSession.user_id == person.id, UserSession.id == session_id, now=now):
        raise NotFound("There is no such session.")


def end_others(person: User, token: str, *, now: datetime) -> int:
    """End all sessions of `person` except the one of `token`; return how many."""
    return _end_where(UserSession.user_id == person.id, UserSession.token_hash != tokens.hash_token(token), now=now)


def end_all(person: User, *, now: datetime) -> int:
    """Sign a person out everywhere: all session rows end, and cookies and signed links lose their subject. Return how many ended."""
    person.fs_uniquifier = uuid.uuid4().hex
    return _end_where(UserSession.user_id == person.id, now=now)


def end_everybody(*, now: datetime) -> int:
    """Sign everybody out; return how many sessions ended."""
    return _end_where(now=now)


def running(person: User, settings: Settings, now: datetime) -> list[UserSession]:
    """Return the sessions of `person` that still count, the last used first."""
    return list(
        db.session.scalars(
            sa.select(UserSession)
            .where(UserSession.user_id == person.id, *_ALIVE)
            .order_by(UserSession.last_seen_at.desc(), UserSession.id.desc()),
            _limits(settings, now),
        )
    )


def _limits(settings: Settings, now: datetime) -> dict[str, datetime]:
    """The values of `_ALIVE`."""
    return {
        "seen_after": now - timedelta(hours=settings.session_idle_hours),
        "begun_after": now - timedelta(days=settings.session_days),
    }


def _end_where(*conditions: sa.ColumnElement[bool], now: datetime) -> int:
    ended = db.session.execute(
        sa.update(UserSession)
        .where(UserSession.ended_at.is_(None), *conditions)
        .values(ended_at=now)
        .returning(UserSession.id)
        .execution_options(synchronize_session=False)
    )
    return len(ended.all())


def sweep(now: datetime) -> int:
    """Forget the sessions, with their devices, that nobody used for so long that they ended long ago. Returns how many."""
    forgotten = db.session.execute(
        sa.delete(UserSession)
        .where(UserSession.last_seen_at < now - KEPT)
        .returning(UserSession.id)
        .execution_options(synchronize_session=False)
    )
    return len(forgotten.all())
