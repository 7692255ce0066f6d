"""The audit log's page and its files: for admins, searched by the address, exported as it was searched."""

import csv
import json
from collections.abc import Callable
from io import StringIO

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from portal import audit, clock
from portal.account import contracts, staff_tokens
from portal.audit import AuditEvent
from portal.database import db, transaction
from tests.builds import find_contract, find_user
from tests.cast import Cast

SignIn = Callable[[str], FlaskClient]


@pytest.fixture
def suspended(app: Flask, cast: Cast) -> None:
    with app.app_context():
        with transaction():
            contracts.suspend(find_contract(cast.contract), actor=find_user(cast.anton), now=clock.now())
        db.session.remove()


@pytest.mark.usefixtures("suspended")
def test_an_admin_finds_who_did_what(cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.ada)
    page = client.get("/staff/audit/?person=anton&action=contract").get_data(as_text=True)
    assert "contract.suspended" in page
    assert "Anton Example" in page
    assert f'href="/staff/contracts/{cast.contract}/"' in page
    nothing = client.get("/staff/audit/?person=anton&until=2020-01-01").get_data(as_text=True)
    assert "Nothing in the log matches." in nothing


def test_a_day_that_is_none_keeps_what_was_typed_and_says_how(cast: Cast, sign_in: SignIn) -> None:
    answer = sign_in(cast.ada).get("/staff/audit/?since=yesterday&person=erin")
    page = answer.get_data(as_text=True)
    assert answer.status_code == 400
    assert "yesterday is no date we can read." in page
    assert 'value="erin"' in page


def test_odd_addresses_are_no_server_errors(cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.ada)
    for asked in (
        "before=x",
        "before=99999999999999999999",
        "subject=%00",
        "person=%25",
        "since=9999-12-31",
        "until=0001-01-01",
        "action=%5C",
    ):
        assert client.get(f"/staff/audit/?{asked}").status_code in {200, 400}, asked


def test_a_long_log_is_read_page_by_page(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.ada)
    with app.app_context(), transaction():
        for number in range(120):
            audit.record("test.happened", subject_type="product", subject_id=1, actor=None, now=clock.now(), number=number)
    url, seen = "/staff/audit/?action=test", 0
    for _ in range(3):
        page = client.get(url).get_data(as_text=True)
        seen += page.count(">test.happened</code>")
        following = page.partition('href="/staff/audit/?action=test&amp;before=')[2].partition('"')[0]
        url = f"/staff/audit/?action=test&before={following}"
    assert seen == 120


@pytest.mark.usefixtures("suspended")
def test_what_was_found_is_exported_whole_and_that_is_noted(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.ada)
    text = client.get("/staff/audit/export.csv?action=contract.sus").get_data(as_text=True)
    rows = list(csv.DictReader(StringIO(text)))
    assert [row["action"] for row in rows] == ["contract.suspended"]
    events = json.loads(client.get("/staff/audit/export.json?action=audit").get_data(as_text=True))
    assert events[0]["details"] == {"form": "csv", "search": {"action": "contract.sus"}}
    assert (events[0]["source"], events[0]["address"]) == ("web", "127.0.0.1")


def test_a_program_reads_on_from_where_it_was(app: Flask, cast: Cast, client: FlaskClient) -> None:
    with app.app_context(), transaction():
        token = staff_tokens.create("log shipper", ["audit:read"], 30, actor=find_user(cast.ada), now=clock.now())
    headers = {"Authorization": f"Bearer {token}"}
    first = client.get("/staff/api/audit.json", headers=headers).get_json()
    more = client.get(f"/staff/api/audit.json?after={first[-1]['id']}", headers=headers).get_json()
    assert [event["action"] for event in more] == ["audit.exported"]
    assert more[0]["source"] == "token log shipper"


def test_a_command_says_that_it_was_one(app: Flask, cast: Cast) -> None:
    with app.app_context():
        sources = set(db.session.scalars(sa.select(AuditEvent.source)))
    assert sources == {"program"}
