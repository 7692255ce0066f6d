"""Who gets stable builds is a setting of the product; the machinery is that of the betas."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from portal.account import access_tokens, contracts
from portal.database import db, transaction
from portal.products.catalog import find_product
from portal.products.models import StableAccess
from portal.releases import publishing
from portal.releases.models import Download
from tests.builds import CONTENT, find_contract, find_seat, find_user
from tests.cast import Cast
from tests.conftest import NOW

SignIn = Callable[[str], FlaskClient]
FILE = "/releases/macro-studio/15.2.1/download/studio.msi"

OPEN_TO: dict[StableAccess, set[str | None]] = {
    StableAccess.PUBLIC: {None, "alice", "carol", "dave", "erin", "frank", "anton"},
    StableAccess.CUSTOMERS: {"alice", "carol", "dave", "erin", "frank", "anton"},
    StableAccess.PRIORITY: {"alice", "carol", "anton"},
}


def open_to(app: Flask, cast: Cast, access: StableAccess) -> None:
    with app.app_context(), transaction():
        find_product(cast.product).stable_access = access


def entries(app: Flask) -> list[Download]:
    with app.app_context():
        return list(db.session.scalars(sa.select(Download)))


@pytest.mark.parametrize("access", StableAccess)
def test_the_products_setting_decides(app: Flask, cast: Cast, stable: int, sign_in: SignIn, access: StableAccess) -> None:
    open_to(app, cast, access)
    for who in (None, "alice", "carol", "dave", "erin", "frank", "anton"):
        client = sign_in(getattr(cast, who)) if who else app.test_client()
        for headers, status, content in (({}, 200, CONTENT), ({"Range": "bytes=5-9"}, 206, CONTENT[5:10])):
            answer = client.get(FILE, headers=headers)
            if who in OPEN_TO[access]:
                assert (answer.status_code, answer.data) == (status, content), who
            else:
                assert answer.status_code == (403 if who else 302), who
                assert CONTENT[5:10] not in answer.data
    with app.app_context():
        live = {find_contract(number).id for number in (cast.contract, cast.other_contract)}
    assert {entry.contract_id for entry in entries(app)} == {*live, None}
    assert len(entries(app)) == len(OPEN_TO[access] - {None})


def test_a_stranger_is_sent_to_sign_in_and_back(client: FlaskClient, stable: int) -> None:
    answer = client.get(FILE)
    assert (answer.status_code, answer.headers["Location"]) == (302, f"/sign-in?next={FILE}")


def test_the_refused_are_told_why(app: Flask, cast: Cast, stable: int, sign_in: SignIn) -> None:
    open_to(app, cast, StableAccess.PRIORITY)
    page = sign_in(cast.dave).get(FILE).get_data(as_text=True)
    assert "The builds of Macro Studio are not open to you" in page
    assert "The contract has ended." in page


def test_a_lapsed_customers_token_still_fetches_stable_builds(app: Flask, cast: Cast, stable: int) -> None:
    with app.app_context(), transaction():
        token = access_tokens.create(find_seat(cast.dave).id, "curl", actor=find_user(cast.dave), now=NOW)
    headers = {"Authorization": f"Bearer {token}"}
    assert app.test_client().get(FILE, headers=headers).data == CONTENT
    open_to(app, cast, StableAccess.PRIORITY)
    answer = app.test_client().get(FILE, headers=headers)
    assert answer.status_code == 403
    assert answer.get_data(as_text=True).startswith("The builds of Macro Studio are not open to you.\nThe contract has ended.\n")


def test_priority_ends_at_the_very_next_range(app: Flask, cast: Cast, stable: int, sign_in: SignIn) -> None:
    open_to(app, cast, StableAccess.PRIORITY)
    alice = sign_in(cast.alice)
    assert alice.get(FILE, headers={"Range": "bytes=0-9"}).status_code == 206
    with app.app_context(), transaction():
        contracts.suspend(find_contract(cast.contract), actor=None, now=NOW)
    assert alice.get(FILE, headers={"Range": "bytes=10-19"}).status_code == 403


def test_a_closed_account_gets_nothing(app: Flask, cast: Cast, stable: int, sign_in: SignIn) -> None:
    erin = sign_in(cast.erin)
    assert erin.get(FILE).status_code == 200
    with app.app_context(), transaction():
        find_user(cast.erin).active = False
    assert erin.get(FILE).status_code == 302


def test_a_withdrawn_release_gives_no_byte(app: Flask, cast: Cast, stable: int, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    with app.app_context(), transaction():
        publishing.withdraw(stable, "It can lose macros.", actor=None, now=NOW)
    answer = alice.get(FILE)
    assert answer.status_code == 410
    assert "It can lose macros." in answer.get_data(as_text=True)


@pytest.mark.parametrize(
    "path",
    ["/releases/macro-studio/15.2.1/download/other.msi", "/releases/macro-studio/9.9/download/studio.msi",
     "/releases/nothing/15.2.1/download/studio.msi", "/beta/macro-studio/15.2.1/download/studio.msi",
     "/releases/macro-studio/15.2.1/download/..%2f..%2fportal.db", "/releases/macro-studio/15.2.1/download/%00"],
)  # fmt: skip
def test_what_is_not_there_is_not_found(cast: Cast, stable: int, sign_in: SignIn, path: str) -> None:
    assert sign_in(cast.alice).get(path).status_code == 404


def test_no_connection_is_held_while_a_file_is_sent(app: Flask, cast: Cast, stable: int, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    answer = alice.get(FILE, buffered=False)
    with app.app_context():
        pool = db.engine.pool
    assert isinstance(pool, sa.QueuePool)
    assert pool.checkedout() == 0
    assert answer.get_data() == CONTENT
    answer.close()
    assert pool.checkedout() == 0


def test_the_servers_own_wrapper_reaches_the_server_untouched(app: Flask, cast: Cast, stable: int) -> None:
    """Else gunicorn would not use sendfile, for a range as for the whole."""
    open_to(app, cast, StableAccess.PUBLIC)

    class Wrapper:
        def __init__(self, part: object, block_bytes: int) -> None:
            self.part = part

    for headers in ({}, {"HTTP_RANGE": "bytes=5-9"}):
        environ = {**app.test_request_context(FILE).request.environ, **headers, "wsgi.file_wrapper": Wrapper}
        assert isinstance(app.wsgi_app(environ, lambda *_: lambda _: None), Wrapper)
