"""Stores to test: a directory, and a bucket in a real S3-compatible store."""

from datetime import datetime
from pathlib import Path

import pytest

from portal import clock
from portal.storage import Store, make_store
from portal.storage.s3 import S3Store
from tests.conftest import make_settings
from tests.seaweedfs import SeaweedFS


@pytest.fixture(autouse=True)
def today() -> datetime:
    """The store has the real clock and refuses requests of another day, so these tests have it too."""
    return clock.now()


@pytest.fixture
def s3(seaweedfs: SeaweedFS, tmp_path: Path) -> S3Store:
    """A place in the bucket that nothing lies in yet."""
    store = make_store(make_settings(tmp_path, storage_url=seaweedfs.storage_url()))
    assert isinstance(store, S3Store)
    return store


@pytest.fixture(params=["disk", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Each kind of store, empty."""
    if request.param == "disk":
        return make_store(make_settings(tmp_path))
    found: S3Store = request.getfixturevalue("s3")
    return found
