"""Ties the signed cookie to the session's row: made at sign-in, checked when the person is loaded, ended at sign-out.

The check sits in Flask-Login's user loader, the one way from a cookie to a person, so no view can forget it, and a request
that never asks who is there (static files, icons) costs no query.
"""

import logging

from flask import Flask, g, request, session
from flask_login import current_user, user_logged_in, user_logged_out
from flask_security.utils import set_request_attr

from portal import clock
from portal.account import sessions
from portal.account.models import User
from portal.config import Settings, current_settings
from portal.database import transaction
from portal.errors import Busy

log = logging.getLogger(__name__)

SESSION_KEY = "session"
_NOT_A_PERSON = {"static", "bootstrap.static", "icons.sprite", "health.alive", "health.ready", "health.metrics", "feeds.feed"}


def init_app(app: Flask, settings: Settings) -> None:
    """Load people by cookie and session row. Call it after Flask-Security has been bound, whose loader it replaces."""
    manager = app.login_manager  # type: ignore[attr-defined]
    manager.user_loader(_load)
    manager.request_loader(_load_nobody)
    user_logged_in.connect(_begin, app)
    user_logged_out.connect(_end, app)
    app.before_request(_touch)


def current_token() -> str:
    """The token of the session this request belongs to; empty when nobody is signed in."""
    return str(session.get(SESSION_KEY, ""))


def current_session_id() -> int | None:
    """The id of this request's session row, None when nobody is signed in."""
    found: int | None = g.get("portal_session_id") if current_user.is_authenticated else None
    return found


def _load(uniquifier: str) -> User | None:
    now = clock.now()
    found = sessions.find(current_token(), uniquifier, current_settings(), now)
    if found is None:
        return None
    person, row = found
    g.portal_session_id = row.id
    g.portal_session_due = sessions.is_due(row, now)
    # Flask-Security's own views ask how and when the person signed in.
    set_request_attr("fs_authn_via", "session")
    set_request_attr("fs_paa", session.get("fs_paa", 0))
    return person


def _load_nobody(_: object) -> None:
    """There is no other way in: no token in a header, no password in basic authentication."""


def _begin(app: Flask, user: User, **_: object) -> None:
    """Start a session. The row is committed with the sign-in: by Flask-Security's view, or our view's transaction."""
    now = clock.now()
    if SESSION_KEY in session:
        sessions.end(current_token(), now=now)  # a new sign-in never takes over an old session
    session[SESSION_KEY] = sessions.begin(user, device=request.user_agent.string, now=now)


def _end(app: Flask, **_: object) -> None:
    token = session.pop(SESSION_KEY, None)
    if token:
        with transaction():
            sessions.end(token, now=clock.now())


def _touch() -> None:
    """Note that the session is in use. Reading goes on even if that cannot be written just now."""
    if request.endpoint in _NOT_A_PERSON or SESSION_KEY not in session:
        return
    if current_user.is_authenticated and g.get("portal_session_due"):
        try:
            with transaction():
                sessions.touch(g.portal_session_id, now=clock.now())
        except Busy:
            log.warning("the last use of a session could not be written", exc_info=True)
