"""Setting up and removing second factors: behind a fresh sign-in, told by mail, and required of staff where the setting says so."""

import re
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
import time_machine
from click.testing import CliRunner, Result
from flask import Flask
from flask.testing import FlaskClient

from portal import clock
from portal.account import factors
from portal.account.models import Passkey, User
from portal.app import create_app
from portal.audit import AuditEvent
from portal.cli import main
from portal.config import Settings
from portal.database import db, transaction
from portal.errors import Conflict
from tests.authenticators import Key
from tests.cast import PASSWORD, Cast, assemble
from tests.conftest import NOW, csrf_token, make_settings
from tests.web.account.factors import (
    add_passkey,
    at_the_door,
    code_of,
    enters,
    give_authenticator,
    give_recovery_codes,
    noted,
    told,
    try_code,
)
from tests.web.account.pages import SignIn, read_user, send, text_of, try_password

APP = "/account/security/authenticator"
CODES = "/account/security/recovery-codes"
NAME = "/account/security/passkeys/1/name"


def shown_secret(page: str) -> bytes:
    """The secret that a set-up page shows to be typed."""
    import base64

    found = re.search(r"<code>([A-Z2-7 ]{30,})</code>", page)
    assert found is not None
    return base64.b32decode(found[1].replace(" ", ""))


def sealed_in(page: str) -> str:
    return page.partition('name="sealed"')[2].partition('value="')[2].partition('"')[0]


def set_up(client: FlaskClient) -> bytes:
    """Set up an authenticator app by its page, and return its secret."""
    page = client.get(APP).text
    secret = shown_secret(page)
    answer = client.post(APP, data={"csrf_token": csrf_token(page), "sealed": sealed_in(page), "code": code_of(secret)})
    assert answer.status_code in {200, 302}
    return secret


