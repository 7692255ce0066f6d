"""Served over https, and what requests claim about themselves."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.app import create_app
from portal.database import db
from tests.cast import PASSWORD, Cast, assemble
from tests.conftest import NOW, csrf_token, make_settings
from tests.web.account.pages import link_in_newest, send

ORIGIN = "https://portal.example.org"


@pytest.fixture
def served(sqlite_template: Path, tmp_path: Path) -> Iterator[Flask]:
    """The portal at an https address, three sign-ins a minute, behind no proxy."""
    shutil.copyfile(sqlite_template, tmp_path / "portal.db")
    app = create_app(make_settings(tmp_path, public_url=ORIGIN, sign_in_limit="3 per minute"))
    with app.app_context():
        assemble(NOW)
    yield app
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


def sign_in_form(client: FlaskClient) -> dict[str, str]:
    return {"email": Cast.alice, "password": PASSWORD, "csrf_token": csrf_token(client.get("/sign-in", base_url=ORIGIN).text)}


def test_the_cookie_goes_nowhere_else(served: Flask) -> None:
    client = served.test_client()
    answer = client.post("/sign-in", base_url=ORIGIN, data=sign_in_form(client), headers={"Referer": f"{ORIGIN}/sign-in"})
    assert answer.status_code == 302
    cookies = {cookie.partition("=")[0]: cookie.split("; ")[1:] for cookie in answer.headers.getlist("Set-Cookie")}
    assert sorted(cookies) == ["__Host-portal", "__Host-portal-device"]
    for attributes in cookies.values():
        assert {"HttpOnly", "Path=/", "SameSite=Lax", "Secure"} <= set(attributes)
        assert not any(attribute.startswith("Domain") for attribute in attributes)
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=31536000")


@pytest.mark.parametrize("referer", ["https://evil.example.net/", "http://portal.example.org/", ""])
def test_a_form_sent_from_elsewhere_is_refused(served: Flask, referer: str) -> None:
    client = served.test_client()
    assert client.post("/sign-in", base_url=ORIGIN, data=sign_in_form(client), headers={"Referer": referer}).status_code == 400


def test_an_address_that_is_claimed_buys_no_more_attempts(served: Flask) -> None:
    """Without PROXY_HOPS nobody's X-Forwarded-For counts."""
    codes = []
    for number in range(5):
        client = served.test_client()
        data = {**sign_in_form(client), "email": f"nobody{number}@example.org"}
        headers = {"Referer": f"{ORIGIN}/sign-in", "X-Forwarded-For": f"198.51.100.{number}", "Forwarded": f"for=198.51.100.{number}"}
        codes.append(client.post("/sign-in", base_url=ORIGIN, data=data, headers=headers).status_code)
    assert codes == [200, 200, 200, 429, 429]


def test_a_host_that_is_claimed_does_not_get_into_mails(served: Flask) -> None:
    client = served.test_client()
    page = client.get("/account/password/reset", headers={"Host": "evil.example.net", "X-Forwarded-Host": "evil.example.net"})
    answer = client.post(
        "/account/password/reset", data={"email": Cast.alice, "csrf_token": csrf_token(page.text)}, headers={"Host": "evil.example.net"}
    )
    assert answer.status_code in {200, 400}
    send(client, "/account/password/reset", email=Cast.alice)
    assert link_in_newest(served, "password_reset", "reset_url").startswith("/account/password/reset/")  # below PUBLIC_URL, or it fails
