"""Part of a file as a WSGI server sends it: bounded, by sendfile where that can be, and known how far it came."""

import io
from collections.abc import Callable, Iterable
from typing import Any, Self

from portal.web.ranges import Span

# What a WSGI server offers as wsgi.file_wrapper (PEP 3333): it makes an iterable of a file, or hands it to sendfile.
FileWrapper = Callable[[Any, int], Iterable[bytes]]
# What is called when the server is done with an answer: with the bytes that it sent, None if it sent none.
OnEnd = Callable[[Span | None], None]


class FilePart:
    """Part of a file, as a file that a WSGI server can read, or send by sendfile where the source has a descriptor.

    gunicorn sends from the descriptor's offset as many bytes as Content-Length says; Python's `socket.sendfile` then calls
    `seek` with the position it reached, also when the connection broke. A server without sendfile calls `read`, and asks for
    the next block only when the one before is on its way. Either way we know how far it came when it calls `close`.
    (uWSGI's wrapper starts at the beginning of the file whatever the offset: don't use it with this.)
    """

    def __init__(self, source: io.RawIOBase, span: Span, on_end: OnEnd | None = None) -> None:
        """Take over `source`, which stands at the first byte of `span`: a file, or a stream from elsewhere.

        `on_end` is called once, at the end, whatever came of it, with the bytes that were sent.
        """
        self._file = source
        self._span = span
        self._position = span.first
        self._sent_to = span.first
        self._on_end = on_end

    def fileno(self) -> int:
        """Return the descriptor. Raises OSError where there is none, by which a server knows that it has to read."""
        return self._file.fileno()

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes, none at the end of the part; a negative size asks for all that is left."""
        self._sent_to = self._position
        left = self._span.last + 1 - self._position
        data = self._file.read(left if size < 0 else min(size, left)) or b""
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to `offset` of the file, which is also how `socket.sendfile` says how far it came."""
        self._position = self._sent_to = self._file.seek(offset, whence)
        return self._position

    def close(self) -> None:
        """Close the file, and report what was sent."""
        self._file.close()
        report, self._on_end = self._on_end, None
        if report is not None:
            report(Span(self._span.first, min(self._sent_to - 1, self._span.last)) if self._sent_to > self._span.first else None)


class Blocks:
    """Stands in for a server that offers no file wrapper: the part in blocks, closed with the answer."""

    def __init__(self, part: FilePart, block_bytes: int) -> None:
        self._part = part
        self._block_bytes = block_bytes
        self.close = part.close

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        block = self._part.read(self._block_bytes)
        if not block:
            raise StopIteration
        return block
