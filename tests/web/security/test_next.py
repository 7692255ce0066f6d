"""`next` cannot lead off the site, however it is written: judged as a browser reads the answer, not as it was sent."""

import re
from collections.abc import Callable
from urllib.parse import quote, urljoin, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.web.redirects import safe_next
from tests.cast import PASSWORD, Cast
from tests.conftest import csrf_token
from tests.web.account.pages import send

SignIn = Callable[[str], FlaskClient]

EVIL = "evil.example.net"
TARGETS = [
    f"https://{EVIL}/", f"http:{EVIL}", f"http:/{EVIL}", f"http:///{EVIL}", f"//{EVIL}/", f"///{EVIL}/", f"////{EVIL}/",
    f"/\\{EVIL}/", f"\\\\{EVIL}/", f"\\/{EVIL}/", f"/\t/{EVIL}/", f"/\n/{EVIL}/", f"\t//{EVIL}/", f" //{EVIL}/",
    f"\x00//{EVIL}/", f"/%09/{EVIL}/", f"/%5c{EVIL}/", f"/%2f{EVIL}/", f"http://localhost@{EVIL}/",
    f"http://localhost:80@{EVIL}/", f"http://localhost\\@{EVIL}/", f"//localhost@{EVIL}/", f"http://{EVIL}#@localhost/",
    f"http://localhost.{EVIL}/", f"/.//{EVIL}/", f"/..//{EVIL}/", f"javascript:alert(1)//{EVIL}", "data:text/html,x",
    f"ftp://{EVIL}/", f"?next=//{EVIL}", f"/sign-in?next=https://{EVIL}/", f"\u2028//{EVIL}/", f"/\u3000/{EVIL}/",
    f"/\uff0f{EVIL}/", f"//{EVIL}\r\nX-Y: z", f"//[::1]@{EVIL}", "//", "/\\", "",
]  # fmt: skip


def browser_goes_to(location: str) -> str | None:
    """The host a browser goes to (WHATWG URL: tabs and line ends are dropped, blanks trimmed, backslashes are slashes)."""
    read = re.sub(r"[\t\r\n]", "", location).strip("".join(map(chr, range(33)))).replace("\\", "/")
    read = re.sub(r"^(https?:)/*", r"\1//", read, flags=re.IGNORECASE)
    read = re.sub(r"^/{2,}", "//", read)
    return urlsplit(urljoin("http://localhost/sign-in", read)).hostname


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_sign_in_leads_to_this_site_alone(app: Flask, cast: Cast) -> None:
    for target in TARGETS:
        for in_form in (True, False):
            client = app.test_client()
            page = client.get("/sign-in" if in_form else f"/sign-in?next={quote(target)}")
            data = {"email": cast.alice, "password": PASSWORD, "csrf_token": csrf_token(page.text)}
            url = "/sign-in" if in_form else f"/sign-in?next={quote(target)}"
            answer = client.post(url, data={**data, "next": target} if in_form else data)
            check(answer.location, target)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_confirming_leads_to_this_site_alone(cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    for target in TARGETS:
        check(send(alice, "/account/verify", password=PASSWORD, next=target).location, target)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_somebody_signed_in_already_is_led_to_this_site_alone(cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    for target in TARGETS:
        check(alice.get(f"/sign-in?next={quote(target)}").location, target)


def check(location: str | None, target: str) -> None:
    if location is not None:
        assert browser_goes_to(location) == "localhost", (target, location)


def test_our_own_redirects_take_paths_of_this_site_alone() -> None:
    for target in TARGETS:
        assert browser_goes_to(safe_next(target, "/home")) == "localhost", target
    assert safe_next("/feedback/?page=2#x", "/home") == "/feedback/?page=2#x"
