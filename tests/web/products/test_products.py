"""The administrator's pages of products."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.cast import Cast
from tests.signing import new_signer
from tests.web.releases.helpers import send

SignIn = Callable[[str], FlaskClient]
NEW: dict[str, Any] = {"slug": "chart-maker", "name": "Chart Maker", "summary": "Charts from macros.", "stable_access": "public"}


def test_a_product_is_added_listed_and_edited(cast: Cast, sign_in: SignIn) -> None:
    ada = sign_in(cast.ada)
    page = send(ada, "/staff/products/new", **NEW).get_data(as_text=True)
    assert "Chart Maker is added" in page
    assert "chart-maker" in page
    page = send(ada, "/staff/products/chart-maker/", name="Chart Maker Pro", summary="", stable_access="priority").get_data(as_text=True)
    assert "Chart Maker Pro" in page
    assert "The named contacts of a priority-support contract" in page


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"slug": "macro-studio"}, "already a product with the slug"),
        ({"name": "Macro Studio"}, "already a product called"),
        ({"slug": "Chart Maker"}, "single hyphens"),
        ({"slug": "new"}, "address of a page"),
        ({"name": ""}, "Enter the name."),
        ({"stable_access": "nobody"}, "Not a valid choice"),
        ({"summary": "Charts\x00"}, "control characters"),
        ({"signing_key": "RWnonsense"}, "This is no public key of minisign."),
    ],
)
def test_bad_input_is_explained_and_what_was_typed_stays(cast: Cast, sign_in: SignIn, changes: dict[str, str], message: str) -> None:
    answer = send(sign_in(cast.ada), "/staff/products/new", **{**NEW, **changes})
    assert answer.status_code == 400
    assert message in answer.get_data(as_text=True)
    assert "Charts" in answer.get_data(as_text=True)


def test_an_unknown_product_is_not_found(cast: Cast, sign_in: SignIn) -> None:
    ada = sign_in(cast.ada)
    for slug in ("no-such", "a%00b", "x" * 500):
        assert ada.get(f"/staff/products/{slug}/").status_code == 404


def test_the_signing_key_is_taken_from_the_key_file_and_taken_away_again(cast: Cast, sign_in: SignIn, tmp_path: Path) -> None:
    ada, signer = sign_in(cast.ada), new_signer(tmp_path)
    send(ada, "/staff/products/new", **NEW, signing_key=signer.public.read_text())
    page = ada.get("/staff/products/chart-maker/").get_data(as_text=True)
    assert f'value="{signer.key}"' in page
    answer = send(ada, "/staff/products/chart-maker/", name="Chart Maker", stable_access="public", signing_key=signer.secret.read_text())
    assert (answer.status_code, "This is the secret key." in answer.get_data(as_text=True)) == (400, True)
    send(ada, "/staff/products/chart-maker/", name="Chart Maker", stable_access="public", signing_key=" ")
    assert signer.key not in ada.get("/staff/products/chart-maker/").get_data(as_text=True)
