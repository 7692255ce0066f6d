"""The bytes of builds, stored under their SHA-256.

A file is written beside its final place, hashed on the way, made durable, then renamed: whoever sees it sees all of it.
Its name never comes from a person, and its bytes never change. Memory use does not depend on its size.
"""

import hashlib
import os
import re
import secrets
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from flask import Flask, current_app

from portal.config import Settings
from portal.errors import Invalid

CHUNK_BYTES = 1 << 20
_INCOMING = "incoming"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class TooLarge(Invalid):
    """The file has more bytes than are accepted."""


class Missing(Exception):
    """The bytes that were asked for are not in storage."""


@dataclass(frozen=True)
class Stored:
    """What was stored: its name, and its size in bytes."""

    sha256: str
    size: int


class Incoming:
    """A file on its way in. Used as a context manager; leaving it without `finish()` leaves no file behind.

    It has the few methods of a file that form parsers ask for, so an upload can be parsed straight into it.
    """

    def __init__(self, store: "Store", limit_bytes: int) -> None:
        self._store = store
        self._limit = limit_bytes
        self._hash = hashlib.sha256()
        self.size = 0
        store.incoming.mkdir(parents=True, exist_ok=True)
        self._path = store.incoming / secrets.token_hex(16)
        self._file: BinaryIO = self._path.open("xb")

    def write(self, data: bytes) -> int:
        """Add `data`. Raises TooLarge once there is more than accepted, before it is written."""
        self.size += len(data)
        if self.size > self._limit:
            raise TooLarge(f"The file is larger than the limit of {self._limit:,} bytes. Send a smaller file or zip it.", "file")
        self._hash.update(data)
        return self._file.write(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Do nothing: a form parser rewinds what it has written, for readers that are not needed here."""
        return self.size

    def finish(self) -> Stored:
        """Make the file durable and put it in its place. Raises Invalid if it is empty."""
        if self.size == 0:
            raise Invalid("The file is empty. Choose the file again; the one that was sent had no bytes.", "file")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        digest = self._hash.hexdigest()
        target = self._store.path(digest)
        _make_durable_directory(target.parent, self._store.root)
        # The same bytes again replace themselves, which also makes them young for `remove_orphans`. Whoever reads the old
        # file goes on reading it.
        self._path.replace(target)
        _sync_directory(target.parent)
        return Stored(digest, self.size)

    def close(self) -> None:
        """Remove what was not finished, also where closing fails: on a full disk the last bytes cannot be written."""
        try:
            self._file.close()
        finally:
            self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Store:
    """Files under a directory, two levels of two hexadecimal digits deep: `ab/cd/abcd…`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.incoming = root / _INCOMING

    def receive(self, limit_bytes: int) -> Incoming:
        """Open a place for a file of at most `limit_bytes`."""
        return Incoming(self, limit_bytes)

    def write(self, source: BinaryIO | Iterable[bytes], limit_bytes: int) -> Stored:
        """Store the bytes of a stream or of chunks.

        Raises Invalid if there are none, TooLarge if there are more than `limit_bytes`, and whatever reading raises; in each
        case nothing is left behind.
        """
        with self.receive(limit_bytes) as incoming:
            for chunk in _chunks(source):
                incoming.write(chunk)
            return incoming.finish()

    def path(self, sha256: str) -> Path:
        """Return where the file of this digest lies, or would. Raises ValueError for anything but a SHA-256 in hexadecimal."""
        if not _SHA256.fullmatch(sha256):
            raise ValueError(f"{sha256!r} is no SHA-256")
        return self.root / sha256[:2] / sha256[2:4] / sha256

    def exists(self, sha256: str) -> bool:
        return self.path(sha256).is_file()

    def read(self, sha256: str) -> Iterator[bytes]:
        """Yield all bytes of a stored file, in chunks of at most CHUNK_BYTES. Raises Missing, with the first chunk."""
        try:
            with self.path(sha256).open("rb") as file:
                yield from _chunks(file)
        except FileNotFoundError:
            raise Missing(f"not in storage: {sha256}") from None

    def sweep(self, older_than: datetime) -> int:
        """Remove what a killed process left unfinished before `older_than`, and say how many files that were."""
        return sum(_remove_if_older(path, older_than) for path in self.incoming.glob("*"))

    def remove_orphans(self, kept: Collection[str], older_than: datetime) -> int:
        """Remove the files whose digest is not among `kept` and that were stored before `older_than`; say how many.

        The age keeps the hands off a file whose row is not committed yet.
        """
        files = (path for path in self.root.glob("??/??/*") if _SHA256.fullmatch(path.name) and path.name not in kept)
        return sum(_remove_if_older(path, older_than) for path in files)


def _chunks(source: BinaryIO | Iterable[bytes]) -> Iterator[bytes]:
    read = getattr(source, "read", None)
    if read is None:
        yield from source
        return
    while chunk := read(CHUNK_BYTES):
        yield chunk


def _remove_if_older(path: Path, older_than: datetime) -> bool:
    try:
        if path.stat().st_mtime >= older_than.timestamp():
            return False
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def _make_durable_directory(directory: Path, root: Path) -> None:
    """Make `directory` and its parents up to `root`, each entry on disk before anything is put into it."""
    if directory.is_dir():
        return
    if directory != root:
        _make_durable_directory(directory.parent, root)
    directory.mkdir(exist_ok=True)
    _sync_directory(directory.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def store() -> Store:
    """Return the store of the current app."""
    found: Store = current_app.extensions["portal.storage"]
    return found


def init_app(app: Flask, settings: Settings) -> None:
    """Give the app its store. The directory is made when the first file arrives."""
    app.extensions["portal.storage"] = Store(settings.builds_dir)
