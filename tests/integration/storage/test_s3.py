"""A bucket that is slow, cut off, away, or refuses us; and links into it."""

import hashlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import portal.storage.s3
from portal.config import Settings
from portal.storage import CHUNK_BYTES, Away, key, make_store
from portal.storage.s3 import PART_BYTES, S3Store
from tests.conftest import make_settings
from tests.seaweedfs import CREDENTIALS, SeaweedFS, free_ports
from tests.unreliable import Relay, relay_to

CONTENT = os.urandom(3 * PART_BYTES)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
LIMIT = 10 * PART_BYTES
NAME = "attachment; filename=\"say hi.msi\"; filename*=UTF-8''say%20hi.msi"


@pytest.fixture
def relay(seaweedfs: SeaweedFS) -> Iterator[Relay]:
    with relay_to(seaweedfs.port) as relay:
        yield relay


@pytest.fixture
def through_relay(relay: Relay, seaweedfs: SeaweedFS, tmp_path: Path) -> S3Store:
    """A place in the bucket, reached over the relay, with CONTENT in it."""
    return bucket(make_settings(tmp_path, storage_url=seaweedfs.storage_url(port=relay.port)), [CONTENT])


def bucket(settings: Settings, contents: list[bytes]) -> S3Store:
    store = make_store(settings)
    assert isinstance(store, S3Store)
    for content in contents:
        store.write([content], LIMIT)
    return store


def _now() -> datetime:
    return datetime.now(UTC)


def left_behind(store: S3Store) -> list[str]:
    """Keys of objects and of unfinished uploads under `incoming/`."""
    place = {"Bucket": store.bucket.name, "Prefix": f"{store.bucket.prefix}incoming/"}
    objects = store.client.list_objects_v2(**place).get("Contents", [])
    return [found["Key"] for found in [*objects, *store.client.list_multipart_uploads(**place).get("Uploads", [])]]


def open_connections(port: int) -> int:
    """How many connections this process has to a port of loopback (proc(5): remote address, state 1 for established, inode)."""
    lines = (line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:])
    ends = {fields[9] for fields in lines if fields[2].endswith(f":{port:04X}") and fields[3] == "01"}
    links = (os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink())
    return sum(link.removeprefix("socket:[").removesuffix("]") in ends for link in links)


# Reading -----------------------------------------------------------------------------------------------------------------------


def test_a_file_that_is_cut_off_is_taken_up_again_where_it_stopped(through_relay: S3Store, relay: Relay) -> None:
    relay.break_next(2, after=5_000_000)
    assert b"".join(through_relay.read(DIGEST)) == CONTENT
    assert relay.bad == 0


def test_so_is_a_part_of_one(through_relay: S3Store, relay: Relay) -> None:
    relay.break_next(1, after=1_000_000)
    with through_relay.open(DIGEST, 10, 5_000_009) as source:
        assert b"".join(iter(lambda: source.read(CHUNK_BYTES) or b"", b"")) == CONTENT[10:5_000_010]


def test_a_store_that_falls_silent_is_asked_again(relay: Relay, through_relay: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portal.storage.s3, "READ_SECONDS", 1)
    patient = S3Store(through_relay.bucket)
    relay.break_next(1, after=5_000_000, silent=True)
    assert b"".join(patient.read(DIGEST)) == CONTENT


def test_a_store_that_never_gives_a_byte_is_away(through_relay: S3Store, relay: Relay) -> None:
    relay.break_next(1_000, after=0)
    with pytest.raises(Away):
        next(through_relay.read(DIGEST))


def test_a_reader_who_leaves_lets_go_of_the_connection(through_relay: S3Store, relay: Relay) -> None:
    relay.break_next(0, after=0)
    source = through_relay.open(DIGEST)
    source.read(CHUNK_BYTES)
    assert open_connections(relay.port) == 1
    source.close()
    assert open_connections(relay.port) == 0


# Writing -----------------------------------------------------------------------------------------------------------------------


def test_a_store_that_goes_away_in_the_middle_leaves_nothing_visible_and_the_rest_to_the_sweep(
    through_relay: S3Store, relay: Relay, seaweedfs: SeaweedFS
) -> None:
    other = os.urandom(2 * PART_BYTES)
    incoming = through_relay.receive(LIMIT)
    incoming.write(other[:PART_BYTES])
    relay.break_next(1_000, after=None)
    with pytest.raises(Away), incoming:
        incoming.write(other[PART_BYTES:])
    relay.break_next(0, after=0)
    assert not through_relay.exists(hashlib.sha256(other).hexdigest())
    assert len(left_behind(through_relay)) == 1
    time.sleep(1.1)
    assert through_relay.sweep(_now()) == 1
    assert left_behind(through_relay) == []


