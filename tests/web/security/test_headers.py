"""Headers on every answer, whatever page, whoever asks, whatever went wrong."""

import re
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal.web.headers import CONTENT_SECURITY_POLICY, SHARED
from tests.cast import Cast

SignIn = Callable[[str], FlaskClient]


def paths(app: Flask) -> dict[str, str]:
    """A path for each endpoint that answers GET, with something harmless wherever something can stand."""
    found = {}
    for rule in app.url_map.iter_rules():
        if "GET" in (rule.methods or set()):
            path = re.sub(r"<any\(([a-z]+)[^>]*>", r"\1", rule.rule)
            found[rule.endpoint] = re.sub(r"<[^>]+>", "1", path)
    return found


def check(answer: TestResponse, where: str) -> None:
    headers = answer.headers
    policy = headers["Content-Security-Policy"]
    directives = {directive.split()[0]: directive.split()[1:] for directive in policy.split("; ")}
    assert "'unsafe-inline'" not in directives.get("script-src", directives["default-src"]), where
    assert "'unsafe-eval'" not in policy, where
    assert directives["frame-ancestors"] in (["'none'"], ["'self'"]), where
    assert headers["X-Content-Type-Options"] == "nosniff", where
    assert headers["Referrer-Policy"] == "same-origin", where
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin", where
    assert len(headers.getlist("Content-Security-Policy")) == 1, where
    if "sandbox" not in directives:  # a mail that is previewed: in its frame nothing runs
        assert "unsafe-inline" not in policy, where


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("email", ["alice@logistics.example.org", "ada@vendor.example.org", None])
def test_every_answer_carries_them_and_signed_in_pages_are_kept_nowhere(app: Flask, cast: Cast, sign_in: SignIn, email: str | None) -> None:
    client = sign_in(email) if email else app.test_client()
    seen = 0
    for endpoint, path in paths(app).items():
        answer = client.get(path)
        check(answer, path)
        if email and endpoint not in SHARED:
            assert "no-store" in answer.headers["Cache-Control"], path
        seen += 1
    assert seen > 60


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_errors_and_refusals_carry_them_too(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    for client in (alice, app.test_client()):
        answers = [
            client.get("/no-such-page"),
            client.post("/sign-out"),
            client.put("/account/"),
            client.get("/staff/"),
            client.get("/", headers={"Host": "evil.example.net"}),
            client.post("/feedback/new", data=b"x" * 3_000_000, content_type="application/x-www-form-urlencoded"),
        ]
        for answer in answers:
            check(answer, f"{answer.request.method} {answer.request.path}")
            assert answer.status_code >= 300
            if client is alice and answer.status_code != 400:
                assert "no-store" in answer.headers["Cache-Control"]


def test_the_policy_allows_no_inline_code_and_no_frames(app: Flask) -> None:
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "frame-ancestors 'none'" in CONTENT_SECURITY_POLICY
    assert "http:" not in CONTENT_SECURITY_POLICY
    assert "*" not in CONTENT_SECURITY_POLICY
