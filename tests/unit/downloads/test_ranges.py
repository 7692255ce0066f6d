"""Ranges as RFC 9110 reads them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.web.ranges import Span, Unsatisfiable, covers, if_range_holds, merge, parse_range

SIZE = 1000
WHOLE: Span | None = None


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, WHOLE),
        ("", WHOLE),
        ("bytes=0-499", Span(0, 499)),
        ("bytes=500-", Span(500, 999)),
        ("bytes=-1", Span(999, 999)),
        ("bytes=-5000", Span(0, 999)),
        ("bytes=0-0", Span(0, 0)),
        ("bytes=999-", Span(999, 999)),
        ("bytes=990-2000", Span(990, 999)),
        ("bytes=0-99999999999999999999999", Span(0, 999)),
        ("BYTES=0-1", Span(0, 1)),
        ("bytes=,0-1,", Span(0, 1)),
        ("bytes= 0-1 ", Span(0, 1)),
        # One of two can be sent.
        ("bytes=0-1,5000-", Span(0, 1)),
        # Ignored: malformed, another unit, more than one.
        ("bytes=0-1,4-5", WHOLE),
        ("bytes=" + ",".join(["0-"] * 16), WHOLE),
        ("bytes=a-b", WHOLE),
        ("bytes=-", WHOLE),
        ("bytes=--1", WHOLE),
        ("bytes=1", WHOLE),
        ("bytes=0-1-2", WHOLE),
        ("bytes=", WHOLE),
        ("bytes", WHOLE),
        ("bytes=0x0-0x9", WHOLE),
        ("bytes=٠-١", WHOLE),
        ("bytes=" + "9" * 5000 + "-", WHOLE),
        ("items=0-1", WHOLE),
        ("=0-1", WHOLE),
    ],
)
def test_one_range_is_served_and_everything_unclear_is_ignored(header: str | None, expected: Span | None) -> None:
    assert parse_range(header, SIZE) == expected


@pytest.mark.parametrize("header", ["bytes=1000-", "bytes=1000-1001", "bytes=-0", "bytes=5000-,-0"])
def test_a_range_outside_the_file_cannot_be_satisfied(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        parse_range(header, SIZE)


@pytest.mark.parametrize(
    "header", ["bytes=5-2", "bytes=0-1,5-2", "bytes=5-2,0-1", "bytes=" + ",".join(["0-0"] * 17), "bytes=" + "0-," * 10_000]
)
def test_what_no_sound_client_asks_for_is_refused(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        parse_range(header, SIZE)


@given(size=st.integers(1, 50), header=st.text(st.sampled_from("bytes=0123456789-, "), max_size=20))
def test_whatever_is_asked_a_span_lies_inside_the_file(size: int, header: str) -> None:
    try:
        span = parse_range("bytes=" + header, size)
    except Unsatisfiable:
        return
    assert span is None or 0 <= span.first <= span.last < size


@given(size=st.integers(1, 200), first=st.integers(0, 250), length=st.integers(1, 250))
def test_a_span_holds_the_bytes_that_slicing_gives(size: int, first: int, length: int) -> None:
    content = bytes(index % 251 for index in range(size))
    wanted = content[first : first + length]
    if not wanted:
        with pytest.raises(Unsatisfiable):
            parse_range(f"bytes={first}-{first + length - 1}", size)
        return
    span = parse_range(f"bytes={first}-{first + length - 1}", size)
    assert span is not None
    assert content[span.first : span.last + 1] == wanted
    assert span.length == len(wanted)


@given(size=st.integers(1, 200), suffix=st.integers(1, 250))
def test_a_suffix_holds_the_last_bytes(size: int, suffix: int) -> None:
    content = bytes(index % 251 for index in range(size))
    span = parse_range(f"bytes=-{suffix}", size)
    assert span is not None
    assert content[span.first :] == content[-suffix:]
    assert span.last == size - 1


@pytest.mark.parametrize(
    ("header", "holds"),
    [
        (None, True),
        ('"abc"', True),
        (' "abc" ', True),
        ('W/"abc"', False),
        ('"abd"', False),
        ("abc", False),
        ("Tue, 24 Nov 2026 09:00:00 GMT", False),
    ],
)
def test_only_the_same_strong_tag_keeps_a_range(header: str | None, holds: bool) -> None:
    assert if_range_holds(header, '"abc"') is holds


spans = st.builds(lambda first, length: Span(first, first + length - 1), st.integers(0, 60), st.integers(1, 20))


@given(st.lists(spans, max_size=12))
def test_merging_keeps_exactly_the_same_bytes(many: list[Span]) -> None:
    def bytes_of(some: list[Span]) -> set[int]:
        return {position for span in some for position in range(span.first, span.last + 1)}

    merged = merge(many)
    assert bytes_of(merged) == bytes_of(many)
    assert all(left.last + 1 < right.first for left, right in pairwise(merged))
    assert merge(merged) == merged


@given(st.lists(spans, max_size=12), st.integers(1, 40))
def test_a_file_is_covered_when_no_byte_is_missing(many: list[Span], size: int) -> None:
    inside = [Span(span.first, min(span.last, size - 1)) for span in many if span.first < size]
    got = {position for span in inside for position in range(span.first, span.last + 1)}
    assert covers(inside, size) is (got == set(range(size)))