def test_an_app_is_set_up_once_it_has_shown_a_code(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice, elsewhere = sign_in(cast.alice), sign_in(cast.alice)
    page = alice.get(APP).text
    assert "<svg" in page
    assert "style=" not in page.partition("<main")[2]
    secret, form = shown_secret(page), {"csrf_token": csrf_token(page), "sealed": sealed_in(page)}
    wrong = alice.post(APP, data={**form, "code": "000000"})
    assert "not the code that the app shows" in text_of(wrong)
    assert shown_secret(wrong.text) == secret  # so that nobody has to scan anew
    assert enters(app, cast.alice)
    done = alice.post(APP, data={**form, "code": code_of(secret)})
    codes = re.findall(r"<li><code>([0-9a-z-]{14})</code>", done.text)
    assert len(codes) == 10
    assert elsewhere.get("/account/").status_code == 302
    assert try_code(at_the_door(app, cast.alice), code_of(secret, 1)).location == "/"
    assert try_code(at_the_door(app, cast.alice), codes[0]).location == "/"
    assert "An authenticator app was set up" in told(app)
    assert noted(app, "authenticator.added") == ["authenticator.added"]


def test_the_code_that_set_it_up_signs_nobody_in_and_the_form_counts_once(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    page = alice.get(APP).text
    form = {"csrf_token": csrf_token(page), "sealed": sealed_in(page), "code": code_of(shown_secret(page))}
    assert alice.post(APP, data=form).status_code == 200
    assert try_code(at_the_door(app, cast.alice), form["code"]).status_code == 200
    assert "set up already" in text_of(alice.post(APP, data=form))
    assert noted(app, "authenticator.added") == ["authenticator.added"]


def test_a_page_left_open_shows_a_new_secret(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    with time_machine.travel(clock.now() - timedelta(minutes=31), tick=True):
        from portal.account import factors_totp

        settings: Settings = app.extensions["portal.settings"]
        old = factors_totp.seal(b"x" * 20, 1, settings.secret_key, now=clock.now())
    for sealed in (old, "", "x"):
        answer = send(alice, APP, sealed=sealed, code=code_of(b"x" * 20))
        assert "open for too long" in text_of(answer)
        assert shown_secret(answer.text) != b"x" * 20


def test_another_persons_page_sets_up_nothing(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice, bob = sign_in(cast.alice), sign_in(cast.bob)
    page = alice.get(APP).text
    answer = send(bob, APP, sealed=sealed_in(page), code=code_of(shown_secret(page)))
    assert "open for too long" in text_of(answer)
    assert enters(app, cast.bob)


def test_replacing_the_app_ends_the_old_ones_codes_and_keeps_recovery_codes(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    old = set_up(alice)
    kept = give_recovery_codes(app, cast.alice)
    new = set_up(alice)
    assert try_code(at_the_door(app, cast.alice), code_of(old, 1)).status_code == 200
    assert try_code(at_the_door(app, cast.alice), code_of(new, 1)).location == "/"
    assert try_code(at_the_door(app, cast.alice), kept[0]).location == "/"
    assert "Your authenticator app was replaced" in told(app)


def test_removing_the_last_factor_takes_recovery_codes_along(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    secret = set_up(alice)
    key = Key()
    add_passkey(alice, key, "Phone")
    elsewhere = at_the_door(app, cast.alice)
    try_code(elsewhere, code_of(secret, 1))
    assert send(alice, f"{APP}/remove").location == "/account/security/#factors"
    assert elsewhere.get("/account/").status_code == 302
    assert not enters(app, cast.alice)
    assert alice.get(f"{APP}/remove").status_code == 404
    assert "only second factor" in text_of(alice.get("/account/security/passkeys/1/remove"))
    send(alice, "/account/security/passkeys/1/remove")
    assert enters(app, cast.alice)
    assert alice.get(CODES).status_code == 404
    assert told(app)[-2:] == ["The authenticator app was removed", "A passkey was removed"]
    assert noted(app, "authenticator.removed", "passkey.removed") == ["authenticator.removed", "passkey.removed"]


def test_somebody_elses_passkey_is_not_found(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    add_passkey(sign_in(cast.alice), Key())
    bob = sign_in(cast.bob)
    assert bob.get("/account/security/passkeys/1/remove").status_code == 404
    assert not enters(app, cast.alice)


def test_new_recovery_codes_end_the_old_ones(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    set_up(alice)
    old = give_recovery_codes(app, cast.alice)
    answer = send(alice, CODES)
    new = re.findall(r"<li><code>([0-9a-z-]{14})</code>", answer.text)
    assert answer.headers["Cache-Control"].endswith("no-store")
    assert try_code(at_the_door(app, cast.alice), old[0]).status_code == 200
    assert try_code(at_the_door(app, cast.alice), new[0]).location == "/"
    assert "9 codes left" in text_of(alice.get("/account/security/"))


def test_every_change_needs_a_fresh_sign_in(app: Flask, settings: Settings, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    add_passkey(alice, Key())
    set_up(alice)
    token = csrf_token(alice.get(APP).text)
    paths = [APP, f"{APP}/remove", "/account/security/passkeys/new", "/account/security/passkeys/1/remove", NAME, CODES]
    with time_machine.travel(clock.now() + timedelta(minutes=settings.fresh_sign_in_minutes + 1), tick=True):
        for path in paths:
            for answer in (alice.get(path), alice.post(path, data={"csrf_token": token})):
                assert answer.status_code == 302
                assert answer.location.startswith("/account/verify")
            assert "Nothing was changed yet" in text_of(alice.post(path, data={"csrf_token": token, "label": "x", "code": "000000"}))
        assert alice.get("/account/security/").status_code == 200
        send(alice, "/account/verify", password=PASSWORD, code=give_recovery_codes(app, cast.alice)[0])
        assert [alice.get(path).status_code for path in paths] == [200] * 6


def test_a_passkey_is_renamed_by_its_owner_alone(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice, bob = sign_in(cast.alice), sign_in(cast.bob)
    add_passkey(alice, Key())
    page = alice.get("/account/security/").text
    assert NAME in page
    assert "Enter a name" in text_of(send(alice, NAME, label=" "))
    assert "80 is the most" in text_of(send(alice, NAME, label="x" * 81))
    assert bob.get(NAME).status_code == 404
    assert send(bob, NAME, "/account/", label="Mine").status_code == 404
    assert send(alice, NAME, label="Ada's <phone>").status_code == 302
    assert "“Ada's <phone>” now" in text_of(alice.get("/account/security/"))
    assert noted(app, "passkey.renamed") == ["passkey.renamed"]
    assert told(app) == ["A passkey was added"]


@pytest.fixture
def strict(sqlite_template: Path, tmp_path: Path) -> Iterator[Flask]:
    """The portal as it is when staff must have a second factor."""
    shutil.copyfile(sqlite_template, tmp_path / "portal.db")
    app = create_app(make_settings(tmp_path, staff_second_factor="required"))
    with app.app_context():
        assemble(NOW)
    yield app
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


def signed_in(app: Flask, email: str) -> FlaskClient:
    client = app.test_client()
    assert try_password(client, email, PASSWORD).status_code == 302
    return client


def test_staff_without_a_factor_reach_nothing_but_setting_one_up(strict: Flask) -> None:
    ada = signed_in(strict, Cast.ada)
    token = csrf_token(ada.get(APP).text)
    opened = set()
    for rule in strict.url_map.iter_rules():
        path = re.sub(r"<[^>]+>", "1", re.sub(r"<any\(([a-z]+)[^>]*>", r"\1", rule.rule))
        for method in (rule.methods or set()) & {"GET", "POST"}:
            if rule.endpoint == "security.logout":
                continue
            answer = ada.open(path, method=method, data={"csrf_token": token} if method == "POST" else None)
            # Programs have doors of their own, which know no session: 401.
            if answer.location != "/account/security/second-factor" and answer.status_code not in {401, 404}:
                opened.add(rule.endpoint)
    assert opened <= {
        "factors.choose", "factors.authenticator", "factors.new_passkey", "confirming.ask", "security.login",
        "static", "bootstrap.static", "icons.sprite", "health.alive", "health.ready",
    }  # fmt: skip
    assert {"factors.choose", "factors.authenticator", "factors.new_passkey"} <= opened
    assert send(ada, "/sign-out", page=APP).status_code == 302


def test_setting_one_up_opens_the_rest_and_the_last_cannot_be_removed(strict: Flask) -> None:
    ada = signed_in(strict, Cast.ada)
    assert "Your role can change" in text_of(ada.get("/staff/", follow_redirects=True))
    set_up(ada)
    assert ada.get("/staff/").status_code == 200
    assert "Staff need a second factor" in text_of(ada.get(f"{APP}/remove"))
    assert "It was not removed" in text_of(send(ada, f"{APP}/remove"))
    add_passkey(ada, Key())
    assert send(ada, f"{APP}/remove").status_code == 302


def test_customers_choose_for_themselves(strict: Flask) -> None:
    alice = signed_in(strict, Cast.alice)
    assert alice.get("/account/").status_code == 200
    assert "nobody gets in with your password alone" in text_of(alice.get("/account/security/second-factor"))


def command(settings: Settings, *arguments: str) -> Result:
    environment = {"DATA_DIR": str(settings.data_dir), "DATABASE_URL": settings.database, "SECRET_KEY": settings.secret_key}
    return CliRunner().invoke(main, list(arguments), env=environment)


def test_a_lost_factor_is_reset_by_command(app: Flask, settings: Settings, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    set_up(alice)
    pending = at_the_door(app, cast.alice)
    done = command(settings, "staff", "reset-factors", cast.alice.upper())
    assert (done.exit_code, done.output) == (0, f"The second factors of {cast.alice} are removed. Every session of theirs is ended.\n")
    assert alice.get("/account/").status_code == 302
    assert pending.get("/sign-in/second-step").location == "/sign-in"
    assert enters(app, cast.alice)
    assert told(app)[-1] == "Your second factors were removed"
    with app.app_context():
        event = db.session.scalars(sa.select(AuditEvent).where(AuditEvent.action == "factors.reset")).one()
        assert event.actor == "system"
        db.session.remove()
    again = command(settings, "staff", "reset-factors", cast.alice)
    assert again.exit_code == 1
    assert "has no second factor" in again.stderr
    assert command(settings, "staff", "reset-factors", "nobody@example.org").exit_code == 1


def test_a_lock_of_codes_ends_with_a_reset(app: Flask, settings: Settings, cast: Cast) -> None:
    give_authenticator(app, cast.alice)
    for _ in range(settings.sign_in_failures):
        try_code(at_the_door(app, cast.alice), "000000")
    command(settings, "staff", "reset-factors", cast.alice)
    secret = give_authenticator(app, cast.alice)
    assert try_code(at_the_door(app, cast.alice), code_of(secret)).location == "/"


def id_of(app: Flask, email: str) -> int:
    return read_user(app, email).id


def test_account_managers_help_customers_and_admins_help_colleagues(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    for email in (cast.alice, cast.petra, cast.ada, cast.anton):
        give_authenticator(app, email)
    anton = at_the_door(app, cast.anton)
    try_code(anton, give_recovery_codes(app, cast.anton)[0])
    page = f"/staff/factors/{id_of(app, cast.alice)}/reset"
    assert text_of(anton.get("/staff/customers/")).count("Reset second factors") == 1
    assert "Find out first" in text_of(anton.get(page))
    assert not enters(app, cast.alice)
    assert send(anton, page).location == "/staff/customers/?q=alice@logistics.example.org"
    assert enters(app, cast.alice)
    assert "has no second factor" in text_of(anton.get(page))
    for email in (cast.petra, cast.ada, cast.anton, "nobody"):
        other = f"/staff/factors/{id_of(app, email) if '@' in email else 10**6}/reset"
        assert anton.get(other).status_code == 404
        assert anton.post(other, data={"csrf_token": csrf_token(anton.get(page.replace("reset", "")).text)}).status_code in {400, 404}
    ada = at_the_door(app, cast.ada)
    try_code(ada, give_recovery_codes(app, cast.ada)[0])
    assert send(ada, f"/staff/factors/{id_of(app, cast.petra)}/reset").location.endswith(f"/staff/team/{id_of(app, cast.petra)}/")
    assert enters(app, cast.petra)
    assert ada.get(f"/staff/factors/{id_of(app, cast.ada)}/reset").status_code == 404
    with app.app_context():
        events = db.session.execute(
            sa.select(AuditEvent.actor, AuditEvent.subject_id).where(AuditEvent.action == "factors.reset").order_by(AuditEvent.id)
        ).all()
        db.session.remove()
    assert [tuple(event) for event in events] == [("Anton Example", id_of(app, cast.alice)), ("Ada Example", id_of(app, cast.petra))]


def test_of_two_removals_at_once_one_leaves_the_last_factor_to_staff(app: Flask, settings: Settings, cast: Cast) -> None:
    """Each alone would be allowed, since the other factor remains."""
    strict = replace(settings, staff_second_factor="required")
    give_authenticator(app, cast.ada)
    user_id = id_of(app, cast.ada)
    with app.app_context():
        with transaction() as session:
            session.add(
                Passkey(user_id=user_id, credential_id="k", public_key=b"", sign_count=0, transports="", label="k", created_at=clock.now())
            )
        db.session.remove()
    start = threading.Barrier(2)

    def remove(passkey: bool) -> bool:
        with app.app_context():
            try:
                start.wait(10)
                with transaction() as session:
                    ada = session.get_one(User, user_id)
                    if passkey:
                        key_id = factors.factors_of(user_id).passkeys[0].id
                        factors.remove_passkey(ada, key_id, strict, session_token="", now=clock.now())
                    else:
                        factors.remove_authenticator(ada, strict, session_token="", now=clock.now())
            except Conflict:
                return False
            finally:
                db.session.remove()
            return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(remove, (True, False))) == [False, True]
