"""Release managers publish the terms of the programme: on a page, or by command."""

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.beta import terms
from portal.beta.cli import beta_terms
from portal.products.catalog import find_product
from tests.cast import Cast
from tests.conftest import csrf_token

SignIn = Callable[[str], FlaskClient]
FORM = "/staff/beta/macro-studio/terms"


def current_version(app: Flask, cast: Cast) -> int | None:
    with app.app_context():
        found = terms.current(find_product(cast.product).id)
        return found.version if found else None


def test_a_release_manager_publishes_a_version_after_the_other(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    paula = sign_in(cast.paula)
    for number, text in ((1, "Test machines only."), (2, "Test machines only, and tell us.")):
        page = paula.get(FORM).get_data(as_text=True)
        assert f"Publish version {number}" in page
        answer = paula.post(FORM, data={"csrf_token": csrf_token(page), "text": text}, follow_redirects=True)
        assert f"Version {number} of the beta terms of Macro Studio is published." in answer.get_data(as_text=True)
    assert "Test machines only, and tell us." in paula.get(FORM).get_data(as_text=True)
    assert current_version(app, cast) == 2


@pytest.mark.parametrize(
    ("text", "says"), [("", "Enter the terms."), ("x" * 100_001, "is the most"), ("bell \x07 rings", "control characters")]
)
def test_what_was_typed_stays_when_it_is_refused(app: Flask, cast: Cast, sign_in: SignIn, text: str, says: str) -> None:
    paula = sign_in(cast.paula)
    token = csrf_token(paula.get(FORM).get_data(as_text=True))
    answer = paula.post(FORM, data={"csrf_token": token, "text": text})
    page = answer.get_data(as_text=True)
    assert says in page
    assert text.strip("\r\n")[:50] in page
    assert current_version(app, cast) is None


def test_only_release_managers_find_the_page(cast: Cast, sign_in: SignIn, client: FlaskClient) -> None:
    assert client.get("/staff/beta/").status_code == 302
    expected = {cast.paula: 200, cast.ada: 200, cast.petra: 404, cast.anton: 404, cast.alice: 404, cast.erin: 404}
    for email, status in expected.items():
        person = sign_in(email)
        assert [person.get("/staff/beta/").status_code, person.get(FORM).status_code] == [status, status], email
    assert sign_in(cast.paula).get("/staff/beta/no-product/terms").status_code == 404


def test_the_command_publishes_a_file(app: Flask, cast: Cast, tmp_path: Path) -> None:
    file = tmp_path / "terms.md"
    file.write_text("Test machines only.", encoding="utf-8")
    result = app.test_cli_runner().invoke(beta_terms, ["publish", "macro-studio", str(file)])
    assert (result.exit_code, result.output) == (0, "Version 1 of the beta terms of macro-studio is published.\n")
    assert current_version(app, cast) == 1


def test_the_command_refuses_what_is_no_text(app: Flask, cast: Cast, tmp_path: Path) -> None:
    file = tmp_path / "terms.md"
    file.write_bytes(b"\xff\xfe")
    assert app.test_cli_runner().invoke(beta_terms, ["publish", "macro-studio", str(file)]).exit_code == 1
    assert app.test_cli_runner().invoke(beta_terms, ["publish", "macro-studio", str(tmp_path / "none")]).exit_code == 2
    assert current_version(app, cast) is None
