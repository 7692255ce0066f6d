"""How often one client, or all together, may do something. The counts lie where RATE_LIMIT_URL says, so that all processes share them.

A count goes up before the act, so that many at once are not let in on one look; what turns out to be nobody's fault is given back.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from time import time

from flask import make_response
from flask.typing import ResponseReturnValue
from limits import RateLimitItem, parse_many
from werkzeug.exceptions import HTTPException

from portal import rate_counts  # noqa: F401 - makes database:// known as a place for counts
from portal.errors import Busy
from portal.extensions import limiter
from portal.web import errors
from portal.web.client import client_network

EVERYBODY = "everybody"


@limiter.request_filter
def _is_unlimited() -> bool:
    """Let the limiter pass every request: what is counted is counted here, where it is known what has failed."""
    return True


def take(scope: str, limits: str, who: str | None = None) -> bool:
    """Count one act of `who` (by default this client's network). False if that is one more than `limits` allow."""
    with _answering():
        counted = [limiter.limiter.hit(limit, scope, _who(who)) for limit in parse_many(limits)]
    return all(counted)


def give_back(scope: str, limits: str, who: str | None = None) -> None:
    """Take back one act that was counted."""
    with _answering():
        for limit in parse_many(limits):
            limiter.limiter.hit(limit, scope, _who(who), cost=-1)


def is_spent(scope: str, limits: str, who: str | None = None) -> bool:
    """Whether nothing more is allowed now; nothing is counted."""
    with _answering():
        return any(not limiter.limiter.test(limit, scope, _who(who)) for limit in parse_many(limits))


def seconds_left(scope: str, limits: str, who: str | None = None) -> int:
    """Return the seconds until the last of the windows that are spent is over."""
    return max((_seconds(limit, scope, _who(who)) for limit in parse_many(limits)), default=1)


def refuse(title: str, message: str, seconds: int) -> HTTPException:
    """Return, to be raised, a page that says what was too much, with the status 429 and the time to wait."""
    response = make_response(too_many(title, message, seconds))
    return HTTPException(response=response)


def too_many(title: str, message: str, seconds: int) -> ResponseReturnValue:
    response = make_response(errors.page(429, title=title, message=message))
    response.headers["Retry-After"] = str(seconds)
    return response


@contextmanager
def _answering() -> Iterator[None]:
    """Raise Busy where the place of the counts does not answer: what cannot be counted is not tried."""
    place = limiter.storage.base_exceptions
    try:
        yield
    except place as error:
        raise Busy("The tries could not be counted. Try again in a few seconds.") from error


def _seconds(limit: RateLimitItem, scope: str, who: str) -> int:
    return max(1, ceil(limiter.limiter.get_window_stats(limit, scope, who).reset_time - time()))


def _who(who: str | None) -> str:
    return client_network() if who is None else who
