"""Risky acts need somebody who has proved a short while ago who they are (OWASP ASVS 5.0, 7.5).

A session may last for days, and a laptop may be left open. When the person last proved it is read from the session's row
(`portal.account.session_cookie`), never from the cookie.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
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
# The field of the confirm page's forms that carries what was typed elsewhere.
KEPT = "kept"
# Renders the confirm page as the answer to a form that was sent too late; its owner sets it, as it stands on a floor above.
_asks: list[Callable[[], ResponseReturnValue]] = []


@dataclass(frozen=True)
class Kept:
    """A form that was sent too late: where to, from which page, all that was typed, and whether files came with it, which pages cannot
    carry."""

    to: str
    page: str
    fields: list[tuple[str, str]]
    files: bool

    def pack(self) -> str:
        return json.dumps(vars(self), ensure_ascii=False)


def asks_by(render: Callable[[], ResponseReturnValue]) -> None:
    """Set what renders the confirm page."""
    _asks[:] = [render]


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

    It stands below the route's decorator. What was typed goes along through the confirm page, and is sent by a button there.
    """

    @wraps(view)
    def checked(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs) if is_fresh() else ask_again()

    checked.needs_fresh_sign_in = True  # type: ignore[attr-defined]
    return checked  # type: ignore[return-value]


def ask_again() -> ResponseReturnValue:
    """Lead to the page that asks for the password, and from there back to the page this request was made on."""
    if request.method != "GET":
        if _typed():
            return _asks[0]()
        flash("Nothing was changed yet. Confirm your password, then send the form again.", "info")
    return redirect(url_for("confirming.ask", next=_page_of_this_act()))


def kept() -> Kept | None:
    """What goes through the confirm page: the form that was sent too late, just now or by way of that page's own forms; None if none was.

    It came with a form token of this session, so nobody else put it there; still, it leads nowhere but to this site.
    """
    if request.method == "GET":
        return None
    if not (request.endpoint or "").startswith("confirming."):
        to = request.script_root + request.full_path.rstrip("?")
        return Kept(to, _page_of_this_act(), _typed(), any(file.filename for file in request.files.values()))
    try:
        found = json.loads(request.form.get(KEPT, ""))
        fields = [(str(name), str(value)) for name, value in found["fields"]]
        to, page = safe_next(found["to"], ""), safe_next(found["page"], "")
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return Kept(to, page, fields, bool(found.get("files"))) if to and page else None


def _typed() -> list[tuple[str, str]]:
    return [(name, value) for name, value in request.form.items(multi=True) if name != "csrf_token"]


def _page_of_this_act() -> str:
    """The page itself, or for a form the page it stood on, as far as the browser tells."""
    if request.method == "GET":
        return request.full_path.rstrip("?")
    referrer = request.referrer or ""
    if referrer.startswith(request.host_url):
        return safe_next(f"/{referrer.removeprefix(request.host_url)}", request.script_root + "/")
    return url_for("account.security")
