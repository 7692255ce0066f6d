"""Files in a directory; what every store does is tested with all stores, in tests/integration/storage."""

import hashlib
import os
import resource
from pathlib import Path

import pytest

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
        with pytest.raises(OSError, match="too large"):
            store.write([b"x" * 1_000] * 20, 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(store) == []


def test_a_directory_that_cannot_be_written_does_not_pass_the_check(store: DiskStore) -> None:
    store.root.write_text("a file is in the way")
    with pytest.raises(OSError, match="exists"):
        store.check()
