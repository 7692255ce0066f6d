"""Wrong personal tokens, counted by the client's address.

Nobody guesses 256 random bits; but a program that hammers us with a dead token should cost little, and be told to stop. Only failures
count: ten parallel ranges of a download, or a feed that is fetched each minute, are nobody's fault.
"""

from http import HTTPStatus

from flask import Response
from flask_limiter.util import get_remote_address
from limits import RateLimitItem, parse_many
from werkzeug.exceptions import HTTPException

from portal.config import current_settings
from portal.extensions import limiter

_SCOPE = "wrong token"


def refuse_if_too_many() -> None:
    """End the request with 429, in plain text, while this address has given as many wrong tokens as TOKEN_LIMIT allows."""
    reached = [limit for limit in _limits() if not limiter.limiter.test(limit, _SCOPE, get_remote_address())]
    if not reached:
        return
    seconds = max(limit.get_expiry() for limit in reached)
    sentence = f"Too many wrong tokens came from this address. Wait {seconds} seconds, then send one that is valid.\n"
    refusal = Response(sentence, HTTPStatus.TOO_MANY_REQUESTS, content_type="text/plain; charset=utf-8")
    refusal.headers["Retry-After"] = str(seconds)
    refusal.headers["Cache-Control"] = "private, no-store"
    raise HTTPException(response=refusal)


def count() -> None:
    """Count one wrong token against this address."""
    for limit in _limits():
        limiter.limiter.hit(limit, _SCOPE, get_remote_address())


def _limits() -> list[RateLimitItem]:
    return parse_many(current_settings().token_limit)
