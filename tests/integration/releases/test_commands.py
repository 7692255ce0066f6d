"""`portal product` and `portal release`, as a person types them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from portal.cli import main
from portal.config import Settings
from tests.cast import Cast
from tests.conftest import SECRET

Run = Callable[..., Result]
MSI = bytes.fromhex("D0CF11E0A1B11AE1") + b"the bytes"


@pytest.fixture
def run(settings: Settings, cast: Cast, tmp_path: Path) -> Run:
    """Run a command on the test's database."""
    environment = {
        "DATA_DIR": str(settings.data_dir),
        "DATABASE_URL": settings.database_url,
        "SECRET_KEY": SECRET,
        "MAX_BUILD_BYTES": "1000",
    }
    (tmp_path / "notes.md").write_text("* Größere Makros\n", encoding="utf-8")
    (tmp_path / "studio.msi").write_bytes(MSI)

    def do(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, env=environment)

    return do


def create(run: Run, tmp_path: Path, *more: str, version: str = "15.3b2") -> Result:
    return run("release", "create", "macro-studio", version, "--channel", "beta", "--notes", str(tmp_path / "notes.md"), *more)


def test_a_release_is_made_and_published_from_the_command_line(run: Run, tmp_path: Path) -> None:
    result = create(run, tmp_path, "--summary", "Pause", "--expires-on", "2099-01-31", "--kind", "minor")
    assert (result.exit_code, result.stdout) == (0, "Macro Studio 15.3b2 is a draft. Add a build, then publish it.\n")
    result = run("release", "add-build", "macro-studio", "15.3b2", str(tmp_path / "studio.msi"), "--platform", "Windows")
    assert result.exit_code == 0, result.stderr
    assert "SHA-256 " in result.stdout
    result = run("release", "publish", "macro-studio", "v15.3-beta2")
    assert result.stdout == "Macro Studio 15.3b2 is published. Mails waiting to be sent: 3.\n"
    (listed,) = json.loads(run("release", "list", "--json").stdout)
    assert listed["product"] == "macro-studio"
    assert (listed["version"], listed["channel"], listed["kind"], listed["state"]) == ("15.3b2", "beta", "minor", "published")
    assert listed["builds"][0]["filename"] == "studio.msi"
    assert "macro-studio 15.3b2  beta, published, builds: 1" in run("release", "list").stdout
    result = run("release", "withdraw", "macro-studio", "15.3b2", "--reason", "It removes macros.", "--safe", "15.3b9")
    assert (result.exit_code, "There is no release 15.3b9" in result.stderr) == (1, True)
    result = run("release", "withdraw", "macro-studio", "15.3b2", "--reason", "It removes macros.", "--safe", "15.3b2")
    assert (result.exit_code, "cannot be moved to" in result.stderr) == (1, True)
    result = run("release", "withdraw", "macro-studio", "15.3b2", "--reason", "It removes macros.")
    assert result.stdout == (
        "Macro Studio 15.3b2 is withdrawn. Nobody can download it any more.\nVersion to move to: none. Mails waiting to be sent: 0.\n"
    )


def test_refusals_exit_with_1_and_the_reason_on_stderr(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty.msi").touch()
    (tmp_path / "large.msi").write_bytes(MSI + b"x" * 1001)
    (tmp_path / "CON.msi").write_bytes(b"x")
    (tmp_path / "latin1.md").write_bytes(b"Gr\xf6\xdfe")
    create(run, tmp_path)
    refusals = {
        "already a release": create(run, tmp_path, version="15.3-b2"),
        "is no version": create(run, tmp_path, version="nonsense"),
        "There is no product": run(
            "release", "create", "no-such", "1", "--channel", "beta", "--notes", str(tmp_path / "notes.md")
        ),
        "not UTF-8": create(run, tmp_path, "--known-issues", str(tmp_path / "latin1.md"), version="16.0b1"),
        "Add a build first": run("release", "publish", "macro-studio", "15.3b2"),
        "There is no release": run("release", "publish", "macro-studio", "9.9"),
        "is empty": run("release", "add-build", "macro-studio", "15.3b2", str(tmp_path / "empty.msi")),
        "larger than the limit": run("release", "add-build", "macro-studio", "15.3b2", str(tmp_path / "large.msi")),
        "Windows reserves": run("release", "add-build", "macro-studio", "15.3b2", str(tmp_path / "CON.msi")),
        "is a draft": run("release", "withdraw", "macro-studio", "15.3b2", "--reason", "Bad."),
        "already a product": run("product", "create", "macro-studio", "--name", "Another"),
    }  # fmt: skip
    for reason, result in refusals.items():
        assert result.exit_code == 1, reason
        assert reason in result.stderr
        assert result.stdout == ""


@pytest.mark.parametrize("words", ["release create macro-studio 1", "release withdraw macro-studio 1", "product create x", "release fly"])
def test_wrong_usage_exits_with_2(run: Run, words: str) -> None:
    assert run(*words.split()).exit_code == 2


def test_products_are_made_and_listed(run: Run) -> None:
    assert run("product", "create", "chart-maker", "--name", "Chart Maker", "--stable-access", "public").exit_code == 0
    listed = json.loads(run("product", "list", "--json").stdout)
    assert {"slug": "chart-maker", "name": "Chart Maker", "stable_access": "public", "signing_key": None} in listed
    assert "macro-studio  Macro Studio, stable builds for customers" in run("product", "list").stdout


def test_the_sweep_says_what_it_removed_and_refuses_on_a_database_without_builds(run: Run, tmp_path: Path) -> None:
    result = run("release", "sweep")
    assert result.exit_code == 1
    assert "knows no build" in result.stderr
    create(run, tmp_path)
    run("release", "add-build", "macro-studio", "15.3b2", str(tmp_path / "studio.msi"))
    assert run("release", "sweep").stdout == "Files removed: 0.\n"


def test_every_command_has_help(run: Run) -> None:
    for command in ("release create", "release add-build", "release publish", "release withdraw", "release list", "product create"):
        assert run(*command.split(), "--help").exit_code == 0


def test_a_lower_version_is_asked_about(run: Run, tmp_path: Path) -> None:
    create(run, tmp_path, version="15.3b2")
    result = create(run, tmp_path, version="15.3b1")
    assert result.exit_code == 1
    assert "15.3b1 is lower than 15.3b2" in result.stderr
    assert "--lower" in result.stderr
    assert create(run, tmp_path, "--lower", version="15.3b1").exit_code == 0


def test_a_draft_is_scheduled_and_taken_back(run: Run, tmp_path: Path) -> None:
    create(run, tmp_path)
    run("release", "add-build", "macro-studio", "15.3b2", str(tmp_path / "studio.msi"))
    result = run("release", "schedule", "macro-studio", "15.3b2", "2027-01-31T09:00+01:00")
    assert result.stdout == "Macro Studio 15.3b2 is scheduled. It publishes itself at 2027-01-31T08:00:00+00:00.\n"
    (listed,) = json.loads(run("release", "list", "--json").stdout)
    assert (listed["state"], listed["scheduled_for"]) == ("scheduled", "2027-01-31T08:00:00+00:00")
    assert run("release", "publish", "macro-studio", "15.3b2").exit_code == 1
    assert run("release", "schedule", "macro-studio", "15.3b2", "soon").exit_code == 1
    assert run("release", "unschedule", "macro-studio", "15.3b2").stdout == "Macro Studio 15.3b2 is a draft again.\n"
    assert run("release", "unschedule", "macro-studio", "15.3b2").exit_code == 1
