"""The checklist in docs/security.md: complete, and every test it names exists."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
TEXT = (TESTS.parent / "docs" / "security.md").read_text()
# How many requirements each section of ASVS 5.0 has up to level 2, counted from its first one; level 3 ones in between are left out.
UP_TO_LEVEL_2 = {
    "6.1": 3, "6.2": 12, "6.3": 4, "6.4": 4, "6.5": 5, "6.6": 3, "6.8": 4,
    "7.1": 3, "7.2": 4, "7.3": 2, "7.4": 5, "7.5": 2, "7.6": 2,
    "8.1": 2, "8.2": 3, "8.3": 1, "8.4": 1,
}  # fmt: skip
LINE = re.compile(r"^\| (\d\.\d\.\d+) \| (.+?) \| (.*)\|$", re.MULTILINE)
NAMED = re.compile(r"`([a-z_/]+\.py)::(test_\w+)`")


def names_in(path: Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_no_requirement_is_left_out_or_named_twice() -> None:
    wanted = [f"{section}.{number}" for section, count in UP_TO_LEVEL_2.items() for number in range(1, count + 1)]
    assert [line[0] for line in LINE.findall(TEXT)] == wanted


def test_each_line_names_a_test_or_says_why_not() -> None:
    for requirement, what, shown_by in LINE.findall(TEXT):
        assert NAMED.search(shown_by) or what.startswith("None: "), requirement


def test_every_test_that_is_named_exists() -> None:
    named = set(NAMED.findall(TEXT))
    assert len(named) > 50
    missing = [f"{file}::{name}" for file, name in sorted(named) if not (TESTS / file).is_file() or name not in names_in(TESTS / file)]
    assert missing == []


@pytest.mark.parametrize("phrase", ["Verify that", "OWASP Foundation"])
def test_it_is_in_our_own_words(phrase: str) -> None:
    assert phrase not in TEXT
