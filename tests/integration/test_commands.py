"""What every command does when it cannot do its work: exit code 1, one line on stderr, no traceback."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from portal.cli import main
from tests.postgres import sqlalchemy_address

READ = ["contract", "list"]
WRITE = ["product", "create", "macro-studio", "--name", "Macro Studio"]
DELIVER = ["notices", "drain"]


def run(arguments: list[str], **environment: str) -> Result:
    return CliRunner().invoke(main, arguments, env={"SECRET_KEY": "x" * 40, "DATABASE_URL": "", "QUEUE_URL": "", **environment})


def refused(result: Result) -> str:
    """The reason of a refusal, which must be one line."""
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.mark.parametrize("arguments", [READ, WRITE, DELIVER])
def test_a_database_that_is_away_is_said_in_one_line(arguments: list[str], tmp_path: Path) -> None:
    result = run(arguments, DATA_DIR=str(tmp_path), DATABASE_URL="postgresql+psycopg://portal@127.0.0.1:1/portal")
    assert "The database cannot be used" in refused(result)


@pytest.fixture(params=["sqlite", "postgresql"])
def without_tables(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database in which nothing was made yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'portal.db'}"
    return sqlalchemy_address(request.getfixturevalue("postgres").replace("/portal_template?", "/postgres?"))


@pytest.mark.parametrize("arguments", [READ, WRITE, DELIVER])
def test_a_database_without_tables_names_the_command_that_makes_them(arguments: list[str], tmp_path: Path, without_tables: str) -> None:
    result = run(arguments, DATA_DIR=str(tmp_path), DATABASE_URL=without_tables)
    assert "portal db upgrade" in refused(result)


def test_upgrading_needs_no_data_directory_beforehand_and_can_be_repeated(tmp_path: Path) -> None:
    for _ in range(2):
        assert run(["db", "upgrade"], DATA_DIR=str(tmp_path / "new" / "data")).exit_code == 0
    assert run(READ, DATA_DIR=str(tmp_path / "new" / "data")).exit_code == 0


def test_an_unsafe_setting_is_said_in_one_line(tmp_path: Path) -> None:
    assert "SECRET_KEY" in refused(run(READ, DATA_DIR=str(tmp_path), SECRET_KEY="short"))


def test_a_data_directory_that_cannot_be_made_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "DATA_DIR" in refused(run(["db", "upgrade"], DATA_DIR=str(tmp_path / "file" / "data")))
