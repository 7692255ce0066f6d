"""Part of a file, as gunicorn and other servers take it."""

import io
import os
import socket
import threading
from pathlib import Path

import pytest
from gunicorn.http.wsgi import FileWrapper
from gunicorn.util import has_fileno

from portal.web.file_part import Blocks, FilePart, OnEnd
from portal.web.ranges import Span

CONTENT = bytes(index % 251 for index in range(300_000))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "build"
    file.write_bytes(CONTENT)
    return file


def part_of(path: Path, span: Span, on_end: OnEnd | None = None) -> FilePart:
    source = io.FileIO(path)
    source.seek(span.first)
    return FilePart(source, span, on_end)


def test_reading_stops_at_the_end_of_the_part(path: Path) -> None:
    part = part_of(path, Span(100, 299))
    assert part.read(50) == CONTENT[100:150]
    assert part.read(1000) == CONTENT[150:300]
    assert part.read(1000) == b""
    part.close()


def test_a_server_that_iterates_gets_exactly_the_part(path: Path) -> None:
    reports: list[Span | None] = []
    blocks = FileWrapper(part_of(path, Span(1, 100_000), reports.append), 8192)
    assert b"".join(blocks) == CONTENT[1:100_001]
    blocks.close()
    assert reports == [Span(1, 100_000)]


def test_a_server_without_a_wrapper_of_its_own_gets_exactly_the_part(path: Path) -> None:
    reports: list[Span | None] = []
    blocks = Blocks(part_of(path, Span(5, 5), reports.append), 8192)
    assert b"".join(blocks) == CONTENT[5:6]
    blocks.close()
    assert reports == [Span(5, 5)]


def test_a_block_that_was_read_but_not_followed_by_another_does_not_count_as_sent(path: Path) -> None:
    reports: list[Span | None] = []
    part = part_of(path, Span(0, 99_999), reports.append)
    part.read(8192)
    part.read(8192)
    part.close()
    assert reports == [Span(0, 8191)]


def test_the_end_is_reported_also_when_nothing_was_sent(path: Path) -> None:
    reports: list[Span | None] = []
    part = part_of(path, Span(10, 20), reports.append)
    part.read(100)
    part.close()
    assert reports == [None]


def test_closing_twice_reports_once(path: Path) -> None:
    reports: list[Span | None] = []
    part = part_of(path, Span(0, 9), reports.append)
    while part.read(100):
        pass
    part.close()
    part.close()
    assert reports == [Span(0, 9)]


def test_the_descriptor_stands_at_the_first_byte_where_sendfile_begins(path: Path) -> None:
    part = part_of(path, Span(1234, 2000))
    assert os.lseek(part.fileno(), 0, os.SEEK_CUR) == 1234
    part.close()


def test_sendfile_tells_how_far_it_came(path: Path) -> None:
    ours, theirs = socket.socketpair()
    received = bytearray()
    reader = threading.Thread(target=lambda: received.extend(iter_all(theirs)))
    reader.start()
    reports: list[Span | None] = []
    part = part_of(path, Span(1000, 250_999), reports.append)
    ours.sendfile(part, offset=1000, count=250_000)
    ours.close()
    reader.join()
    part.close()
    assert bytes(received) == CONTENT[1000:251_000]
    assert reports == [Span(1000, 250_999)]


def test_a_broken_connection_leaves_the_part_incomplete(path: Path) -> None:
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    def read_a_little_then_leave() -> None:
        theirs.recv(1000)
        theirs.close()

    reader = threading.Thread(target=read_a_little_then_leave)
    reader.start()
    reports: list[Span | None] = []
    part = part_of(path, Span(0, 299_999), reports.append)
    with pytest.raises(OSError):  # noqa: PT011 - reset or broken pipe, as the kernel likes
        ours.sendfile(part, offset=0, count=300_000)
    part.close()
    ours.close()
    reader.join()
    assert all(span is None or (span.first == 0 and span.last < 299_999) for span in reports)


class Stream(io.RawIOBase):
    """Bytes from elsewhere: read in order, without a descriptor."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self._rest = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        return self._rest.read(size)


def test_gunicorn_reads_a_stream_that_has_no_descriptor() -> None:
    reports: list[Span | None] = []
    stream = Stream(CONTENT[10:100_010])
    part = FilePart(stream, Span(10, 100_009), reports.append)
    assert not has_fileno(part)
    blocks = FileWrapper(part, 8192)
    assert b"".join(blocks) == CONTENT[10:100_010]
    blocks.close()
    assert stream.closed
    assert reports == [Span(10, 100_009)]


def iter_all(connection: socket.socket) -> bytes:
    chunks = []
    while chunk := connection.recv(65536):
        chunks.append(chunk)
    return b"".join(chunks)
