"""What every benchmark shares: the machine's name, the table, the file of results."""

import json
import os
import platform
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def machine() -> str:
    """Name the machine by what matters for the figures."""
    model = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), ""
    )
    return f"{os.cpu_count()} cores, {model or platform.machine()}, Python {platform.python_version()}"


def print_table(headers: list[str], rows: list[list[str]]) -> None:
    widths = [max(len(row[column]) for row in [headers, *rows]) for column in range(len(headers))]
    for row in [headers, ["-" * width for width in widths], *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def save(name: str, figures: dict[str, Any]) -> None:
    """Name the machine and write the figures to `bench/results/<name>.json`."""
    print(f"\nMachine: {machine()}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({"machine": machine(), **figures}, indent=2) + "\n")


def write(name: str, headers: list[str], rows: list[list[str]], figures: dict[str, Any]) -> None:
    """Print the table and write the figures to `bench/results/<name>.json`."""
    print_table(headers, rows)
    save(name, figures)
