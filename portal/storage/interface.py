"""What every store can do, and what is the same in all of them."""

import hashlib
import io
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import BinaryIO, Self

from portal.errors import Invalid, PortalError

CHUNK_BYTES = 1 << 20
INCOMING = "incoming"
SHA256 = re.compile(r"[0-9a-f]{64}")


class TooLarge(Invalid):
    """The file has more bytes than are accepted."""


class Missing(Exception):
    """The bytes that were asked for are not in storage: the file is not there, or it is shorter than it was."""


class Away(PortalError):
    """The store does not answer, refuses us, or is full. Nothing was stored; the same again, a little later, may well work."""


@dataclass(frozen=True)
class Stored:
    """What was stored: its name, and its size in bytes."""

    sha256: str
    size: int


def key(sha256: str) -> str:
    """Return where the file of this digest lies below the top of any store, two levels of two hexadecimal digits deep.

    Raises ValueError for anything but a SHA-256 in hexadecimal.
    """
    if not SHA256.fullmatch(sha256):
        raise ValueError(f"{sha256!r} is no SHA-256")
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}"


class Incoming(ABC):
    """A file on its way in. Used as a context manager; leaving it without `finish()` leaves no file behind.

    It has the few methods of a file that form parsers ask for, so an upload can be parsed straight into it.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        """Add `data`. Raises TooLarge once there is more than accepted, before it is written; Away."""
        self.size += len(data)
        if self.size > self._limit:
            raise TooLarge(f"The file is larger than the limit of {self._limit:,} bytes. Send a smaller file or zip it.", "file")
        self._hash.update(data)
        self._append(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Do nothing: a form parser rewinds what it has written, for readers that are not needed here."""
        return self.size

    def finish(self) -> Stored:
        """Make the file durable and put it in its place. Raises Invalid if it is empty; Away.

        The same bytes again replace themselves, which also makes them young for `Store.remove_orphans`. Whoever reads the old
        file goes on reading it.
        """
        if self.size == 0:
            raise Invalid("The file is empty. Choose the file again; the one that was sent had no bytes.", "file")
        digest = self._hash.hexdigest()
        self._keep(digest)
        return Stored(digest, self.size)

    @abstractmethod
    def _append(self, data: bytes) -> None:
        """Add `data`, which is within the limit."""

    @abstractmethod
    def _keep(self, sha256: str) -> None:
        """Make what was added the file of this digest, all of it at once."""

    @abstractmethod
    def close(self) -> None:
        """Remove what was not finished."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Store(ABC):
    """A place for files under their digests. Every method raises Away when the place does not answer."""

    @abstractmethod
    def receive(self, limit_bytes: int) -> Incoming:
        """Open a place for a file of at most `limit_bytes`."""

    def write(self, source: BinaryIO | Iterable[bytes], limit_bytes: int) -> Stored:
        """Store the bytes of a stream or of chunks.

        Raises Invalid if there are none, TooLarge if there are more than `limit_bytes`, and whatever reading raises; in each
        case nothing is left behind.
        """
        with self.receive(limit_bytes) as incoming:
            for chunk in _chunks(source):
                incoming.write(chunk)
            return incoming.finish()

    @abstractmethod
    def exists(self, sha256: str) -> bool:
        """Say whether there is a file of this digest."""

    @abstractmethod
    def open(self, sha256: str, first: int = 0, last: int | None = None) -> io.RawIOBase:
        """Open a file to be read once, from the byte `first`, at most to the byte `last`; to be closed by the caller.

        Where it has a descriptor (`fileno()`), it can be sent by sendfile. Raises Missing, also if it ends before `last`.
        """

    def read(self, sha256: str) -> Iterator[bytes]:
        """Yield all bytes of a file, in chunks of at most CHUNK_BYTES. Raises Missing, with the first chunk."""
        with self.open(sha256) as source:
            while chunk := source.read(CHUNK_BYTES):
                yield chunk

    def link(self, sha256: str, disposition: str) -> str | None:
        """Return an address that hands out this file for a few seconds to whoever knows it, with this Content-Disposition.

        None where there is none: the bytes go through the portal.
        """
        return None

    @abstractmethod
    def sweep(self, older_than: datetime) -> int:
        """Remove what a killed process left unfinished before `older_than`, and say how many files that were."""

    @abstractmethod
    def remove_orphans(self, kept: Collection[str], older_than: datetime) -> int:
        """Remove the files whose digest is not among `kept` and that were stored before `older_than`; say how many.

        The age keeps the hands off a file whose row is not committed yet.
        """

    @abstractmethod
    def check(self) -> None:
        """Raise what is wrong if the store cannot be used now. Takes a few seconds at most."""


def _chunks(source: BinaryIO | Iterable[bytes]) -> Iterator[bytes]:
    read = getattr(source, "read", None)
    if read is None:
        yield from source
        return
    while chunk := read(CHUNK_BYTES):
        yield chunk
