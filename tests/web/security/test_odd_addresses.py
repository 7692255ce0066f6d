"""Addresses that people guess, cut off or make up: "not found" or a page, on both databases, never an error of ours."""

import re
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests import board
from tests.cast import Cast

SignIn = Callable[[str], FlaskClient]

PARAMETERS = ("after", "before", "below", "q", "product", "version", "status", "kind", "show", "sort", "next", "state", "title", "unread")
ODD = ["-1", "99999999999999999999999", "-99999999999999999999999", "a%00b", "%ED%A0%80", "%F0%9F%92%A9", "٣", "%0d%0aX:y", "..%2f..", "~1"]
# Places in a sorted list, and what looks like one.
PLACES = [
    "1~1",
    "1~99999999999999999999999",
    "-99999999999999999999999~1",
    "0001-01-01T00:00:00%2B14:00~1",
    "9999-12-31T23:59:59-14:00~1",
    "1~0001-01-01T00:00:00%2B14:00~1",
    "2026-01-01T00:00:00~1",
]
LIBRARY = ("static", "bootstrap", "icons", "health", "security.logout")


def addresses(app: Flask, odd: str) -> set[str]:
    """Every address of the portal, with `odd` wherever something can stand."""
    query = "?" + "&".join(f"{name}={odd}" for name in PARAMETERS)
    paths = (
        re.sub(r"<any\(([a-z]+)[^>]*>", r"\1", rule.rule) for rule in app.url_map.iter_rules() if not rule.endpoint.startswith(LIBRARY)
    )
    return {re.sub(r"<[^>]+>", odd, path) + query for path in paths}


@pytest.mark.parametrize("odd", ODD)
def test_no_address_is_an_error_of_ours(app: Flask, cast: Cast, sign_in: SignIn, odd: str) -> None:
    for client in (sign_in(cast.alice), sign_in(cast.ada), app.test_client()):
        for address in addresses(app, odd):
            assert client.get(address).status_code < 500, address


def test_no_place_in_a_list_is_an_error_of_ours(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        item_id = board.write(cast.alice)
    alice, ada = sign_in(cast.alice), sign_in(cast.ada)
    for place in PLACES:
        for sort in ("contracts", "newest", "changed"):
            for name in ("after", "before"):
                assert alice.get(f"/feedback/?sort={sort}&{name}={place}").status_code == 200, place
                assert ada.get(f"/staff/feedback/?sort={sort}&{name}={place}").status_code == 200, place
    for odd in ODD:
        for client, address in (
            (alice, f"/feedback/{item_id}/?before="),
            (ada, "/staff/notices/?before="),
            (ada, "/staff/notices/1/?after="),
        ):
            assert client.get(f"{address}{odd}").status_code < 500, address + odd
