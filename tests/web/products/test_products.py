"""The administrator's pages of products."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.cast import Cast
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
