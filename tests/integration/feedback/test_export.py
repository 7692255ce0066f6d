"""`portal feedback`: export and list, through the command itself."""

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flask.cli import ScriptInfo

from portal.cli import main
from portal.feedback.models import Visibility
from tests.board import vote, write
from tests.cast import Cast


def run(app: Flask, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["feedback", *arguments], obj=ScriptInfo(create_app=lambda: app))


@pytest.fixture
def two_items(app: Flask, cast: Cast) -> list[int]:
    with app.app_context():
        ids = [write(cast.alice, "=HYPERLINK(1)"), write(cast.carol, "Two\tlines".replace("\t", " "), visibility=Visibility.PRIVATE)]
        vote(cast.carol, ids[0])
        return ids


def test_json_holds_each_item_with_the_contracts_that_vote(app: Flask, two_items: list[int], tmp_path: Path) -> None:
    file = tmp_path / "feedback.json"
    assert run(app, "export", "--format", "json", "--output", str(file)).exit_code == 0
    first, second = json.loads(file.read_text())
    assert (first["id"], first["title"], first["voting_contracts"]) == (two_items[0], "=HYPERLINK(1)", ["NW-2041", "NW-2042"])
    assert (second["visibility"], second["votes"]) == ("private", 1)


def test_csv_cells_that_a_spreadsheet_would_run_are_defused(app: Flask, two_items: list[int], tmp_path: Path) -> None:
    file = tmp_path / "feedback.csv"
    assert run(app, "export", "--format", "csv", "--output", str(file)).exit_code == 0
    first, _ = csv.DictReader(file.read_text().splitlines())
    assert (first["title"], first["voting_contracts"]) == ("'=HYPERLINK(1)", "NW-2041 NW-2042")


def test_list_prints_text_or_json(app: Flask, two_items: list[int]) -> None:
    assert [item["id"] for item in json.loads(run(app, "list", "--json").stdout)] == two_items
    assert "=HYPERLINK(1)" in run(app, "list").stdout


def test_a_file_that_cannot_be_written_is_refused_with_the_reason(app: Flask, two_items: list[int], tmp_path: Path) -> None:
    answer = run(app, "export", "--format", "csv", "--output", str(tmp_path / "nowhere" / "feedback.csv"))
    assert answer.exit_code == 1
    assert "cannot be written: No such file" in answer.stderr
    assert run(app, "export", "--format", "xml", "--output", "x").exit_code == 2
