"""Helpers for pages of second factors."""

import json
import re
from datetime import timedelta
from html import unescape
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal import clock
from portal.account import factors, factors_totp
from portal.account.models import Authenticator, User
from portal.audit import AuditEvent
from portal.config import Settings
from portal.database import db, transaction
from portal.notices.models import Delivery, Notice
from tests.authenticators import Key, code_at
from tests.cast import PASSWORD
from tests.web.account.pages import send, try_password

ASK = "/sign-in/second-step"
# Passkeys belong to a name; the tests' PUBLIC_URL is a number.
NAMED = "http://localhost:8000"


def give_authenticator(app: Flask, email: str) -> bytes:
    """Give a person an authenticator app, and return its secret."""
    settings: Settings = app.extensions["portal.settings"]
    secret, now = factors_totp.make_secret(), clock.now()
    with app.app_context():
        with transaction() as session:
            user_id = session.scalars(sa.select(User.id).where(User.email == email)).one()
            sealed = factors_totp.seal(secret, user_id, settings.secret_key, now=now)
            session.add(Authenticator(user_id=user_id, secret=sealed, last_counter=0, created_at=now))
        db.session.remove()
    return secret


def give_recovery_codes(app: Flask, email: str) -> list[str]:
    with app.app_context():
        with transaction() as session:
            person = session.scalars(sa.select(User).where(User.email == email)).one()
            codes = factors.make_recovery_codes(person, now=clock.now())
        db.session.remove()
    return codes


def code_of(secret: bytes, steps: int = 0) -> str:
    """What the app shows now, or so many steps of 30 seconds later."""
    return code_at(secret, clock.now() + timedelta(seconds=30 * steps))


def at_the_door(app: Flask, email: str, **form: str) -> FlaskClient:
    """A browser in which the right password was given, and the second factor is asked."""
    client = app.test_client()
    answer = send(client, "/sign-in", email=email, password=PASSWORD, **form)
    assert (answer.status_code, answer.location) == (302, ASK)
    return client


def try_code(client: FlaskClient, code: str, page: str = ASK) -> TestResponse:
    return send(client, page, code=code)


def enters(app: Flask, email: str, password: str = PASSWORD) -> bool:
    """Whether the password alone is enough."""
    return try_password(app.test_client(), email, password).location == "/"


def options_on(page: TestResponse) -> dict[str, Any]:
    """What the first passkey form of a page asks the browser."""
    found = re.search(r'data-options="([^"]+)"', page.get_data(as_text=True))
    assert found is not None, "the page asks for no passkey"
    asked: dict[str, Any] = json.loads(unescape(found[1]))
    return asked


def csrf_of(page: TestResponse) -> str:
    return page.get_data(as_text=True).partition('name="csrf_token"')[2].partition('value="')[2].partition('"')[0]


def answer_form(page: TestResponse, answer: str, **more: str) -> dict[str, str]:
    return {"csrf_token": csrf_of(page), "answer": answer, **more}


def add_passkey(client: FlaskClient, key: Key, label: str = "Laptop") -> TestResponse:
    """Add `key` as the signed-in person would, at the portal's name."""
    copy_cookies(client)
    page = client.get("/account/security/passkeys/new", base_url=NAMED)
    return client.post(
        "/account/security/passkeys/new", base_url=NAMED, data=answer_form(page, key.register(options_on(page)), label=label)
    )


def copy_cookies(client: FlaskClient) -> None:
    """Take the cookies of the tests' host name to the portal's own; they were signed in by another name."""
    for cookie in list(client._cookies.values()):  # type: ignore[union-attr]
        client.set_cookie(cookie.key, cookie.value, domain="localhost", path="/")


def told(app: Flask) -> list[str]:
    """The subjects of security mails, in order."""
    with app.app_context():
        rows = db.session.scalars(
            sa.select(Notice.context)
            .join(Delivery, Delivery.notice_id == Notice.id)
            .where(Notice.kind == "security_event")
            .order_by(Notice.id)
        )
        found = [str(context["title"]) for context in rows]
        db.session.remove()
    return found


def noted(app: Flask, *actions: str) -> list[str]:
    """The actions of second factors in the audit log, in order."""
    with app.app_context():
        rows = db.session.scalars(sa.select(AuditEvent.action).order_by(AuditEvent.id))
        found = [action for action in rows if action in actions]
        db.session.remove()
    return found
