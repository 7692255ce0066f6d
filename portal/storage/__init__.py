"""The bytes of builds, stored under their SHA-256: in a directory, or in a bucket of an S3-compatible store.

A file becomes visible under its digest when all of it is there; its name never comes from a person, and its bytes never change.
Memory use does not depend on its size. `store()` is the one place everybody goes to; which store it is, STORAGE_URL says.
"""

from flask import Flask, current_app

from portal.config import Settings
from portal.storage.disk import DiskStore
from portal.storage.interface import CHUNK_BYTES, Away, Incoming, Missing, Store, Stored, TooLarge, key

__all__ = ["CHUNK_BYTES", "Away", "Incoming", "Missing", "Store", "Stored", "TooLarge", "init_app", "key", "make_store", "store"]


def store() -> Store:
    """Return the store of the current app."""
    found: Store = current_app.extensions["portal.storage"]
    return found


def init_app(app: Flask, settings: Settings) -> None:
    """Give the app its store. Nothing is made or asked before the first file."""
    app.extensions["portal.storage"] = make_store(settings)


def make_store(settings: Settings) -> Store:
    """Return the store that the settings name."""
    if settings.bucket is None:
        return DiskStore(settings.builds_dir)
    # Not before it is wanted: it needs packages that the others do without.
    from portal.storage.s3 import S3Store

    return S3Store(settings.bucket, connections=settings.web_threads, link_seconds=settings.storage_presigned)
