"""Builds in a directory of this machine, or one that several machines share."""

import io
import logging
import os
import secrets
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from portal.storage.interface import INCOMING, SHA256, Away, Incoming, Missing, Store, key

log = logging.getLogger(__name__)


class DiskStore(Store):
    """Files under a directory. Each is written beside its final place, hashed on the way, made durable, then renamed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.incoming = root / INCOMING

    def receive(self, limit_bytes: int) -> Incoming:
        return _File(self, limit_bytes)

    def path(self, sha256: str) -> Path:
        """Return where the file of this digest lies, or would. Raises ValueError for anything but a SHA-256 in hexadecimal."""
        return self.root / key(sha256)

    def exists(self, sha256: str) -> bool:
        with _reading():
            return self.path(sha256).is_file()

    def open(self, sha256: str, first: int = 0, last: int | None = None) -> io.FileIO:
        try:
            with _reading():
                file = io.FileIO(self.path(sha256), "rb")
        except FileNotFoundError:
            raise Missing(f"not in storage: {sha256}") from None
        if last is not None and os.fstat(file.fileno()).st_size <= last:
            file.close()
            raise Missing(f"too short in storage: {sha256}")
        file.seek(first)
        return file

    def sweep(self, older_than: datetime) -> int:
        return sum(_remove_if_older(path, older_than) for path in self.incoming.glob("*"))

    def remove_orphans(self, kept: Collection[str], older_than: datetime) -> int:
        files = (path for path in self.root.glob("??/??/*") if SHA256.fullmatch(path.name) and path.name not in kept)
        return sum(_remove_if_older(path, older_than) for path in files)

    def check(self) -> None:
        """Raise OSError if nothing can be written."""
        self.root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.root):
            pass


class _File(Incoming):
    def __init__(self, store: DiskStore, limit_bytes: int) -> None:
        super().__init__(limit_bytes)
        self._store = store
        self._path = store.incoming / secrets.token_hex(16)
        with _writing():
            store.incoming.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = self._path.open("xb")

    def _append(self, data: bytes) -> None:
        with _writing():
            self._file.write(data)

    def _keep(self, sha256: str) -> None:
        with _writing():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            target = self._store.path(sha256)
            _make_durable_directory(target.parent, self._store.root)
            self._path.replace(target)
            _sync_directory(target.parent)

    def close(self) -> None:
        """Remove what was not finished, also where closing fails: on a full disk the last bytes cannot be written."""
        with suppress(OSError):
            self._file.close()
        self._path.unlink(missing_ok=True)


@contextmanager
def _writing() -> Iterator[None]:
    """Say what the disk fails with: that it is full, above all."""
    try:
        yield
    except OSError as error:
        log.error("a build could not be stored: %s", error)
        raise Away(
            f"The portal could not store the file: {error.strerror}. Nothing of it was kept. Make room, then send it again."
        ) from error


@contextmanager
def _reading() -> Iterator[None]:
    """Tell what this user may not read from what is damaged: the bytes may well be whole."""
    try:
        yield
    except PermissionError as error:
        log.error("a build could not be read: %s", error)
        raise Away(f"The place where builds are kept cannot be read: {error.strerror}. Nothing was done.") from error


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
