"""Wrong personal tokens, counted by the client's address.

Nobody guesses 256 random bits; but a program that hammers us with a dead token should cost little, and be told to stop. Only failures
count: ten parallel ranges of a download, or a feed that is fetched each minute, are nobody's fault.
"""

from http import HTTPStatus

from werkzeug.exceptions import HTTPException

from portal.config import current_settings
from portal.web import errors, limits

_SCOPE = "wrong token"


def refuse_if_too_many() -> None:
    """End the request with 429, in plain text, while this address has given as many wrong tokens as TOKEN_LIMIT allows."""
    allowed = current_settings().token_limit
    if not limits.is_spent(_SCOPE, allowed):
        return
    seconds = limits.seconds_left(_SCOPE, allowed)
    sentence = f"Too many wrong tokens came from this address. Wait {seconds} seconds, then send one that is valid."
    refusal = errors.in_words(HTTPStatus.TOO_MANY_REQUESTS, sentence)
    refusal.headers["Retry-After"] = str(seconds)
    raise HTTPException(response=refusal)


def count() -> None:
    """Count one wrong token against this address."""
    limits.take(_SCOPE, current_settings().token_limit)
