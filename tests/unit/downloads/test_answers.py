"""What a build's answer says: status, range, names, validators."""

from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import Headers
from werkzeug.http import parse_options_header

from portal.releases.filenames import check_filename
from portal.releases.models import Build
from portal.releases.sending import answer, content_disposition, plan
from portal.web.file_part import FilePart
from portal.web.ranges import Span

CONTENT = bytes(range(200))
DIGEST = "ab" * 32
ETAG = f'"{DIGEST}"'


@pytest.fixture
def build() -> Build:
    return Build(filename="studio.msi", size=len(CONTENT), sha256=DIGEST)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[FileIO]:
    """The stored bytes, opened at the second of them."""
    (tmp_path / "file").write_bytes(CONTENT)
    with FileIO(tmp_path / "file") as file:
        file.seek(1)
        yield file


@pytest.mark.parametrize(
    ("method", "headers", "status", "span"),
    [
        ("GET", {}, 200, Span(0, 199)),
        ("GET", {"Range": "bytes=10-19"}, 206, Span(10, 19)),
        ("GET", {"Range": "bytes=0-"}, 206, Span(0, 199)),
        ("GET", {"Range": "bytes=0-1,5-6"}, 200, Span(0, 199)),
        ("GET", {"Range": "bytes=200-"}, 416, Span(0, 199)),
        ("GET", {"Range": "bytes=10-19", "If-Range": ETAG}, 206, Span(10, 19)),
        ("GET", {"Range": "bytes=10-19", "If-Range": '"another"'}, 200, Span(0, 199)),
        ("GET", {"Range": "bytes=10-19", "If-Range": f"W/{ETAG}"}, 200, Span(0, 199)),
        # A range that could not be satisfied does not count either once the file is another.
        ("GET", {"Range": "bytes=900-", "If-Range": '"another"'}, 200, Span(0, 199)),
        ("HEAD", {"Range": "bytes=10-19"}, 200, Span(0, 199)),
        ("HEAD", {"Range": "bytes=900-"}, 200, Span(0, 199)),
        ("GET", {"If-None-Match": ETAG}, 304, Span(0, 199)),
        ("GET", {"If-None-Match": f'"x", W/{ETAG}'}, 304, Span(0, 199)),
        ("GET", {"If-None-Match": '"x"'}, 200, Span(0, 199)),
        ("GET", {"If-Match": ETAG, "Range": "bytes=1-2"}, 206, Span(1, 2)),
        ("GET", {"If-Match": '"x"', "Range": "bytes=1-2"}, 412, Span(0, 199)),
        ("GET", {"If-Match": f"W/{ETAG}"}, 412, Span(0, 199)),
        ("GET", {"If-Match": "*"}, 200, Span(0, 199)),
    ],
)
def test_conditions_come_before_ranges(build: Build, method: str, headers: dict[str, str], status: int, span: Span) -> None:
    planned = plan(build, method, Headers(headers))
    assert (planned.status, planned.span) == (status, span)
    assert planned.sends_bytes is (method == "GET" and status in {200, 206})


def test_a_partial_answer_carries_its_range_and_exactly_its_bytes(build: Build, file: FileIO) -> None:
    response = answer(plan(build, "GET", Headers({"Range": "bytes=1-10"})), file)
    assert response.status_code == 206
    assert response.headers["Content-Range"] == "bytes 1-10/200"
    assert response.headers["Content-Length"] == "10"
    assert b"".join(response.iter_encoded()) == CONTENT[1:11]


def test_every_answer_says_that_it_is_private_and_how_it_can_be_resumed(build: Build) -> None:
    for headers in ({}, {"Range": "bytes=1-2"}, {"Range": "bytes=900-"}, {"If-None-Match": ETAG}):
        response = answer(plan(build, "GET", Headers(headers)), None)
        assert response.headers["ETag"] == ETAG
        assert response.headers["Accept-Ranges"] == "bytes"
        assert response.headers["Cache-Control"] == "private, no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Content-Type"] == (
            "text/plain; charset=utf-8" if response.status_code == 416 else "application/octet-stream"
        )
        response.close()


