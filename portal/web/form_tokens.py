"""The CSRF check for forms that a view reads itself, straight into storage; Flask-WTF would have read them whole before."""

from flask import request
from flask_wtf.csrf import CSRFError, same_origin, validate_csrf
from wtforms import ValidationError

from portal.config import current_settings


def check(token: str | None) -> None:
    """Do what Flask-WTF's own check does. Raises CSRFError."""
    try:
        validate_csrf(token)
    except ValidationError as error:
        raise CSRFError(str(error)) from None
    if request.is_secure and not same_origin(request.referrer or "", f"https://{request.host}/"):
        raise CSRFError("The referrer does not match the host.")


def is_valid(token: str | None) -> bool:
    """Whether `check` lets a token pass."""
    try:
        check(token)
    except CSRFError:
        return False
    return True


def sent_from_here() -> bool:
    """Whether the browser says that a page of ours sent this request (Origin, RFC 6454; no page can set it for another site).

    That is not enough to act on, but to keep what somebody typed, whose session and token are gone.
    """
    return request.headers.get("Origin") in {f"{request.scheme}://{request.host}", current_settings().base_url}
