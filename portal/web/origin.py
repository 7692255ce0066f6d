"""Tells the audit log where a request comes from."""

from flask import Flask, request

from portal import audit

WEB = "web"


def init_app(app: Flask) -> None:
    """Note the origin of each request before anything else looks at it, and forget it at its end."""

    @app.before_request
    def note() -> None:
        audit.comes_from(audit.Origin(WEB, request.remote_addr))

    @app.teardown_request
    def forget(error: BaseException | None) -> None:
        audit.comes_from(None)


def of_token(label: str) -> None:
    """Note that the current request was let in by the staff token called `label`."""
    audit.comes_from(audit.Origin(f"token {label}", request.remote_addr))
