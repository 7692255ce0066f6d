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
from portal.feedback.writing_models import Attachment, Draft, DraftPurpose

KEPT_FOR = timedelta(days=7)
SESSION_REMEMBERED = timedelta(days=30)
MOST_OF_ONE_PERSON = 20
MOST_OF_STRANGERS = 500
MOST_CHARACTERS = 100_000


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


def remove(draft: Draft | None) -> None:
    """Forget a draft, and the files that were not taken out of it."""
    if draft is not None:
        _remove([draft.id])


def leave_out(draft: Draft, kept: Collection[Attachment]) -> None:
    """Forget the files of a draft that are not among `kept`."""
    staying = [attachment.id for attachment in kept]
    db.session.execute(
        sa.delete(Attachment)
        .where(Attachment.draft_id == draft.id, Attachment.id.not_in(staying))
        .execution_options(synchronize_session=False)
    )
    db.session.expire(draft, ["attachments"])


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
    for model, column in ((Attachment, Attachment.draft_id), (Draft, Draft.id)):
        db.session.execute(sa.delete(model).where(column.in_(ids)).execution_options(synchronize_session=False))
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
