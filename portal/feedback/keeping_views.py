"""What somebody typed, on its way: kept through signing in, and with its files while a form comes back for a correction.

The browser keeps the tokens of its drafts in one cookie. What a draft says is shown to its author alone, and sent by nobody else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from flask import flash, redirect, request, url_for
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
from portal.feedback.writing_models import DraftPurpose
from portal.web.client import client_network

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
    return bool(limiter.limiter.hit(STRANGERS_LIMIT, _SCOPE, client_network()))


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


@dataclass(frozen=True)
class Kept:
    """A file that waits in a draft; `size` in bytes."""

    id: int
    filename: str
    size: int


@dataclass
class Desk:
    """What lies before a writer who is signed in: the draft the form belongs to, if any, its fields and files, and files that came now."""

    purpose: DraftPurpose
    item_id: int | None
    token: str | None = None
    draft_id: int | None = None
    fields: dict[str, str] = field(default_factory=dict)
    kept: list[Kept] = field(default_factory=list)
    files: list[Arrived] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @classmethod
    def returned_to(cls, purpose: DraftPurpose, item_id: int | None, person: User) -> Self:
        """Return the desk of somebody who comes to write: with what waits for them, if the address asks for that."""
        for token in tokens_kept() if "kept" in request.args else []:
            draft = drafts.open_draft(token, purpose, person, item_id, clock.now())
            if draft is not None:
                return cls(purpose, item_id, token, draft.id, dict(draft.fields), _waiting_in(draft.id))
        return cls(purpose, item_id)

    @classmethod
    def sent(cls, purpose: DraftPurpose, item_id: int | None, person: User, received: Received) -> Self:
        """Return the desk as a form came back from it."""
        most = limits().number
        desk = cls(purpose, item_id, problems=list(received.refusals))
        token = received.fields.get("draft")
        draft = drafts.open_draft(token, purpose, person, item_id, clock.now())
        if draft is not None:
            wanted = set(received.fields.getlist("keep"))
            desk.token, desk.draft_id = token, draft.id
            desk.kept = [one for one in _waiting_in(draft.id) if str(one.id) in wanted]
        elif token:
            desk.problems.append(drafts.SENT_ALREADY)
        room = max(0, most - len(desk.kept))
        if len(received.files) > room:
            desk.problems.append(f"More than {most} files do not go with one text. Leave some out, or zip them.")
        desk.files = received.files[:room]
        return desk

    def keep(self, person: User, received: Received, names: Sequence[str]) -> None:
        """Put the files that came into a draft, since the form comes back and cannot bring them again.

        While the database does not answer, the text still comes back, without them.
        """
        if not self.files and self.draft_id is None:
            return
        try:
            self._keep(person, received.text(*names), clock.now())
        except Busy:
            flash("The files could not be kept. Attach them again.", "error")

    def _keep(self, person: User, fields: Mapping[str, str], now: datetime) -> None:
        with transaction():
            self.token, draft = drafts.keep(self.purpose, self.item_id, fields, person.id, now=now, token=self.token)
            drafts.leave_out(draft.id, [one.id for one in self.kept])
            attachments.add(self.files, person, draft_id=draft.id, now=now)
            self.draft_id, self.kept = draft.id, _waiting_in(draft.id)
        self.files = []

    def hand_over(self, person: User, *, item_id: int, comment_id: int | None = None) -> None:
        """Give the files to what was written, in its transaction, and forget the draft. Raises Conflict if it was sent already."""
        if self.draft_id is not None:
            drafts.claim(self.draft_id, self.token or "")
            attachments.take_out(self.draft_id, [one.id for one in self.kept], item_id=item_id, comment_id=comment_id)
        attachments.add(self.files, person, item_id=item_id, comment_id=comment_id, now=clock.now())
        drafts.remove(self.draft_id)

    def hand_to_draft(self, person: User, draft_id: int) -> None:
        """Give the files to another draft, in its transaction."""
        if self.draft_id is not None:
            attachments.take_out(self.draft_id, [one.id for one in self.kept], to_draft=draft_id)
        attachments.add(self.files, person, draft_id=draft_id, now=clock.now())


def _waiting_in(draft_id: int) -> list[Kept]:
    return [Kept(one.id, one.filename, one.size) for one in attachments.waiting_in(draft_id)]
