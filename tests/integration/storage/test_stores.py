"""Files under their digest, whole or not there: the same in a directory and in a bucket."""

import hashlib
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO

import pytest

from portal.errors import Invalid
from portal.storage import CHUNK_BYTES, Missing, Store, TooLarge, key
from portal.storage.disk import DiskStore
from portal.storage.s3 import MOST_PARTS, PART_BYTES, S3Store

LIMIT = 10 * PART_BYTES
# Not random, so that two of them differ in one place alone; larger than one part.
LARGE = bytes(range(256)) * (PART_BYTES // 128) + b"the end"
DAY = timedelta(days=1)


def everything(store: Store) -> list[str]:
    """The names of all that lies in the store, also of what is unfinished."""
    if isinstance(store, DiskStore):
        return sorted(str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file())
    assert isinstance(store, S3Store)
    place = {"Bucket": store.bucket.name, "Prefix": store.bucket.prefix}
    objects = store.client.list_objects_v2(**place).get("Contents", [])
    uploads = store.client.list_multipart_uploads(**place).get("Uploads", [])
    return sorted(found["Key"].removeprefix(store.bucket.prefix) for found in [*objects, *uploads])


def now() -> datetime:
    return datetime.now(UTC)


def moment_between() -> datetime:
    """A moment after everything stored so far and before everything stored later; S3 counts in whole seconds."""
    time.sleep(1.1)
    moment = now()
    time.sleep(1.1)
    return moment


@pytest.mark.parametrize("content", [b"one file", LARGE, LARGE[:PART_BYTES], LARGE[: 2 * PART_BYTES]])
def test_what_was_stored_lies_under_its_digest_and_is_read_back(store: Store, content: bytes) -> None:
    digest = hashlib.sha256(content).hexdigest()
    stored = store.write([content[:3], content[3:]], LIMIT)
    assert (stored.sha256, stored.size) == (digest, len(content))
    assert everything(store) == [f"{digest[:2]}/{digest[2:4]}/{digest}"]
    assert b"".join(store.read(digest)) == content


def test_a_stream_is_read_like_chunks(store: Store) -> None:
    assert store.write(BytesIO(b"one file"), 100) == store.write([b"one file"], 100)


def test_the_same_bytes_are_kept_once(store: Store) -> None:
    first, second = store.write([LARGE], LIMIT), store.write([LARGE[:50], LARGE[50:]], LIMIT)
    assert first == second
    assert everything(store) == [key(first.sha256)]


@pytest.mark.parametrize("chunks", [[], [b""]])
def test_an_empty_file_is_refused_and_leaves_nothing(store: Store, chunks: list[bytes]) -> None:
    with pytest.raises(Invalid, match="empty"):
        store.write(chunks, 100)
    assert everything(store) == []


@pytest.mark.parametrize("limit", [100, len(LARGE)])
def test_the_limit_itself_is_accepted_and_one_byte_more_is_not(store: Store, limit: int) -> None:
    store.write([LARGE[:limit]], limit)
    with pytest.raises(TooLarge):
        store.write([LARGE[:limit], b"y"], limit)
    assert len(everything(store)) == 1


@pytest.mark.parametrize("content", [b"half a ", LARGE])
def test_a_reader_that_fails_leaves_nothing(store: Store, content: bytes) -> None:
    def broken() -> Iterator[bytes]:
        yield content
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        store.write(broken(), LIMIT)
    assert everything(store) == []


@pytest.mark.parametrize("content", [b"half a ", LARGE])
def test_nothing_is_visible_under_the_digest_before_the_end(store: Store, content: bytes) -> None:
    with store.receive(LIMIT) as incoming:
        incoming.write(content)
        assert not store.exists(hashlib.sha256(content).hexdigest())
        assert all(name.startswith("incoming/") for name in everything(store))
        stored = incoming.finish()
        assert store.exists(stored.sha256)


def test_a_file_exists_or_not(store: Store) -> None:
    assert not store.exists("a" * 64)
    assert store.exists(store.write([b"one file"], 100).sha256)


@pytest.mark.parametrize(
    ("first", "last"), [(0, None), (0, 0), (7, 7), (5, None), (0, len(LARGE) - 1), (PART_BYTES - 2, PART_BYTES + 2), (len(LARGE) - 1, None)]
)
def test_a_part_is_read_as_it_was_asked_for(store: Store, first: int, last: int | None) -> None:
    digest = store.write([LARGE], LIMIT).sha256
    with store.open(digest, first, last) as source:
        parts = list(iter(lambda: source.read(CHUNK_BYTES), b""))
    wanted = LARGE[first:] if last is None else LARGE[first : last + 1]
    # Whoever sends a file bounds what it reads of it, so a file may give more; a stream gives no more than it was asked for.
    assert b"".join(part or b"" for part in parts)[: len(wanted)] == wanted


def test_chunks_are_bounded(store: Store) -> None:
    digest = store.write([LARGE], LIMIT).sha256
    assert max(map(len, store.read(digest))) <= CHUNK_BYTES


def test_missing_bytes_are_told_apart_from_every_other_failure(store: Store) -> None:
    with pytest.raises(Missing):
        next(store.read("a" * 64))
    with pytest.raises(Missing):
        store.open("a" * 64, 5, 9)


def test_a_file_that_is_shorter_than_it_was_is_missing(store: Store) -> None:
    digest = store.write([b"one file"], 100).sha256
    for first, last in ((0, 8), (4, 8), (8, 8), (20, 29)):
        with pytest.raises(Missing):
            store.open(digest, first, last)


@pytest.mark.parametrize("content", [b"unfinished", LARGE])
def test_what_a_killed_process_left_goes_when_it_is_old(store: Store, content: bytes) -> None:
    kept = store.write([b"kept"], 100)
    left = store.receive(LIMIT)
    left.write(content)
    assert store.sweep(now() - DAY) == 0
    older_than = moment_between()
    young = store.receive(LIMIT)
    young.write(LARGE)
    assert store.sweep(older_than) == (0 if content == b"unfinished" and isinstance(store, S3Store) else 1)
    assert len(everything(store)) == 2
    young.finish()
    young.close()
    left.close()
    assert sorted(everything(store)) == sorted([key(kept.sha256), key(hashlib.sha256(LARGE).hexdigest())])


def test_orphans_go_when_they_are_old_and_nobody_names_them(store: Store) -> None:
    named, old = (store.write([text], 100).sha256 for text in (b"named", b"old"))
    older_than = moment_between()
    young = store.write([b"young"], 100).sha256
    assert store.remove_orphans({named}, older_than) == 1
    assert [store.exists(digest) for digest in (named, old, young)] == [True, False, True]


@pytest.mark.parametrize("content", [b"again", LARGE])
def test_storing_old_bytes_again_makes_them_young(store: Store, content: bytes) -> None:
    store.write([content], LIMIT)
    older_than = moment_between()
    store.write([content], LIMIT)
    assert store.remove_orphans(set(), older_than) == 0
    assert len(everything(store)) == 1


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n"])
def test_nothing_but_a_digest_names_a_file(store: Store, name: str) -> None:
    for ask in (store.exists, store.open):
        with pytest.raises(ValueError, match="no SHA-256"):
            ask(name)


def test_a_store_that_works_says_so(store: Store) -> None:
    store.check()
    store.write([os.urandom(10)], 10)
    store.check()


def test_the_bytes_go_through_the_portal_unless_links_are_asked_for(store: Store) -> None:
    assert store.link(store.write([b"one file"], 100).sha256, "attachment") is None


def test_the_largest_file_fits_into_the_parts_that_there_may_be(s3: S3Store) -> None:
    limit = 200_000_000_000
    assert s3.receive(limit)._part_bytes * MOST_PARTS >= limit  # type: ignore[attr-defined]
