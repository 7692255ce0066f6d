"""Files in a directory; what every store does is tested with all stores, in tests/integration/storage."""

import hashlib
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from portal.storage import Away
from portal.storage.disk import DiskStore


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "builds")


def files(store: DiskStore) -> list[Path]:
    return [path for path in store.root.rglob("*") if path.is_file()]


def test_a_file_lies_under_its_digest_two_levels_deep(store: DiskStore) -> None:
    digest = store.write([b"one ", b"file"], 100).sha256
    assert digest == hashlib.sha256(b"one file").hexdigest()
    assert files(store) == [store.root / digest[:2] / digest[2:4] / digest]
    assert store.path(digest).read_bytes() == b"one file"


def test_a_file_is_opened_with_its_descriptor_at_the_first_byte_asked_for(store: DiskStore) -> None:
    """So that it can be sent by sendfile, which begins there."""
    digest = store.write([b"one file"], 100).sha256
    with store.open(digest, 4, 6) as source:
        assert os.lseek(source.fileno(), 0, os.SEEK_CUR) == 4


def test_a_full_disk_leaves_nothing(store: DiskStore) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(Away, match=r"too large\. Nothing of it was kept"):
            store.write([b"x" * 1_000] * 20, 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(store) == []


def test_a_directory_that_cannot_be_written_does_not_pass_the_check(store: DiskStore) -> None:
    store.root.write_text("a file is in the way")
    with pytest.raises(OSError, match="exists"):
        store.check()


def test_without_a_bucket_none_of_its_packages_is_needed(tmp_path: Path) -> None:
    program = """
import sys
from collections.abc import Iterator
from contextlib import contextmanager
sys.modules.update(boto3=None, botocore=None, s3transfer=None)  # importing them fails, as if they were not installed
from portal.app import create_app
create_app().extensions["portal.storage"].check()
"""
    environment = {"DATA_DIR": str(tmp_path), "SECRET_KEY": "x" * 40}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=60)


def test_what_this_user_may_not_read_is_not_taken_for_damaged(store: DiskStore) -> None:
    stored = store.write([b"bytes"], 10)
    store.path(stored.sha256).parent.chmod(0)
    try:
        with _as_nobody_special():
            for ask in (store.exists, store.open):
                with pytest.raises(Away, match="Permission denied"):
                    ask(stored.sha256)
    finally:
        store.path(stored.sha256).parent.chmod(0o700)


@contextmanager
def _as_nobody_special() -> Iterator[None]:
    """Drop root's right to read everything, where the tests have it."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)
