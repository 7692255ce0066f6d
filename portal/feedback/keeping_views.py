"""What somebody typed, on its way: kept through signing in, and with its files while a form comes back for a correction.

The browser keeps the tokens of its drafts in one cookie. What a draft says is shown to its author alone, and sent by nobody else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from flask import flash, redirect, request, url_for
from flask_limiter.util import get_remote_address
from flask_login import current_user
from limits import parse
from werkzeug.exceptions import TooManyRequests
from werkzeug.wrappers import Response

from portal import clock
from portal.account.models import User
from portal.account.session_cookie import current_token
from portal.config import current_settings
from portal.database import transaction
from portal.errors import Busy
from portal.extensions import limiter
from portal.feedback import attachments, drafts, uploads
from portal.feedback.attachments import Arrived, Limits
from portal.feedback.uploads import Received
from portal.feedback.writing_models import Attachment, Draft, DraftPurpose

TOKENS_IN_COOKIE = 5
# Drafts of people who are not signed in, from one address. A whole office has one address.
STRANGERS_LIMIT = parse("60 per hour")
_SCOPE = "draft of a stranger"
_BETWEEN = "."


def limits() -> Limits:
    """Return the limits of files that go with one text."""
    return attachments.limits_of(current_settings())


def receive() -> Received:
    """Read the current request's form, with its files if we know whose they are. Raises what `uploads.receive` raises."""
    return uploads.receive(limits(), from_somebody_known=_whose() is not None)


def _whose() -> User | None:
    """Return who is signed in, or was until the session ended."""
    if current_user.is_authenticated:
        person: User = current_user._get_current_object()
        return person
    return drafts.author_by_session(current_token(), clock.now())


def sign_in_first(purpose: DraftPurpose, item_id: int | None, received: Received, names: Sequence[str], target: str) -> Response:
    """Keep what was typed into the fields `names`, and lead through signing in to `target`, where it stands in the form again.

    Ends the request with 429 when too many drafts came from this address.
    """
    if not allow_stranger():
        raise TooManyRequests
    now = clock.now()
    with transaction():
        person = drafts.author_by_session(current_token(), now)
        token, draft = drafts.keep(purpose, item_id, received.text(*names), person.id if person else None, now=now)
        if person is not None:
            attachments.add(received.files, person, draft_id=draft.id, now=now)
    flash("You are signed out, so nothing was sent yet. What you wrote is kept: sign in, look at it once more, and send it.", "info")
    if received.left_out:
        flash(f"Not kept: {', '.join(received.left_out)}. Attach that again when you are signed in.", "info")
    return with_draft(redirect(url_for("security.login", next=target), 303), token)


def allow_stranger() -> bool:
    """Count a draft of somebody who is signed out against their address; False when there were too many."""
    return bool(limiter.limiter.hit(STRANGERS_LIMIT, _SCOPE, get_remote_address()))


def with_draft(response: Response, token: str) -> Response:
    """Let the browser keep the token of a draft, beside those of a few others."""
    known = [one for one in tokens_kept() if one != token]
    settings = current_settings()
    response.set_cookie(
        _cookie_name(),
        _BETWEEN.join([token, *known][:TOKENS_IN_COOKIE]),
        max_age=int(drafts.KEPT_FOR.total_seconds()),
        secure=settings.is_https,
        httponly=True,
        samesite="Lax",
    )
    return response


def tokens_kept() -> list[str]:
    """Return the tokens of the drafts that the browser keeps, the newest first."""
    return [token for token in request.cookies.get(_cookie_name(), "").split(_BETWEEN) if token]


def _cookie_name() -> str:
    return "__Host-portal-drafts" if current_settings().is_https else "portal-drafts"


@dataclass
class Desk:
    """What lies before a writer who is signed in: the draft the form belongs to, if any, its files, and those that came now."""

    purpose: DraftPurpose
    item_id: int | None
    token: str | None = None
    draft: Draft | None = None
    kept: list[Attachment] = field(default_factory=list)
    files: list[Arrived] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @classmethod
    def returned_to(cls, purpose: DraftPurpose, item_id: int | None, person: User) -> Self:
        """Return the desk of somebody who comes to write: with what waits for them, if the address asks for that."""
        if "kept" not in request.args:
            return cls(purpose, item_id)
        for token in tokens_kept():
            draft = drafts.open_draft(token, purpose, person, item_id, clock.now())
            if draft is not None:
                return cls(purpose, item_id, token, draft, list(draft.attachments))
        return cls(purpose, item_id)

    @classmethod
    def sent(cls, purpose: DraftPurpose, item_id: int | None, person: User, received: Received) -> Self:
        """Return the desk as a form came back from it."""
        token = received.fields.get("draft")
        draft = drafts.open_draft(token, purpose, person, item_id, clock.now())
        wanted = set(received.fields.getlist("keep"))
        kept = [one for one in draft.attachments if str(one.id) in wanted] if draft else []
        most = limits().number
        room = max(0, most - len(kept))
        problems = list(received.refusals)
        if len(received.files) > room:
            problems.append(f"More than {most} files do not go with one text. Leave some out, or zip them.")
        return cls(purpose, item_id, token if draft else None, draft, kept, received.files[:room], problems)

    def keep(self, person: User, received: Received, names: Sequence[str]) -> None:
        """Put the files that came into a draft, since the form comes back and cannot bring them again.

        While the database does not answer, the text still comes back, without them.
        """
        if not self.files and self.draft is None:
            return
        try:
            self._keep(person, received.text(*names), clock.now())
        except Busy:
            flash("The files could not be kept. Attach them again.", "error")

    def _keep(self, person: User, fields: Mapping[str, str], now: datetime) -> None:
        with transaction():
            self.token, self.draft = drafts.keep(self.purpose, self.item_id, fields, person.id, now=now, token=self.token)
            drafts.leave_out(self.draft, self.kept)
            attachments.add(self.files, person, draft_id=self.draft.id, now=now)
        self.files = []
        self.kept = list(self.draft.attachments)

    def hand_over(self, person: User, *, item_id: int, comment_id: int | None = None) -> None:
        """Give the files to what was written, in its transaction, and forget the draft."""
        attachments.move(self.kept, item_id=item_id, comment_id=comment_id)
        attachments.add(self.files, person, item_id=item_id, comment_id=comment_id, now=clock.now())
        drafts.remove(self.draft)
