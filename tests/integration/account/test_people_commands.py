"""`portal staff`, `portal person` and `portal audit`, as somebody at the shell uses them."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from flask import Flask

from portal.account.models import User
from portal.audit import AuditEvent
from portal.cli import main
from portal.config import Settings
from portal.database import db
from tests.cast import Cast
from tests.conftest import SECRET

Run = Callable[..., Result]


@pytest.fixture
def run(settings: Settings, cast: Cast) -> Run:
    """Run a command of `portal` on the test's database."""
    environment = {"DATA_DIR": str(settings.data_dir), "DATABASE_URL": settings.database_url, "SECRET_KEY": SECRET}

    def do(*arguments: str) -> Result:
        return CliRunner().invoke(main, list(arguments), env=environment)

    return do


def test_staff_are_listed_given_roles_and_closed(run: Run, cast: Cast) -> None:
    listed = json.loads(run("staff", "list", "--json").output)
    assert {one["email"]: one["roles"] for one in listed}[cast.sue] == ["support"]
    assert run("staff", "set-roles", cast.sue, "--role", "accounts", "--role", "product").exit_code == 0
    listed = json.loads(run("staff", "list", "--json").output)
    assert {one["email"]: one["roles"] for one in listed}[cast.sue] == ["accounts", "product"]
    refused = run("staff", "close", cast.ada)
    assert (refused.exit_code, "Nobody else is an admin" in refused.output) == (1, True)
    assert run("staff", "close", cast.sue).exit_code == 0
    assert "closed" in run("staff", "list").output
    assert run("staff", "reopen", cast.sue).exit_code == 0
    assert run("staff", "set-roles", cast.sue).exit_code == 0
    assert cast.sue not in run("staff", "list").output
    assert run("staff", "set-roles", cast.erin, "--role", "admin").exit_code == 1


def test_a_person_is_exported_and_erased(run: Run, app: Flask, cast: Cast, tmp_path: Path) -> None:
    output = tmp_path / "erin.zip"
    assert run("person", "export", cast.erin, "--output", str(output)).exit_code == 0
    assert json.loads(zipfile.ZipFile(output).read("account.json"))["email"] == cast.erin
    refused = run("person", "erase", cast.alice, "--yes")
    assert (refused.exit_code, "holds a seat of NW-2041" in refused.output) == (1, True)
    assert run("person", "erase", cast.erin).exit_code == 1, "nobody said yes"
    assert run("person", "erase", cast.erin, "--yes").exit_code == 0
    assert run("person", "erase", cast.erin, "--yes").exit_code == 1
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).where(User.email == cast.erin)) == 0
        event = db.session.scalars(sa.select(AuditEvent).where(AuditEvent.action == "person.erased")).one()
        assert event.source.endswith("person erase")
        assert event.source.startswith("command ")


def test_the_log_is_exported_with_what_was_asked(run: Run, cast: Cast, tmp_path: Path) -> None:
    run("contract", "suspend", cast.contract)
    output = tmp_path / "audit.json"
    assert run("audit", "export", "--format", "json", "--output", str(output), "--subject", cast.contract).exit_code == 0
    events = json.loads(output.read_text())
    assert events[-1]["action"] == "contract.suspended"
    assert events[-1]["source"].endswith("contract suspend")
    missing = tmp_path / "nowhere" / "audit.csv"
    assert run("audit", "export", "--format", "csv", "--output", str(missing)).exit_code == 1
