"""Forms are read as browsers send them; the libraries would take JSON as well, with values no form has."""

import pytest
from flask.testing import FlaskClient

from tests.cast import PASSWORD, Cast
from tests.conftest import csrf_token
from tests.web.account.pages import SignIn


@pytest.mark.parametrize("body", [[1], "text", {"email": 1, "password": 2}, {"email": "alice@logistics.example.org", "password": PASSWORD}])
def test_signing_in_by_json_is_refused_whatever_it_holds(cast: Cast, client: FlaskClient, body: object) -> None:
    token = csrf_token(client.get("/sign-in").text)
    answer = client.post("/sign-in", json=body, headers={"X-CSRFToken": token})
    assert answer.status_code == 415
    assert client.get("/account/").status_code == 302


def test_no_form_takes_json(cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    token = csrf_token(alice.get("/account/").text)
    for path, body in (
        ("/account/", {"name": 5}),
        ("/account/email/", [1]),
        ("/account/security/tokens", {"label": 5, "contact_id": 1}),
        ("/account/security/authenticator", {"code": 123456, "sealed": 5}),
    ):
        assert alice.post(path, json=body, headers={"X-CSRFToken": token}).status_code == 415
