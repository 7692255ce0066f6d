"""`portal beta-terms`, as a person types it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from portal.beta import terms
from portal.cli import main
from portal.config import Settings
from portal.database import db, transaction
from portal.products.catalog import find_product
from tests.builds import find_contract, find_user
from tests.cast import Cast
from tests.conftest import NOW, SECRET

Run = Callable[..., Result]

pytestmark = pytest.mark.usefixtures("app_context", "cast")


@pytest.fixture
def run(settings: Settings) -> Run:
    environment = {"DATA_DIR": str(settings.data_dir), "DATABASE_URL": settings.database_url, "SECRET_KEY": SECRET}

    def do(*arguments: str) -> Result:
        db.session.rollback()
        return CliRunner().invoke(main, ["beta-terms", *arguments], env=environment)

    return do


def test_terms_are_published_in_versions_and_who_accepted_which_is_listed(run: Run, cast: Cast, tmp_path: Path) -> None:
    file = tmp_path / "terms.md"
    assert run("acceptances", "macro-studio").stdout == "Nobody has accepted any.\n"
    for version, text in enumerate(("Test machines only.", "Test machines only, and tell us."), 1):
        file.write_text(text)
        assert run("publish", "macro-studio", str(file)).stdout == f"Version {version} of the beta terms of macro-studio is published.\n"
        with transaction():
            terms.accept(
                find_user(cast.alice), find_contract(cast.contract).id, find_product("macro-studio").id, str(version), now=NOW
            )  # fmt: skip
    accepted = {"email": cast.alice, "organization": "Example Logistics", "contract": cast.contract, "accepted_at": NOW.isoformat()}
    assert json.loads(run("acceptances", "macro-studio", "--json").stdout) == [{"version": version, **accepted} for version in (1, 2)]
    assert f"version 2  {cast.alice}  {cast.contract}  Example Logistics" in run("acceptances", "macro-studio").stdout
    assert json.loads(run("acceptances", cast.other_product, "--json").stdout) == []


def test_the_same_text_and_an_unknown_product_are_refused(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "terms.md"
    file.write_text("Test machines only.")
    assert run("publish", "macro-studio", str(file)).exit_code == 0
    again = run("publish", "macro-studio", str(file))
    assert (again.exit_code, again.stdout) == (1, "")
    assert "word for word" in again.stderr
    assert run("acceptances", "nothing").exit_code == 1
