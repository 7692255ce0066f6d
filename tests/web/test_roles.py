"""Who may do what: the table in docs/roles.md, held against the whole URL map by real requests.

Every rule is asked with every method by every member of the cast. Where a guard alone decides, the view behind it is a stub, so no
object is needed and nothing happens; where the view decides (betas, downloads, the board, one's own contract), it is the real view,
and what it writes is rolled back.
"""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy.orm import Session
from werkzeug.routing import Rule

from portal.app import create_app
from portal.beta import terms
from portal.database import db, transaction
from portal.feedback import links
from portal.feedback.writing_models import Attachment
from portal.products.catalog import find_product
from portal.releases.models import Channel
from portal.storage import store
from tests import board
from tests.builds import find_contract, find_seat, find_user, publish_release, publish_terms
from tests.cast import PASSWORD, Cast, assemble
from tests.conftest import NOW, csrf_token, make_settings

TABLE = Path(__file__).resolve().parents[2] / "docs" / "roles.md"
CAST = {
    "anonymous": None, "customer": "erin", "lapsed": "dave", "subscriber": "alice", "publisher": "paula", "product": "petra",
    "accounts": "anton", "support": "sue", "admin": "ada",
}  # fmt: skip
BEFORE = NOW - timedelta(minutes=5)
YES, NO = "yes", "–"
# Blueprints whose views decide themselves; for all others the guard does.
DECIDES_ITSELF = re.compile(r"security|beta|releases|contracts|feedback(_(?!.*(staff|api)$).*)?")
# What forms need to be looked at by the rules that decide; no form takes all of it.
SENT = {"title": "Pause a macro", "body": "Long reports lock up.", "kind": "idea", "answer": "yes", "wanted": "yes"}
Door = tuple[str, str]  # method and address, as in the table


def read_table() -> dict[Door, dict[str, str]]:
    """The rows of the tables in docs/roles.md, by method and address."""
    rows: dict[Door, dict[str, str]] = {}
    for line in TABLE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) != len(CAST) + 2 or not cells[1].startswith("`"):
            continue
        methods, _, address = cells[1].strip("`").partition(" ")
        for method in methods.split(","):
            assert (method, address) not in rows, f"{method} {address} stands in the table twice"
            rows[method, address] = dict(zip(CAST, cells[2:], strict=True))
    return rows


