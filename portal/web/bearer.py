"""Doors for programs: a view behind `bearer(scope)` asks for a staff token in the Authorization header (RFC 6750), and for nothing
else. It knows no cookie, so there is no form for another site to send, and needs no CSRF token.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

from flask import Flask, current_app, g, request
from werkzeug.exceptions import HTTPException

from portal import clock
from portal.web import errors, origin, wrong_tokens
from portal.web.guards import Guard

_KEY = "portal.bearer"


@dataclass(frozen=True)
class Bearer:
    """Whom a token speaks for (a `User`), what it is called, and whether it may do what was asked."""

    person: Any
    label: str
    allowed: bool


# Given a token, a scope and the time: whom it speaks for, or None if it is worth nothing.
Authenticate = Callable[[str, str, datetime], Bearer | None]


def init_app(app: Flask, authenticate: Authenticate) -> None:
    """Let `authenticate` decide on tokens; it lives on a higher floor."""
    app.extensions[_KEY] = authenticate


def bearer(scope: str) -> Guard:
    """Return a guard that lets a program in by a staff token that has `scope`.

    Answers 401 in plain text without a token that is alive, 403 for one that may not do this, 429 for too many wrong ones.
    """

    def guard() -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise _refusal(HTTPStatus.UNAUTHORIZED, "Send a staff token: Authorization: Bearer …", "Bearer")
        wrong_tokens.refuse_if_too_many()
        authenticate: Authenticate = current_app.extensions[_KEY]
        found = authenticate(token.strip(), scope, clock.now())
        if found is None:
            wrong_tokens.count()
            sentence = "This token is not valid. It was revoked, has expired, or its owner's account is closed."
            raise _refusal(HTTPStatus.UNAUTHORIZED, sentence, 'Bearer error="invalid_token"')
        if not found.allowed:
            sentence = f"This token may not do that: it lacks the scope {scope}, or its owner lost the role that gives it."
            raise _refusal(HTTPStatus.FORBIDDEN, sentence, f'Bearer error="insufficient_scope", scope="{scope}"')
        g.portal_bearer = found
        origin.of_token(found.label)

    guard.scope = scope  # type: ignore[attr-defined]
    return guard


def owner() -> Any:
    """The person (a `User`) for whom the current request's program acts."""
    return g.portal_bearer.person


def _refusal(status: HTTPStatus, sentence: str, challenge: str) -> HTTPException:
    response = errors.in_words(status, sentence)
    response.headers["WWW-Authenticate"] = challenge
    return HTTPException(response=response)
