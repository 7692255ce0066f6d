"""Byte ranges of one file: what a `Range` header asks for, and the sums of ranges (RFC 9110, section 14). Pure functions.

We answer one range at a time. A few ranges in one request get the whole file, which section 14.2 allows: their parts could
overlap many times over, and no resuming client needs them. Ranges that no sound client sends are refused, as it allows too: one
that runs backwards, and more of them than anybody needs.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

# 40 digits count every file there is; longer numbers are garbage, and are ignored like all garbage.
_SPEC = re.compile(r"([0-9]{1,40})-([0-9]{0,40})|-([0-9]{1,40})")

MOST_RANGES = 16


class Unsatisfiable(Exception):
    """No byte of the file lies in what was asked for, or it makes no sense: 416, with the size of the file."""


@dataclass(frozen=True, order=True)
class Span:
    """The bytes from `first` to `last`, both included."""

    first: int
    last: int

    @property
    def length(self) -> int:
        return self.last - self.first + 1


def parse_range(header: str | None, size: int) -> Span | None:
    """Return the one range of a file of `size` bytes that the value of a `Range` header asks for; None: send all of it.

    Ignored, so None: no header, another unit than bytes, a malformed set, more than one range that could be sent.
    Raises Unsatisfiable when the set is well-formed and none of its ranges begins inside the file, or one runs backwards (`5-2`);
    and for more than MOST_RANGES.
    """
    unit, equals, ranges = (header or "").partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return None
    specs = [spec for part in ranges.split(",") if (spec := part.strip(" \t"))]
    if len(specs) > MOST_RANGES:
        raise Unsatisfiable
    matches = [match for spec in specs if (match := _SPEC.fullmatch(spec))]
    if len(matches) < len(specs):
        return None
    spans = [span for match in matches if (span := _bounded(match, size))]
    if matches and (not spans or any(match[2] and int(match[2]) < int(match[1]) for match in matches)):
        raise Unsatisfiable
    return spans[0] if len(spans) == 1 else None


def _bounded(match: re.Match[str], size: int) -> Span | None:
    """Fit one range into the file; None when no byte of it lies inside."""
    if match[3]:
        first, last = max(0, size - int(match[3])), size - 1
    else:
        first, last = int(match[1]), min(int(match[2] or size), size - 1)
    return Span(first, last) if first <= last else None


def if_range_holds(header: str | None, etag: str) -> bool:
    """Say whether `Range` counts, given the value of `If-Range` and the file's strong `etag` (with its quotes).

    Without the header it does. Only the same strong tag holds; a date never does, since we state none (section 13.1.5).
    """
    return header is None or header.strip(" \t") == etag


def merge(spans: Iterable[Span]) -> list[Span]:
    """Return the same bytes as the fewest spans, in order: overlapping and adjoining ones are joined."""
    merged: list[Span] = []
    for span in sorted(spans):
        if merged and span.first <= merged[-1].last + 1:
            merged[-1] = Span(merged[-1].first, max(merged[-1].last, span.last))
        else:
            merged.append(span)
    return merged


def covers(spans: Iterable[Span], size: int) -> bool:
    """Say whether `spans` hold every byte of a file of `size` bytes."""
    return merge(spans) == [Span(0, size - 1)]
