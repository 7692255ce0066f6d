"""Ties the signed cookie to the session's row: made at sign-in, checked when the person is loaded, ended at sign-out.

The check sits in Flask-Login's user loader, the one way from a cookie to a person, so no view can forget it, and a request
that never asks who is there (static files, icons) costs no query.
"""

import logging
from typing import Any

from flask import Flask, Response, after_this_request, g, request, session
from flask_login import current_user, user_logged_in, user_logged_out
from flask_security.utils import set_request_attr

from portal import audit, clock
from portal.account import known_devices, sessions
from portal.account.models import User
from portal.config import Settings, current_settings
from portal.database import transaction
from portal.errors import Busy
from portal.web import freshness
from portal.web.client import client_network

log = logging.getLogger(__name__)

SESSION_KEY = "session"
CSRF_KEY = "csrf_token"
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


def device_token() -> str:
    """The token of the device this request comes from, by a cookie that outlives sessions; empty for a device we do not know."""
    return request.cookies.get(_device_cookie(current_settings()), "")


def confirm() -> None:
    """Note that this request's person has just proved once more who they are, for acts that need a fresh sign-in.

    Part of the caller's transaction. The cookie gets a new token, and the copies of the old one are worth nothing.
    """
    now = clock.now()
    renewed = sessions.confirm(current_token(), now=now)
    if renewed is not None:
        session[SESSION_KEY] = renewed
        freshness.remember(now)


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
    freshness.remember(row.confirmed_at)
    # Flask-Security's own views ask how and when the person signed in.
    set_request_attr("fs_authn_via", "session")
    set_request_attr("fs_paa", row.confirmed_at.timestamp())
    return person


def _load_nobody(_: object) -> None:
    """There is no other way in: no token in a header, no password in basic authentication."""


def _begin(app: Flask, user: User, **_: object) -> None:
    """Start a session. The row is committed with the sign-in: by Flask-Security's view, or our view's transaction."""
    now = clock.now()
    if SESSION_KEY in session:
        sessions.end(current_token(), now=now)  # a new sign-in never takes over an old session
    for kept in (CSRF_KEY, "fs_gexp"):  # nor what somebody may have planted in the browser before it
        session.pop(kept, None)
        g.pop(kept, None)
    session[SESSION_KEY] = sessions.begin(user, device=request.user_agent.string, now=now)
    audit.record("sign_in.done", subject_type="user", subject_id=user.id, actor=user, now=now)
    freshness.remember(now)
    _remember_device(known_devices.recognise(user, device_token(), user_agent=request.user_agent.string, network=client_network(), now=now))


def _remember_device(token: str) -> None:
    """Let the browser keep its device's token, beyond the session."""
    settings = current_settings()

    @after_this_request
    def set_cookie(response: Response) -> Response:
        response.set_cookie(
            _device_cookie(settings), token, max_age=known_devices.KEPT, path="/", secure=settings.is_https, httponly=True, samesite="Lax"
        )
        return response


def _device_cookie(settings: Settings) -> str:
    return f"{settings.session_cookie_name}-device"


def _end(app: Flask, user: Any = None, **_: object) -> None:
    token = session.pop(SESSION_KEY, None)
    if token:
        with transaction():
            sessions.end(token, now=clock.now())
            if isinstance(user, User):
                audit.record("sign_out.done", subject_type="user", subject_id=user.id, actor=user, now=clock.now())


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
