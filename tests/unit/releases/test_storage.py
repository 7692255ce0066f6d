"""Files under their digest: whole or not there."""

import hashlib
import os
import resource
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import pytest

from portal.errors import Invalid
from portal.storage import CHUNK_BYTES, Missing, TooLarge
from portal.storage.disk import DiskStore as Store

NOW = datetime.now(UTC)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "builds")


def files(store: Store) -> list[Path]:
    return [path for path in store.root.rglob("*") if path.is_file()]


def test_a_file_lies_under_its_digest_two_levels_deep(store: Store) -> None:
    stored = store.write([b"one ", b"file"], 100)
    digest = hashlib.sha256(b"one file").hexdigest()
    assert (stored.sha256, stored.size) == (digest, 8)
    assert store.path(digest) == store.root / digest[:2] / digest[2:4] / digest
    assert store.path(digest).read_bytes() == b"one file"
    assert files(store) == [store.path(digest)]


def test_a_stream_is_read_like_chunks(store: Store) -> None:
    assert store.write(BytesIO(b"one file"), 100) == store.write([b"one file"], 100)


def test_the_same_bytes_are_kept_once(store: Store) -> None:
    first, second = store.write([b"same"], 100), store.write([b"sa", b"me"], 100)
    assert first == second
    assert len(files(store)) == 1


@pytest.mark.parametrize("chunks", [[], [b""]])
def test_an_empty_file_is_refused_and_leaves_nothing(store: Store, chunks: list[bytes]) -> None:
    with pytest.raises(Invalid, match="empty"):
        store.write(chunks, 100)
    assert files(store) == []


def test_a_full_disk_leaves_nothing(store: Store) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            store.write([b"x" * 1_000] * 20, 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(store) == []


def test_the_limit_itself_is_accepted_and_one_byte_more_is_not(store: Store) -> None:
    store.write([b"x" * 100], 100)
    with pytest.raises(TooLarge):
        store.write([b"y" * 60, b"y" * 41], 100)
    assert len(files(store)) == 1


def test_a_reader_that_fails_leaves_nothing(store: Store) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half a "
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        store.write(broken(), 100)
    assert files(store) == []


def test_a_killed_process_leaves_a_file_that_the_sweep_removes_when_it_is_old(store: Store) -> None:
    stored = store.write([b"kept"], 100)
    incoming = store.receive(100)
    incoming.write(b"unfinished")
    assert store.sweep(NOW - timedelta(days=1)) == 0
    left = next(store.incoming.iterdir())
    os.utime(left, (0, 0))
    assert store.sweep(NOW - timedelta(days=1)) == 1
    assert files(store) == [store.path(stored.sha256)]
    incoming.close()


def test_orphans_go_when_they_are_old_and_nobody_names_them(store: Store) -> None:
    named, old, young = (store.write([text], 100).sha256 for text in (b"named", b"old", b"young"))
    for digest in (named, old):
        os.utime(store.path(digest), (0, 0))
    assert store.remove_orphans({named}, NOW - timedelta(days=1)) == 1
    assert [store.exists(digest) for digest in (named, old, young)] == [True, False, True]


def test_all_bytes_are_read_back_in_bounded_chunks(store: Store) -> None:
    content = os.urandom(CHUNK_BYTES + 5)
    digest = store.write([content], len(content)).sha256
    assert list(store.read(digest)) == [content[:CHUNK_BYTES], content[CHUNK_BYTES:]]


def test_missing_bytes_are_told_apart_from_every_other_failure(store: Store) -> None:
    with pytest.raises(Missing):
        next(store.read("a" * 64))


def test_storing_old_bytes_again_makes_them_young(store: Store) -> None:
    digest = store.write([b"again"], 100).sha256
    os.utime(store.path(digest), (0, 0))
    store.write([b"again"], 100)
    assert store.remove_orphans(set(), NOW - timedelta(days=1)) == 0


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n"])
def test_nothing_but_a_digest_names_a_file(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="no SHA-256"):
        store.path(name)
