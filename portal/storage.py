"""The bytes of builds, stored under their SHA-256."""

from flask import Flask

from portal.config import Settings


def init_app(app: Flask, settings: Settings) -> None:
    """Prepare the store."""
