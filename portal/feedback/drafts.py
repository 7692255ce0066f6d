"""Drafts: what somebody typed and could not send, kept until they have signed in, or have put right what was wrong.

A draft is found by a random token. The browser of somebody whose session has ended keeps it in a cookie, which leads through
signing in; the form of somebody who is signed in keeps it in a hidden field. Drafts are bounded in age, size and number.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

import sqlalchemy as sa

from portal import tokens
from portal.account.models import User, UserSession
from portal.database import db
from portal.errors import Conflict
from portal.feedback.writing_models import Attachment, Draft, DraftPurpose

KEPT_FOR = timedelta(days=7)
SESSION_REMEMBERED = timedelta(days=30)
MOST_OF_ONE_PERSON = 20
MOST_OF_STRANGERS = 500
MOST_CHARACTERS = 100_000
SENT_ALREADY = (
    "This was sent already, or is older than a week. Look on the board before you send it once more; its files are gone from here."
)


def keep(
    purpose: DraftPurpose, item_id: int | None, fields: Mapping[str, str], user_id: int | None, *, now: datetime, token: str | None = None
) -> tuple[str, Draft]:
    """Keep what was typed; return the token it is found by, and the draft.

    With the `token` of a draft of this person, or of nobody in particular, that one takes what is typed now, is theirs, and keeps its
    files. What one person, or all strangers together, have beyond the most that is kept, is forgotten, the oldest first.
    """
    known = _find(token, purpose, user_id) or _find(token, purpose, None)
    if known is not None and token is not None:
        known.fields, known.user_id, known.created_at = _bounded(fields), user_id, now
        db.session.flush()
        return token, known
    token = tokens.make_token()
    draft = Draft(
        token_hash=tokens.hash_token(token), user_id=user_id, purpose=purpose, item_id=item_id, fields=_bounded(fields), created_at=now
    )
    db.session.add(draft)
    db.session.flush()
    _forget_beyond(user_id)
    return token, draft


def open_draft(token: str | None, purpose: DraftPurpose, person: User, item_id: int | None, now: datetime) -> Draft | None:
    """Return the draft of this token, if it is the person's, or nobody's in particular, and for this very text."""
    draft = _find(token, purpose, person.id) or _find(token, purpose, None)
    if draft is None or draft.item_id != item_id or draft.created_at <= now - KEPT_FOR:
        return None
    return draft


def claim(draft_id: int, token: str) -> None:
    """Keep a draft for this transaction alone, which sends it. Raises Conflict if somebody has: a button was pressed twice.

    The number alone does not tell: SQLite gives that of a draft that is gone to the next one.
    """
    same = sa.select(Draft.id).where(Draft.id == draft_id, Draft.token_hash == tokens.hash_token(token))
    if db.session.scalar(same.with_for_update()) is None:
        raise Conflict(SENT_ALREADY)


def remove(draft_id: int | None) -> None:
    """Forget a draft, and the files that were not taken out of it."""
    if draft_id is not None:
        _remove([draft_id])


def leave_out(draft_id: int, kept: Collection[int]) -> None:
    """Forget the files of a draft that are not among `kept`."""
    gone = sa.delete(Attachment).where(Attachment.draft_id == draft_id, Attachment.id.not_in(kept))
    db.session.execute(gone.execution_options(synchronize_session=False))


def sweep(now: datetime) -> int:
    """Forget the drafts that nobody came back to; return how many. Their files go with the next clean-up of storage."""
    old = list(db.session.scalars(sa.select(Draft.id).where(Draft.created_at <= now - KEPT_FOR)))
    _remove(old)
    return len(old)


def _find(token: str | None, purpose: DraftPurpose, user_id: int | None) -> Draft | None:
    if not token:
        return None
    return db.session.scalar(
        sa.select(Draft).where(
            Draft.token_hash == tokens.hash_token(token), Draft.purpose == purpose, Draft.user_id.is_not_distinct_from(user_id)
        )
    )


def _forget_beyond(user_id: int | None) -> None:
    most = MOST_OF_STRANGERS if user_id is None else MOST_OF_ONE_PERSON
    beyond = sa.select(Draft.id).where(Draft.user_id.is_not_distinct_from(user_id)).order_by(Draft.id.desc()).offset(most)
    _remove(list(db.session.scalars(beyond)))


def _remove(ids: Collection[int]) -> None:
    if not ids:
        return
    for statement in (sa.delete(Attachment).where(Attachment.draft_id.in_(ids)), sa.delete(Draft).where(Draft.id.in_(ids))):
        db.session.execute(statement.execution_options(synchronize_session=False))
    db.session.expire_all()


def _bounded(fields: Mapping[str, str]) -> dict[str, str]:
    """The fields without what no column holds, and no longer together than is kept: what is beyond is no text of a person."""
    left = MOST_CHARACTERS
    kept: dict[str, str] = {}
    for name, value in fields.items():
        kept[name[:40]] = value.replace("\0", "")[:left]
        left -= len(kept[name[:40]])
    return kept


def author_by_session(session_token: str, now: datetime) -> User | None:
    """Return who had the session of this token, though it has ended meanwhile; None for nobody, or a closed account.

    It lets nobody in. It only says whose the text is that such a browser sends, so that no other person is shown it.
    """
    if not session_token:
        return None
    return db.session.scalar(
        sa.select(User)
        .join(UserSession, UserSession.user_id == User.id)
        .where(
            UserSession.token_hash == tokens.hash_token(session_token),
            UserSession.last_seen_at > now - SESSION_REMEMBERED,
            User.active.is_(True),
        )
    )