def test_an_unsatisfiable_range_is_told_the_size_and_why_and_no_byte(build: Build) -> None:
    response = answer(plan(build, "GET", Headers({"Range": "bytes=900-"})), None)
    assert response.headers["Content-Range"] == "bytes */200"
    assert response.get_data(as_text=True).startswith("This range cannot be sent: the file has 200 bytes")
    assert "Content-Disposition" not in response.headers


def test_the_file_is_handed_to_the_servers_own_wrapper_also_for_a_range(build: Build, file: FileIO) -> None:
    handed: list[FilePart] = []

    class Wrapper:
        def __init__(self, part: FilePart, block_bytes: int) -> None:
            handed.append(part)
            self.close = part.close

        def __iter__(self) -> "Wrapper":
            return self

        def __next__(self) -> bytes:
            raise StopIteration

    response = answer(plan(build, "GET", Headers({"Range": "bytes=1-2"})), file, file_wrapper=Wrapper)
    iterable, *_ = response.get_wsgi_response({"REQUEST_METHOD": "GET"})
    assert isinstance(iterable, Wrapper)
    assert handed[0].read() == CONTENT[1:3]
    iterable.close()


def test_nginx_is_given_the_path_and_the_range_is_left_to_it(build: Build) -> None:
    response = answer(plan(build, "GET", Headers({"Range": "bytes=10-19"})), None, accel_path="/_builds/ab/cd/abcd")
    assert response.status_code == 200
    assert response.headers["X-Accel-Redirect"] == "/_builds/ab/cd/abcd"
    assert "Content-Range" not in response.headers
    assert response.headers["ETag"] == ETAG
    assert response.get_data() == b""


def test_a_head_describes_the_whole(build: Build) -> None:
    response = answer(plan(build, "HEAD", Headers()), None)
    assert response.headers["Content-Length"] == "200"
    assert response.headers["Content-Disposition"].startswith("attachment")


@pytest.mark.parametrize(
    ("filename", "header"),
    [
        ("studio.msi", "attachment; filename=\"studio.msi\"; filename*=UTF-8''studio.msi"),
        ("Müller Größe.msi", "attachment; filename=\"Muller Groe.msi\"; filename*=UTF-8''M%C3%BCller%20Gr%C3%B6%C3%9Fe.msi"),
        ('say "hi".msi', "attachment; filename=\"say _hi_.msi\"; filename*=UTF-8''say%20%22hi%22.msi"),
        ("back\\slash.msi", "attachment; filename=\"back_slash.msi\"; filename*=UTF-8''back%5Cslash.msi"),
        ("100%25.msi", "attachment; filename=\"100_25.msi\"; filename*=UTF-8''100%2525.msi"),
        ("測試", "attachment; filename=\"download\"; filename*=UTF-8''%E6%B8%AC%E8%A9%A6"),
        ("a;b=c'd(e).zip", "attachment; filename=\"a;b=c'd(e).zip\"; filename*=UTF-8''a%3Bb%3Dc%27d%28e%29.zip"),
    ],
)
def test_a_file_keeps_its_name_in_every_client(filename: str, header: str) -> None:
    assert content_disposition(filename) == header


@given(st.text(min_size=1, max_size=60))
def test_no_name_can_break_out_of_its_header(filename: str) -> None:
    header = content_disposition(filename)
    assert header.isascii()
    assert header.isprintable()
    assert header.count('"') == 2
    disposition, options = parse_options_header(header)
    assert disposition == "attachment"
    assert "/" not in header.partition('filename="')[2].partition('"')[0]
    assert list(options) == ["filename"]


@given(st.sampled_from(["Studio – Größe 15.3β2.msi", "it's.zip", "a b.zip", "x(1).exe", "ÄÖÜ.tar.gz"]))
def test_the_exact_name_comes_back_unchanged(filename: str) -> None:
    assert check_filename(filename) == filename
    assert parse_options_header(content_disposition(filename))[1]["filename"] == filename
