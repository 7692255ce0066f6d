"""After a whole run of the stories in which secrets are made, typed and mailed, none of them stands in the audit log."""

import json
import re
from collections.abc import Callable
from datetime import timedelta

import sqlalchemy as sa
import time_machine
from flask import Flask
from flask.testing import FlaskClient

from portal.audit import AuditEvent
from portal.database import Base, db
from tests.cast import PASSWORD, Cast
from tests.conftest import NOW, csrf_token
from tests.web.account.pages import invite_somebody, link_in_newest, send

SignIn = Callable[[str], FlaskClient]
CHOSEN = "nine purple elephants on a train"
CHANGED = "seven orange ladders in the rain"
WRONG = "not the password of anybody here"
SECRET_COLUMNS = re.compile(r"hash|nonce|secret|password|uniquifier|lookup|credential_id|public_key")


def post(client: FlaskClient, url: str, page: str, **fields: str) -> str:
    """Send a form whose token stands on `page`; return the answer as text."""
    token = csrf_token(client.get(page).get_data(as_text=True))
    return client.post(url, data={**fields, "csrf_token": token}).get_data(as_text=True)


def stored_secrets() -> set[str]:
    """What the database keeps of secrets, such as hashes: they have no place in the log either."""
    found: set[str] = set()
    for table in Base.metadata.sorted_tables:
        for column in table.columns:
            if SECRET_COLUMNS.search(column.name):
                found.update(str(value) for value in db.session.scalars(sa.select(column).where(column.is_not(None))))
    return {value for value in found if len(value) > 5}


def test_no_secret_of_the_stories_stands_in_the_log(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    secrets = {PASSWORD, CHOSEN, CHANGED, WRONG}
    stranger = app.test_client()
    for email in (cast.alice, "nobody@example.org"):
        post(stranger, "/sign-in", "/sign-in", email=email, password=WRONG)
        post(stranger, "/account/password/reset", "/account/password/reset", email=email)
    reset = link_in_newest(app, "password_reset", "reset_url")
    invitation = invite_somebody(app, cast.other_contract, "nina@foods.example.org")
    secrets |= {reset.rpartition("/")[2], invitation.rpartition("/")[2]}
    send(app.test_client(), invitation, name="Nina Newcomer", password=CHOSEN)
    send(app.test_client(), reset, password=CHANGED, password_confirm=CHANGED)

    bob = sign_in(cast.bob)
    shown = post(bob, "/account/security/tokens", "/account/security/", label="build machine", contact_id=seat_on(bob))
    shown += post(bob, "/account/security/feeds", "/account/security/", **{"feed-label": "reader", "feed-contact_id": seat_on(bob)})
    secrets |= set(re.findall(r'data-copy="([^"]{20,})"', shown))
    secrets |= {part for one in secrets for part in re.findall(r"token=([\w-]{20,})", one)}

    ada = sign_in(cast.ada)
    token = csrf_token(ada.get("/staff/tokens/").get_data(as_text=True))
    data = {"label": "log shipper", "scopes": "audit:read", "days": "7", "csrf_token": token}
    made = re.findall(r"portal_staff_[\w-]+", ada.post("/staff/tokens/", data=data).get_data(as_text=True))
    assert made
    secrets |= set(made)
    assert app.test_client().get("/staff/api/audit.json", headers={"Authorization": f"Bearer {made[0]}"}).status_code == 200
    with time_machine.travel(NOW + timedelta(minutes=5), tick=True):
        for client in (bob, ada):
            secrets |= {cookie.value for name in ("portal", "portal-device") if (cookie := client.get_cookie(name))}
            client.post("/sign-out", data={"csrf_token": csrf_token(client.get("/account/").get_data(as_text=True))})

    with app.app_context():
        events = db.session.scalars(sa.select(AuditEvent).order_by(AuditEvent.id)).all()
        actions = {event.action for event in events}
        log = "\n".join(json.dumps([e.actor, e.action, e.source, e.address, e.details], ensure_ascii=False) for e in events)
        kept = stored_secrets()
    assert actions >= {
        "sign_in.failed", "sign_in.done", "sign_out.done", "password.reset_asked", "password.reset", "contact.accepted",
        "access_token.created", "staff_token.created", "audit.exported",
    }  # fmt: skip
    assert len(secrets) >= 12
    assert len(kept) > 20
    assert [secret for secret in secrets | kept if secret in log] == []


def seat_on(client: FlaskClient) -> str:
    page = client.get("/account/security/").get_data(as_text=True)
    return page.partition('name="contact_id" value="')[2].partition('"')[0]
