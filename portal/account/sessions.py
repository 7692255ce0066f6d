"""Sessions kept by the server: the cookie names a row, and the row decides."""

from flask import Flask

from portal.config import Settings


def init_app(app: Flask, settings: Settings) -> None:
    """Check each request's session row."""
