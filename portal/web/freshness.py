"""Risky acts need somebody who has proved a short while ago who they are (OWASP ASVS 5.0, 7.5).

A session may last for days, and a laptop may be left open. When the person last proved it is read from the session's row
(`portal.account.session_cookie`), never from the cookie.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, TypeVar

from flask import flash, g, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from portal import clock
from portal.config import current_settings
from portal.web.redirects import safe_next

View = TypeVar("View", bound=Callable[..., Any])
_CONFIRMED_AT = "portal_confirmed_at"


def remember(confirmed_at: datetime) -> None:
    """Note for this request when its person last proved who they are."""
    g.portal_confirmed_at = confirmed_at


def is_fresh() -> bool:
    """Whether the person has proved within FRESH_SIGN_IN_MINUTES who they are; nobody who is not signed in has."""
    if not current_user.is_authenticated:  # reading it loads the session
        return False
    confirmed_at: datetime | None = g.get(_CONFIRMED_AT)
    age = clock.now() - confirmed_at if confirmed_at is not None else None
    within = timedelta(minutes=current_settings().fresh_sign_in_minutes)
    return age is not None and -within < age < within


def needs_fresh_sign_in(view: View) -> View:
    """Send whoever opens the view, or sends its form, to confirm the password first, and back to the page they came from.

    It stands below the route's decorator. What a form held is not kept: open the page of a long form with this decorator, too.
    """

    @wraps(view)
    def checked(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs) if is_fresh() else ask_again()

    checked.needs_fresh_sign_in = True  # type: ignore[attr-defined]
    return checked  # type: ignore[return-value]


def ask_again() -> ResponseReturnValue:
    """Lead to the page that asks for the password, and from there back to the page this request was made on."""
    if request.method != "GET":
        flash("Nothing was changed yet. Confirm your password, then send the form again.", "info")
    return redirect(url_for("security.verify", next=_page_of_this_act()))


def _page_of_this_act() -> str:
    """The page itself, or for a form the page it stood on, as far as the browser tells."""
    if request.method == "GET":
        return request.full_path.rstrip("?")
    referrer = request.referrer or ""
    if referrer.startswith(request.host_url):
        return safe_next(f"/{referrer.removeprefix(request.host_url)}", request.script_root + "/")
    return url_for("account.security")