def test_a_temporary_object_that_a_killed_process_left_is_swept(s3: S3Store) -> None:
    s3.client.put_object(**s3.place("incoming/0123"), Body=b"all of it, but not copied")
    time.sleep(1.1)
    assert s3.sweep(_now()) == 1
    assert left_behind(s3) == []


def test_the_sweep_and_the_orphans_leave_what_is_not_the_portals(s3: S3Store) -> None:
    s3.client.put_object(**s3.place("README"), Body=b"a note of the bucket's owner")
    s3.client.put_object(Bucket=s3.bucket.name, Key=f"{s3.bucket.prefix.rstrip('/')}-other/{key(DIGEST)}", Body=b"another portal's")
    time.sleep(1.1)
    now = _now()
    assert (s3.sweep(now), s3.remove_orphans(set(), now)) == (0, 0)


# Away --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "act",
    [
        lambda store: store.check(),
        lambda store: store.exists(DIGEST),
        lambda store: store.open(DIGEST),
        lambda store: store.receive(10),
        lambda store: store.sweep(_now()),
        lambda store: store.remove_orphans(set(), _now()),
    ],
    ids=["check", "exists", "open", "receive", "sweep", "remove_orphans"],
)
@pytest.mark.parametrize("cause", ["refused", "wrong keys"])
def test_a_store_that_does_not_work_is_away(
    act: Callable[[S3Store], object],
    cause: str,
    seaweedfs: SeaweedFS,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    port = free_ports(1)[0] if cause == "refused" else seaweedfs.port
    if cause == "wrong keys":
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not the right one")
    store = bucket(make_settings(tmp_path, storage_url=seaweedfs.storage_url(port=port)), [])
    with pytest.raises(Away, match="does not answer"):
        act(store)
    assert "the S3 store failed" in caplog.text
    assert "not the right one" not in caplog.text
    assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"] not in caplog.text


def test_a_bucket_that_is_not_there_is_away(seaweedfs: SeaweedFS, tmp_path: Path) -> None:
    store = bucket(make_settings(tmp_path, storage_url=seaweedfs.storage_url().replace("s3://builds/", "s3://no-such-bucket/")), [])
    with pytest.raises(Away):
        store.check()


# Links -------------------------------------------------------------------------------------------------------------------------


def curl(*arguments: str) -> tuple[int, dict[str, str], bytes]:
    """Return the status, the header fields and the body."""
    done = subprocess.run(["curl", "--silent", "--noproxy", "*", "-i", *arguments], capture_output=True, timeout=60)
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}, body


@pytest.fixture
def linking(seaweedfs: SeaweedFS, tmp_path: Path) -> S3Store:
    """A place with CONTENT in it whose links live for two seconds."""
    return bucket(make_settings(tmp_path, storage_url=seaweedfs.storage_url(), storage_presigned=2), [CONTENT])


def test_a_link_hands_out_the_file_by_its_name_in_ranges_too(linking: S3Store) -> None:
    link = linking.link(DIGEST, NAME)
    assert link is not None
    status, fields, body = curl("-r", "5-9", link)
    assert (status, body) == (206, CONTENT[5:10])
    assert fields["content-disposition"] == NAME
    assert fields["content-type"] == "application/octet-stream"
    assert fields["cache-control"] == "private, no-store"
    assert fields["content-range"] == f"bytes 5-9/{len(CONTENT)}"


def test_a_link_is_dead_after_its_seconds(linking: S3Store) -> None:
    link = linking.link(DIGEST, NAME)
    assert link is not None
    time.sleep(3.1)
    status, _, body = curl(link)
    assert status == 403
    assert CONTENT[:16] not in body


def test_a_link_opens_nothing_else(linking: S3Store) -> None:
    linking.write([b"another build"], LIMIT)
    link = linking.link(DIGEST, NAME)
    assert link is not None
    other = hashlib.sha256(b"another build").hexdigest()
    for attempt in (
        [link.replace(key(DIGEST), key(other))],
        [link.replace("say%2520hi.msi", "invoice.exe")],
        [link.replace("X-Amz-Expires=2", "X-Amz-Expires=900")],
        ["-X", "PUT", "--data", "other bytes", link],
        ["-X", "DELETE", link],
    ):
        assert curl(*attempt)[0] == 403
    assert b"".join(linking.read(DIGEST)) == CONTENT


def test_a_link_names_no_secret(linking: S3Store) -> None:
    assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"] not in (linking.link(DIGEST, NAME) or "")
