"""Who may enter: every view has a guard, by its blueprint or its own, or the app refuses to start.

A guard is a function that returns None to let the request in, or raises. Staff pages answer "not found" to everybody else:
that a page exists is nobody's business (house rule 3).
"""

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Blueprint, Flask, current_app, request
from flask_login import current_user
from werkzeug.exceptions import HTTPException, NotFound, Unauthorized
from werkzeug.routing import RoutingException

Guard = Callable[[], None]
View = TypeVar("View", bound=Callable[..., Any])

STAFF_ROLES = ("publisher", "product", "accounts", "support", "admin")
_BLUEPRINT_GUARDS = "portal_guard"
# Blueprints of libraries, and Flask's own static files: open to everyone, they guard what needs it themselves.
LIBRARY_ENDPOINTS = frozenset({"static", "bootstrap", "security"})


def public() -> None:
    """Let everybody in."""


def signed_in() -> None:
    """Let people in who have signed in. Raises Unauthorized, which leads to the sign-in page and back."""
    if not current_user.is_authenticated:
        raise Unauthorized


def staff(*roles: str) -> Guard:
    """Return a guard that lets staff with one of `roles` in, or any staff when none is named. `admin` passes everywhere."""
    may_pass = holds_role(*(roles or STAFF_ROLES))

    def guard() -> None:
        signed_in()
        if not may_pass():
            raise NotFound

    return guard


def holds_role(*roles: str) -> Callable[[], bool]:
    """Return a test whether the signed-in person would pass `staff(*roles)`; for showing links, not for guarding."""
    accepted = frozenset({*roles, "admin"})
    return lambda: bool(getattr(current_user, "role_names", frozenset()) & accepted)


def may_follow(path: str) -> bool:
    """Whether the guard of one of our own addresses would let the reader in; for showing links that come from elsewhere."""
    try:
        endpoint, _ = current_app.url_map.bind("").match(path.partition("?")[0].partition("#")[0])
        guard = find_guard(current_app, endpoint)
        assert guard is not None
        guard()
    except (HTTPException, RoutingException):
        return False
    return True


def protect(blueprint: Blueprint, guard: Guard) -> None:
    """Put `guard` in front of every view of `blueprint` that has none of its own."""
    setattr(blueprint, _BLUEPRINT_GUARDS, guard)


def guarded_by(guard: Guard) -> Callable[[View], View]:
    """Give one view a guard of its own, instead of its blueprint's."""

    def decorate(view: View) -> View:
        view.portal_guard = guard  # type: ignore[attr-defined]
        return view

    return decorate


def find_guard(app: Flask, endpoint: str) -> Guard | None:
    """Return the guard of an endpoint: the view's, else its blueprint's, else None."""
    own: Guard | None = getattr(app.view_functions[endpoint], "portal_guard", None)
    if own is not None:
        return own
    name = endpoint.rpartition(".")[0]
    if endpoint in LIBRARY_ENDPOINTS or name in LIBRARY_ENDPOINTS:
        return public
    blueprint = app.blueprints.get(name)
    return getattr(blueprint, _BLUEPRINT_GUARDS, None)


def init_app(app: Flask) -> None:
    """Enforce the guards on every request. Raises RuntimeError if a view has none."""
    unguarded = [endpoint for endpoint in app.view_functions if find_guard(app, endpoint) is None]
    if unguarded:
        raise RuntimeError(f"no guard for {', '.join(sorted(unguarded))}")

    @app.before_request
    def enforce() -> None:
        if request.endpoint is not None:
            guard = find_guard(app, request.endpoint)
            assert guard is not None
            guard()
