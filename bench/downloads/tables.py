"""What was measured, and the tables and figures made of it."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.downloads.client import Taken
from bench.report import print_table

# A client moves if it gets this share of what it could take.
MOVES = 0.8

Speeds = Mapping[str, Mapping[str, list[Taken]]]


@dataclass(frozen=True)
class Meanwhile:
    """What the load says of itself, how long pages took meanwhile (seconds), and the memory of the web processes (bytes)."""

    load: dict[str, Any]
    pages: list[float]
    memory_before: int
    memory_peak: int

    def page_figures(self) -> dict[str, float]:
        p95 = statistics.quantiles(self.pages, n=20, method="inclusive")[18]
        return {"page_p95_ms": p95 * 1000, "page_longest_ms": max(self.pages) * 1000, "pages": len(self.pages)}


def full_speed(found: Speeds, first_bytes: Mapping[str, list[float]]) -> dict[str, Any]:
    """Print medians, and their ratios to the first contender; return the figures."""
    measure = next(iter(found))
    figures, rows = {}, []
    for name in found:
        speed = {kind: statistics.median(one.per_second for one in taken) for kind, taken in found[name].items()}
        ratio = {kind: value / statistics.median(one.per_second for one in found[measure][kind]) for kind, value in speed.items()}
        added = (statistics.median(first_bytes[name]) - statistics.median(first_bytes[measure])) * 1000
        figures[name] = {
            "bytes_per_second": speed,
            "ratio": ratio,
            "first_byte_added_ms": added,
            "each": {kind: [round(one.per_second) for one in taken] for kind, taken in found[name].items()},
        }
        cells = [cell for kind in speed for cell in (f"{speed[kind] / 1e6:.0f}", f"{ratio[kind]:.2f}")]
        rows.append([name, *cells, f"{added:+.1f}"])
    print_table(["from", "whole, MB/s", "ratio", "resumed, MB/s", "ratio", "first byte, ms more"], rows)
    return figures


def slow_clients(found: Mapping[str, Meanwhile], bytes_each: float) -> dict[str, Any]:
    """Print how many moved, and what became of the pages; return the figures. Each client could have taken `bytes_each`."""
    figures, rows = {}, []
    for name, one in found.items():
        shares = [taken / bytes_each for taken in one.load["taken"]]
        moving = sum(share >= MOVES for share in shares)
        pages = one.page_figures()
        figures[name] = {
            "moving": moving,
            "clients": len(shares),
            "slowest_share": min(shares),
            "answers": one.load["answers"],
            "memory_mb": one.memory_peak / 1e6,
            **pages,
        }
        cells = [f"{pages['page_p95_ms']:.0f}", f"{pages['page_longest_ms']:.0f}", f"{one.memory_peak / 1e6:.0f}"]
        rows.append([name, f"{moving} of {len(shares)}", f"{min(shares):.0%}", *cells])
    print_table(["from", f"clients at {MOVES:.0%} of their speed", "slowest", "page p95, ms", "longest, ms", "memory, MB"], rows)
    return figures


def uploads(found: Mapping[str, Meanwhile], size: int) -> dict[str, Any]:
    """Print how fast it went, and what it did to memory and pages; return the figures."""
    figures, rows = {}, []
    for name, one in found.items():
        grown, pages = (one.memory_peak - one.memory_before) / 1e6, one.page_figures()
        figures[name] = {"bytes_per_second": size / one.load["seconds"], "memory_grown_mb": grown, **pages}
        cells = [f"{pages['page_p95_ms']:.0f}", f"{pages['page_longest_ms']:.0f}"]
        rows.append([name, f"{size / one.load['seconds'] / 1e6:.0f}", f"{grown:+.0f}", *cells])
    print_table(["to", "MB/s", "memory, MB more", "page p95, ms", "longest, ms"], rows)
    return figures
