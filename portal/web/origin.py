"""Tells the audit log where a request comes from."""

from flask import Flask, request

from portal import audit
from portal.config import current_settings

WEB = "web"


def init_app(app: Flask) -> None:
    """Note the origin of each request before anything else looks at it, and forget it at its end."""

    @app.before_request
    def note() -> None:
        audit.comes_from(audit.Origin(WEB, _address()))

    @app.teardown_request
    def forget(error: BaseException | None) -> None:
        audit.comes_from(None)


def of_token(label: str) -> None:
    """Note that the current request was let in by the staff token called `label`."""
    audit.comes_from(audit.Origin(f"token {label}", _address()))


def _address() -> str | None:
    """The client's network address, if addresses are noted at all."""
    return request.remote_addr if current_settings().audit_address_days else None
