"""Programs that act for a member of staff by a token: what it opens, and every way it dies."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from io import BytesIO

import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask
from flask.testing import FlaskClient

from portal import clock
from portal.account import people, staff_tokens, team
from portal.account.models import StaffToken, User
from portal.audit import AuditEvent
from portal.database import db, transaction
from portal.notices.models import Notice
from portal.tokens import hash_token
from portal.web.guards import STAFF_ROLES
from tests.cast import Cast
from tests.conftest import NOW, csrf_token

SignIn = Callable[[str], FlaskClient]
EXPORT = "/staff/api/feedback.json"


def make(app: Flask, email: str, *scopes: str, days: int = 30) -> str:
    with app.app_context(), transaction():
        owner = people.find_person(email)
        assert owner is not None
        return staff_tokens.create("build server", list(scopes), days, actor=owner, now=clock.now())


def ask(app: Flask, token: str, url: str = EXPORT) -> int:
    return app.test_client().get(url, headers={"Authorization": f"Bearer {token}"}).status_code


def act(app: Flask, do: Callable[[User, User], object], on: str, by: str) -> None:
    with app.app_context(), transaction():
        person, actor = people.find_person(on), people.find_person(by)
        assert person is not None
        assert actor is not None
        do(person, actor)


@pytest.fixture
def token(app: Flask, cast: Cast) -> str:
    return make(app, cast.petra, "feedback:read")


def test_a_token_opens_what_its_scope_names_and_nothing_else(app: Flask, cast: Cast, token: str) -> None:
    assert ask(app, token) == 200
    assert ask(app, token, "/staff/api/releases/macro-studio/1.0/") == 403
    assert ask(app, token, "/staff/feedback/") == 302, "no page of the staff knows tokens"
    assert ask(app, token[:-1]) == 401
    assert app.test_client().get(EXPORT).status_code == 401


def test_a_cookie_does_not_open_a_door_for_programs(cast: Cast, sign_in: SignIn) -> None:
    assert sign_in(cast.ada).get(EXPORT).status_code == 401


def test_a_token_is_kept_as_a_hash_and_its_last_use_is_noted(app: Flask, cast: Cast, token: str) -> None:
    assert ask(app, token) == 200
    with app.app_context():
        kept = db.session.scalars(sa.select(StaffToken)).one()
        assert kept.token_hash == hash_token(token)
        assert kept.last_used_at is not None
        event = db.session.scalars(sa.select(AuditEvent).where(AuditEvent.action == "feedback.exported")).one()
        assert (event.actor, event.source) == ("Petra Example", "token build server")
        assert token not in str([(row.details, row.source) for row in db.session.scalars(sa.select(AuditEvent))])


def test_a_token_ends_by_itself(app: Flask, cast: Cast, token: str) -> None:
    with time_machine.travel(NOW + timedelta(days=29), tick=True):
        assert ask(app, token) == 200
    with time_machine.travel(NOW + timedelta(days=30, minutes=1), tick=True):
        assert ask(app, token) == 401
    with time_machine.travel(NOW - timedelta(hours=2), tick=True):
        assert ask(app, token) == 200, "a clock that is put back kills no token"


def test_a_token_dies_with_the_role_of_its_owner_at_the_very_next_request(app: Flask, cast: Cast, token: str) -> None:
    act(app, lambda one, by: team.set_roles(one, ["support"], STAFF_ROLES, actor=by, now=clock.now()), cast.petra, cast.ada)
    assert ask(app, token) == 403
    act(app, lambda one, by: team.set_roles(one, [], STAFF_ROLES, actor=by, now=clock.now()), cast.petra, cast.ada)
    assert ask(app, token) == 401


def test_a_token_dies_with_the_account_and_stays_dead(app: Flask, cast: Cast, token: str) -> None:
    act(app, lambda one, by: team.close(one, actor=by, now=clock.now()), cast.petra, cast.ada)
    assert ask(app, token) == 401
    act(app, lambda one, by: team.reopen(one, actor=by, now=clock.now()), cast.petra, cast.ada)
    assert ask(app, token) == 401


def test_a_token_is_shown_once_and_revoked_by_a_click(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.petra)
    page = client.get("/staff/tokens/").get_data(as_text=True)
    assert "builds:write" not in page, "what another role gives is not offered"
    sent = {"label": "weekly report", "scopes": "feedback:read", "days": "7", "csrf_token": csrf_token(page)}
    shown = client.post("/staff/tokens/", data=sent).get_data(as_text=True)
    token = shown.partition(staff_tokens.PREFIX)[2].partition("<")[0].partition('"')[0]
    assert ask(app, staff_tokens.PREFIX + token) == 200
    with app.app_context():
        [notice] = db.session.scalars(sa.select(Notice).where(Notice.kind == "security_event"))
        assert (notice.context["title"], token in str(notice.context)) == ("A staff token was made", False)
    listed = client.get("/staff/tokens/").get_data(as_text=True)
    assert "weekly report" in listed
    assert token not in listed
    with app.app_context():
        token_id = db.session.scalars(sa.select(StaffToken.id)).one()
    url = f"/staff/tokens/{token_id}/revoke"
    other = sign_in(cast.paula)
    assert other.post(url, data={"csrf_token": csrf_token(other.get("/staff/tokens/").get_data(as_text=True))}).status_code == 404
    assert client.post(url, data={"csrf_token": csrf_token(listed)}).status_code == 303
    assert ask(app, staff_tokens.PREFIX + token) == 401


def test_a_scope_of_another_role_is_refused(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.petra)
    page = client.get("/staff/tokens/").get_data(as_text=True)
    sent = {"label": "x", "scopes": "builds:write", "days": "7", "csrf_token": csrf_token(page)}
    assert client.post("/staff/tokens/", data=sent).status_code == 400
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(StaffToken)) == 0


def test_a_build_server_uploads_into_a_draft(app: Flask, cast: Cast) -> None:
    token = make(app, cast.paula, "builds:write")
    make_draft(app, cast)
    headers, url = {"Authorization": f"Bearer {token}"}, "/staff/api/releases/macro-studio/15.3b1/"
    client = app.test_client()
    sent = {"file": (BytesIO(b"PK\x03\x04" + b"\x00" * 60), "macro-studio.zip"), "kind": "portable", "platform": "Windows"}
    answer = client.post(f"{url}builds", data=sent, headers=headers)
    assert answer.status_code == 201, answer.get_data(as_text=True)
    release = client.get(url, headers=headers).get_json()
    assert release["state"] == "draft"
    assert [build["filename"] for build in release["builds"]] == ["macro-studio.zip"]
    again = {**sent, "file": (BytesIO(b"PK\x03\x04" + b"\x00" * 60), "Macro-Studio.zip")}
    refused = client.post(f"{url}builds", data=again, headers=headers)
    assert refused.status_code == 409
    assert "error" in refused.get_json()
    with app.app_context():
        event = db.session.scalars(sa.select(AuditEvent).where(AuditEvent.action == "build.added")).one()
        assert (event.actor, event.source) == ("Paula Example", "token build server")


def make_draft(app: Flask, cast: Cast) -> None:
    from portal.products.catalog import find_product
    from portal.releases import drafts
    from portal.releases.models import Channel

    with app.app_context(), transaction():
        drafts.create_release(find_product(cast.product), "15.3b1", channel=Channel.BETA, notes="New.", actor=None, now=clock.now())


def test_the_last_admin_can_neither_go_nor_be_closed(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.ada)
    with app.app_context():
        ada = people.find_person(cast.ada)
        assert ada is not None
        url = f"/staff/team/{ada.id}/"
    page = client.get(url).get_data(as_text=True)
    answer = client.post(url, data={"roles": "support", "csrf_token": csrf_token(page)})
    assert answer.status_code == 400
    assert "Nobody else is an admin" in answer.get_data(as_text=True)


def test_a_lost_role_closes_its_pages_at_the_very_next_request(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    anton, ada = sign_in(cast.anton), sign_in(cast.ada)
    assert anton.get("/staff/contracts/").status_code == 200
    with app.app_context():
        person = people.find_person(cast.anton)
        assert person is not None
        url = f"/staff/team/{person.id}/"
    page = ada.get(url).get_data(as_text=True)
    assert ada.post(url, data={"roles": "product", "csrf_token": csrf_token(page)}).status_code == 303
    assert anton.get("/staff/contracts/").status_code == 302, "signed out at once"
    assert sign_in(cast.anton).get("/staff/contracts/").status_code == 404
    with app.app_context():
        event = db.session.scalars(sa.select(AuditEvent).where(AuditEvent.action == "staff.roles_changed")).one()
        assert event.details["changes"] == {"roles": [["accounts"], ["product"]]}
        assert (event.source, event.address) == ("web", "127.0.0.1")


DOORS = {
    "builds:write": ["/staff/api/releases/macro-studio/15.3b1/"],
    "feedback:read": ["/staff/api/feedback.json", "/staff/api/feedback.csv"],
    "contracts:read": ["/staff/api/contracts.json", "/staff/api/contracts.csv"],
    "audit:read": ["/staff/api/audit.json", "/staff/api/audit.csv"],
}


def test_each_scope_opens_its_own_doors_alone(app: Flask, cast: Cast) -> None:
    assert DOORS.keys() == staff_tokens.SCOPES.keys()
    make_draft(app, cast)
    for scope in DOORS:
        token = make(app, cast.ada, scope)
        opened = {url for urls in DOORS.values() for url in urls if ask(app, token, url) == 200}
        assert opened == set(DOORS[scope]), scope


def test_support_reads_contracts_by_a_program_too(app: Flask, cast: Cast) -> None:
    token = make(app, cast.sue, "contracts:read")
    answer = app.test_client().get("/staff/api/contracts.json", headers={"Authorization": f"Bearer {token}"})
    assert {one["number"] for one in answer.get_json()} >= {cast.contract, cast.lapsed_contract}


def test_wrong_tokens_are_counted_by_address(app: Flask, cast: Cast, token: str) -> None:
    app.extensions["portal.settings"] = replace(app.extensions["portal.settings"], token_limit="3 per minute")
    assert [ask(app, f"{token}{number}") for number in range(4)] == [401, 401, 401, 429]