def doors(app: Flask) -> Iterator[tuple[Door, Rule]]:
    """Every rule with each of its methods, its arguments written as <name>."""
    for rule in app.url_map.iter_rules():
        address = re.sub(r"<(?:[^<>]*:)?([a-z_]+)>", r"<\1>", rule.rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield (method, address), rule


@dataclass(frozen=True)
class Stage:
    """The app with the cast, a beta and a stable release in it, the cookie and the form token of everybody, and what stands for <name>."""

    app: Flask
    cookies: dict[str, tuple[str, str]]
    values: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def stage(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """SQLite alone: which database lies below decides nothing here. All of it happened before the tests' clock begins."""
    with time_machine.travel(BEFORE, tick=True):
        data_dir = tmp_path_factory.mktemp("roles")
        shutil.copyfile(sqlite_template, data_dir / "portal.db")
        app = create_app(make_settings(data_dir))
        with app.app_context():
            cast = assemble(BEFORE)
            values = furnish(cast)
        cookies = {name: sign_in(app, who) for name, who in CAST.items()}
    yield Stage(app, cookies, values)
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


def furnish(cast: Cast) -> dict[str, dict[str, Any]]:
    """Publish a beta and a stable release, write an item that the beta brings; return what stands for <name>, by member of the cast."""
    publish_release("15.2", Channel.STABLE, BEFORE)
    beta_id = publish_release("15.3b1", Channel.BETA, BEFORE)
    number = publish_terms("Tell us what you find.", BEFORE)
    item_id = board.write(cast.alice, now=BEFORE)
    with transaction() as session:
        alice = find_user(cast.alice)
        terms.accept(alice, find_contract(cast.contract).id, find_product(cast.product).id, str(number), now=BEFORE)
        links.link(item_id, beta_id, actor=find_user(cast.petra), now=BEFORE)
        attached = Attachment(
            item_id=item_id, organization_id=alice.organization_id, user_id=alice.id, filename="log.txt", created_at=BEFORE,
            **vars(store().write([b"a line of a log"], 100)),
        )  # fmt: skip
        session.add(attached)
        session.flush()
        common = {
            "product": cast.product, "filename": "studio.msi", "form": "atom", "number": cast.contract, "terms": number,
            "item_id": item_id, "attachment_id": attached.id, "contact_id": find_seat(cast.bob).id,
        }  # fmt: skip
        own = {"number": cast.lapsed_contract, "contact_id": find_seat(cast.dave).id}
    return {**dict.fromkeys(CAST, common), "lapsed": {**common, **own}}


def sign_in(app: Flask, who: str | None) -> tuple[str, str]:
    """Return the cookie of somebody who has signed in, or of a stranger, and the form token that goes with it."""
    client = app.test_client()
    token = csrf_token(client.get("/sign-in").get_data(as_text=True))
    if who is not None:
        answer = client.post("/sign-in", data={"email": getattr(Cast(), who), "password": PASSWORD, "csrf_token": token})
        assert answer.status_code == 302, f"{who} could not sign in"
        token = csrf_token(client.get("/account/").get_data(as_text=True))
    cookie = client.get_cookie("portal")
    assert cookie is not None
    return cookie.value, token


@pytest.fixture
def harmless(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Views are stubs where they decide nothing, and nothing is kept of what the others write."""
    for endpoint, view in stage.app.view_functions.items():
        if DECIDES_ITSELF.fullmatch(endpoint.rpartition(".")[0]):
            continue

        def empty(**arguments: Any) -> tuple[str, int]:
            return "", 204

        if hasattr(view, "portal_guard"):
            empty.portal_guard = view.portal_guard  # type: ignore[attr-defined]
        monkeypatch.setitem(stage.app.view_functions, endpoint, empty)

    def take_back(session: Session) -> None:
        session.flush()
        session.rollback()

    monkeypatch.setattr(Session, "commit", take_back)
    return stage


def ask(stage: Stage, member: str, door: Door, rule: Rule) -> str:
    """Return whether the member of the cast is let in by this door."""
    values = {"version": "15.2" if rule.endpoint.startswith("releases") else "15.3b1", **stage.values[member]}
    if rule.endpoint == "beta.read_terms":
        values["number"] = values["terms"]
    if rule.endpoint.startswith("feedback_attachments"):
        values["filename"] = "log.txt"
    path = re.sub(r"<any\(([a-z]+)[^>]*>", r"\1", rule.rule)
    path = re.sub(r"<(?:[^<>]*:)?([a-z_]+)>", lambda match: str(values.get(match[1], 1)), path)
    client = stage.app.test_client()
    cookie, token = stage.cookies[member]
    client.set_cookie("portal", cookie)
    answer = client.open(path, method=door[0], data=None if door[0] == "GET" else {**SENT, "csrf_token": token})
    is_asked_to_sign_in = answer.status_code in {302, 303} and answer.headers["Location"].startswith("/sign-in")
    return NO if is_asked_to_sign_in or answer.status_code in {401, 403, 404} else YES


def test_the_table_names_every_address_and_no_other(stage: Stage) -> None:
    """A new address belongs into the table; the message holds its row as the code has it now."""
    table, real = read_table(), dict(doors(stage.app))
    assert set(table) - set(real) == set(), "these are gone"
    missing = [door for door in real if door not in table]
    assert missing == [], "add to docs/roles.md who may do this"


@pytest.mark.parametrize("member", CAST)
def test_everybody_may_do_what_the_table_says_and_nothing_else(harmless: Stage, member: str) -> None:
    table = read_table()
    wrong = []
    for door, rule in doors(harmless.app):
        if door in table and (found := ask(harmless, member, door, rule)) != table[door][member]:
            wrong.append(f"{door[0]} {door[1]}: {member} is {'let in' if found == YES else 'kept out'}")
    assert wrong == []
