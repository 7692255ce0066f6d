"""Addresses of our own pages, built once each: a page holds dozens, and building one costs as much as drawing a row."""

from functools import lru_cache
from typing import Any

import flask
from flask import Flask, request


def url_for(endpoint: str, **values: Any) -> str:
    """Return what `flask.url_for` returns, remembered by endpoint, values and where the portal is mounted.

    Relative endpoints, external addresses and values that cannot be remembered are built each time.
    """
    if endpoint.startswith(".") or any(name.startswith("_") for name in values):
        return flask.url_for(endpoint, **values)
    try:
        return _build(request.script_root, endpoint, tuple(values.items()))
    except TypeError:
        return flask.url_for(endpoint, **values)


@lru_cache(maxsize=4096, typed=True)
def _build(mounted_at: str, endpoint: str, values: tuple[tuple[str, Any], ...]) -> str:
    return flask.url_for(endpoint, **dict(values))


def init_app(app: Flask) -> None:
    """Let templates use it."""
    app.jinja_env.globals["url_for"] = url_for
