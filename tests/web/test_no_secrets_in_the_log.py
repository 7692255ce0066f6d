"""After a whole run of the stories in which secrets are made, typed and mailed, none of them stands in the audit log."""

import base64
import json
import re
from collections.abc import Callable
from datetime import timedelta

import sqlalchemy as sa
import time_machine
from flask import Flask
from flask.testing import FlaskClient

from portal import clock
from portal.audit import AuditEvent
from portal.database import Base, db
from tests.authenticators import Key, code_at
from tests.cast import PASSWORD, Cast
from tests.conftest import NOW, csrf_token
from tests.web.account.factors import ASK, NAMED, answer_form, at_the_door, copy_cookies, options_on, try_code
from tests.web.account.pages import invite_somebody, link_in_newest, send

SignIn = Callable[[str], FlaskClient]
CHOSEN = "nine purple elephants on a train"
CHANGED = "seven orange ladders in the rain"
WRONG = "not the password of anybody here"
CODES, PASSKEYS = "/account/security/recovery-codes", "/account/security/passkeys"
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
    secrets |= factors_of(app, bob, cast.bob)
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
        "access_token.created", "staff_token.created", "audit.exported", "authenticator.added", "passkey.added", "recovery_codes.made",
        "factor.used", "factor.failed",
    }  # fmt: skip
    assert len(secrets) >= 12
    assert len(kept) > 20
    assert [secret for secret in secrets | kept if secret in log] == []


def factors_of(app: Flask, client: FlaskClient, email: str) -> set[str]:
    """Set up, use and misuse every kind of second factor; return what of it is secret: the app's secret as it is shown, typed and kept, its
    codes, recovery codes, and what a passkey answered."""
    key, app_page = Key(), "/account/security/authenticator"
    shown = client.get(app_page).get_data(as_text=True)
    typed, sealed = field(r"<code>([A-Z2-7 ]{30,})</code>", shown), field(r'name="sealed"[^>]* value="([^"]+)"', shown)
    secret = base64.b32decode(typed.replace(" ", ""))
    code = code_at(secret, clock.now())
    codes = re.findall(r"<li><code>([^<]+)</code>", post(client, app_page, app_page, sealed=sealed, code=code))
    codes += re.findall(r"<li><code>([^<]+)</code>", post(client, CODES, CODES))
    assert len(codes) == 20
    copy_cookies(client)
    page = client.get(f"{PASSKEYS}/new", base_url=NAMED)
    answer = key.register(options_on(page))
    client.post(f"{PASSKEYS}/new", base_url=NAMED, data=answer_form(page, answer, label="Laptop"))
    wrong, later = "123456", code_at(secret, clock.now() + timedelta(seconds=30))
    for given in (wrong, code, later):
        try_code(at_the_door(app, email), given)
    try_code(at_the_door(app, email), codes[-1], f"{ASK}?with=recovery-code")
    door = at_the_door(app, email)
    copy_cookies(door)
    page = door.get(ASK, base_url=NAMED)
    asked = options_on(page)
    proof = key.prove(asked)
    assert door.post(f"{ASK}/passkey", base_url=NAMED, data=answer_form(page, proof)).location == "/"
    parts = {part for text in (answer, proof) for part in re.findall(r'"([\w-]{20,})"', text)} - {
        "clientExtensionResults",
        "authenticatorData",
    }
    parts -= {"attestationObject", "clientDataJSON"}
    spelled = {spelling for one in codes for spelling in (one, one.replace("-", ""))}
    return (
        {typed, typed.replace(" ", ""), secret.hex(), sealed, asked["challenge"]}
        | parts
        | spelled
        | {f'"{one}"' for one in (code, later, wrong)}
    )


def field(pattern: str, page: str) -> str:
    found = re.search(pattern, page)
    assert found is not None, pattern
    return found[1]


def seat_on(client: FlaskClient) -> str:
    page = client.get("/account/security/").get_data(as_text=True)
    return page.partition('name="contact_id" value="')[2].partition('"')[0]
