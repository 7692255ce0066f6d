"""Sessions are kept by the server: a copied cookie is worth nothing once its session has ended."""

from collections.abc import Callable

from flask.testing import FlaskClient

from tests.cast import Cast
from tests.conftest import csrf_token

SignIn = Callable[[str], FlaskClient]


def sign_out(client: FlaskClient) -> int:
    page = client.get("/account/").get_data(as_text=True)
    return client.post("/sign-out", data={"csrf_token": csrf_token(page)}).status_code


def copy_of(client: FlaskClient, other: FlaskClient) -> FlaskClient:
    """Give `other` the cookie that `client` has now, as a thief of the cookie would have it."""
    cookie = client.get_cookie("portal")
    assert cookie is not None
    other.set_cookie("portal", cookie.value)
    return other


def test_a_copied_cookie_is_dead_after_signing_out(cast: Cast, sign_in: SignIn, client: FlaskClient) -> None:
    alice = sign_in(cast.alice)
    thief = copy_of(alice, client)
    assert thief.get("/account/").status_code == 200
    assert sign_out(alice) == 302
    assert thief.get("/account/").status_code == 302
