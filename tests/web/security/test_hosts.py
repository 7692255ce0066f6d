"""The portal answers to its own names alone; health checks may call it anything."""

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from portal.app import create_app
from tests.conftest import make_settings

Make = Callable[..., Flask]


@pytest.fixture
def make_app(tmp_path: Path) -> Make:
    return lambda **changes: create_app(make_settings(tmp_path, "", **changes))


def status(app: Flask, host: str, path: str = "/no-such-page", **headers: str) -> int:
    return app.test_client().get(path, headers={"Host": host, **headers}).status_code


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:43121", "localhost", "localhost:1", "[::1]:8000", "LOCALHOST"])
def test_the_demo_answers_at_any_port_of_this_machine(make_app: Make, host: str) -> None:
    assert status(make_app(public_url="http://127.0.0.1:8000"), host) == 404


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("portal.example.org", 404),
        ("Portal.Example.org:443", 404),
        ("portal.example.org.", 404),
        ("inside.example.org", 404),
        ("evil.example.net", 400),
        ("portal.example.org.evil.example.net", 400),
        ("evil-portal.example.org", 400),
        ("portal.example.org@evil.example.net", 400),
        ("localhost.evil.example.net", 400),
        ("192.0.2.1", 400),
    ],
)
def test_other_names_are_refused(make_app: Make, host: str, code: int) -> None:
    app = make_app(public_url="https://portal.example.org", trusted_hosts="inside.example.org")
    assert status(app, host) == code


def test_the_refusal_makes_no_cookie_and_leads_nowhere(make_app: Make) -> None:
    answer = make_app(public_url="https://portal.example.org").test_client().get("/sign-in", headers={"Host": "evil.example.net"})
    assert answer.status_code == 400
    assert "TRUSTED_HOSTS" in answer.text
    assert "evil" not in answer.text
    assert "Set-Cookie" not in answer.headers
    assert "Location" not in answer.headers
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_health_checks_may_call_it_anything(make_app: Make, path: str) -> None:
    assert status(make_app(public_url="https://portal.example.org"), "10.0.0.7:8000", path) in {200, 503}


def test_a_forwarded_host_counts_only_behind_a_proxy_and_must_be_known_there(make_app: Make) -> None:
    direct, behind = make_app(public_url="https://portal.example.org"), make_app(public_url="https://portal.example.org", proxy_hops=1)
    forged = {"X-Forwarded-Host": "evil.example.net"}
    assert status(direct, "portal.example.org", **forged) == 404
    assert status(behind, "portal.example.org", **forged) == 400
    assert status(behind, "127.0.0.1:8000", **{"X-Forwarded-Host": "portal.example.org"}) == 404
