"""The betas' pages as a subscriber meets them: list, one beta, terms, downloads."""

import hashlib
from collections.abc import Callable
from datetime import date

import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal.account import access_tokens, contracts
from portal.database import db, transaction
from portal.releases import publishing
from portal.releases.models import Channel, Download
from tests.builds import CONTENT, NOTES, find_contract, find_seat, find_user, publish_release, publish_terms
from tests.cast import Cast
from tests.conftest import NOW, csrf_token
from tests.statements import statements

SignIn = Callable[[str], FlaskClient]

PAGE = "/beta/macro-studio/15.3b2/"
FILE = f"{PAGE}download/studio-x64.msi"
TERMS = "Use it on **test machines** only."


def text(answer: TestResponse) -> str:
    return " ".join(answer.get_data(as_text=True).replace("\u00a0", " ").split())


def downloads(app: Flask) -> list[tuple[str, str | None, bool]]:
    """Who took something, under which contract, and whether all of it was sent."""
    with app.app_context():
        entries = db.session.scalars(sa.select(Download).order_by(Download.id)).all()
        return [(str(entry.user_id), str(entry.contract_id), entry.completed_at is not None) for entry in entries]


def take(answer: TestResponse) -> bytes:
    """Read an answer to its end, as a download does."""
    content = answer.get_data()
    answer.close()
    return content


def accept(client: FlaskClient, page: str = PAGE, **fields: str) -> TestResponse:
    token = csrf_token(client.get(page).get_data(as_text=True))
    return client.post(page, data={"csrf_token": token, **fields})


def test_the_list_shows_the_betas_of_the_readers_products(app: Flask, cast: Cast, beta: int, sign_in: SignIn) -> None:
    with app.app_context():
        publish_release("4.0b1", Channel.BETA, NOW, product=cast.other_product)
    page = text(sign_in(cast.alice).get("/beta/"))
    assert f'href="{PAGE}"' in page
    assert "Macro Studio 15.3 beta 2" in page
    assert "Form Filler" not in page
    assert "Form Filler 4.0 beta 1" in text(sign_in(cast.frank).get("/beta/"))
    staff = text(sign_in(cast.petra).get("/beta/"))
    assert "Macro Studio 15.3 beta 2" in staff
    assert "Form Filler 4.0 beta 1" in staff


def test_the_list_takes_as_many_statements_for_one_beta_as_for_ten(app: Flask, cast: Cast, beta: int, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    counts = []
    for versions in ((), [f"15.4b{number}" for number in range(1, 10)]):
        with app.app_context():
            for version in versions:
                publish_release(version, Channel.BETA, NOW)
        alice.get("/beta/")
        with statements(app) as seen:
            alice.get("/beta/")
        counts.append(len(seen))
    assert counts[0] == counts[1]


def test_without_a_beta_the_list_says_what_shipped_last(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        publish_release("15.2.1", Channel.STABLE, NOW)
    page = text(sign_in(cast.alice).get("/beta/"))
    assert "No beta right now." in page
    assert "Macro Studio 15.2.1 shipped on" in page
    assert "We write to you when the next one opens." in page


def test_the_refused_are_told_what_stays_open_to_them(app: Flask, cast: Cast, beta: int, sign_in: SignIn) -> None:
    with app.app_context():
        publish_release("15.2.1", Channel.STABLE, NOW)
    answer = sign_in(cast.dave).get("/beta/")
    assert answer.status_code == 403
    assert "The contract has ended." in text(answer)
    assert "/releases/macro-studio/15.2.1/" in text(answer)


def test_the_page_shows_everything_a_tester_needs(sign_in: SignIn, cast: Cast, beta: int) -> None:
    page = text(sign_in(cast.alice).get(PAGE))
    digest = hashlib.sha256(CONTENT).hexdigest()
    for expected in (
        "<h1>Macro Studio 15.3 beta 2</h1>", "24 November 2026", "31 January 2027", "in 68 days", "Not for production",
        "studio-x64.msi", "Größe “neu”.zip", digest, "Get-FileHash", "sha256sum -c", "curl --fail -C -",
        f"http://127.0.0.1:8000{FILE}", "/account/security/", NOTES, "Pausing takes eight seconds.", "Pause a macro.",
        "/feedback/new?product=macro-studio&amp;version=15.3b2",
    ):  # fmt: skip
        assert expected in page, expected


def test_another_spelling_of_the_version_leads_to_the_page(sign_in: SignIn, cast: Cast, beta: int) -> None:
    answer = sign_in(cast.alice).get("/beta/macro-studio/v15.3-beta.2/")
    assert (answer.status_code, answer.headers["Location"]) == (301, PAGE)


def test_without_terms_downloads_start_at_once(app: Flask, sign_in: SignIn, cast: Cast, beta: int) -> None:
    alice = sign_in(cast.alice)
    assert "Accept the beta terms" not in text(alice.get(PAGE))
    assert take(alice.get(FILE)) == CONTENT
    with app.app_context():
        expected = (str(find_user(cast.alice).id), str(find_contract(cast.contract).id), True)
    assert downloads(app) == [expected]


def test_terms_come_before_the_first_download_and_only_once(app: Flask, sign_in: SignIn, cast: Cast, beta: int) -> None:
    with app.app_context():
        publish_terms(TERMS, NOW)
    alice = sign_in(cast.alice)
    page = text(alice.get(PAGE))
    assert "Accept the beta terms to download" in page
    assert "on behalf of Example Logistics" in page
    assert "<strong>test machines</strong>" in page
    assert "Accept terms first" in page
    answer = alice.get(FILE)
    assert (answer.status_code, answer.headers["Location"]) == (302, PAGE)
    assert downloads(app) == []

    assert accept(alice, accept_terms="y", terms_version="1").status_code == 303
    page = text(alice.get(PAGE))
    assert "Beta terms accepted." in page
    assert "You accepted version 1 for Example Logistics on" in page
    assert "Accept terms first" not in page
    assert alice.get(FILE).data == CONTENT
    assert sign_in(cast.bob).get(FILE).status_code == 302

    with app.app_context():
        publish_terms("New terms.", NOW)
    assert alice.get(FILE).status_code == 302


def test_a_box_that_is_not_ticked_is_asked_for(app: Flask, sign_in: SignIn, cast: Cast, beta: int) -> None:
    with app.app_context():
        publish_terms(TERMS, NOW)
    alice = sign_in(cast.alice)
    answer = accept(alice, terms_version="1")
    assert answer.status_code == 400
    assert "Tick the box" in text(answer)
    assert alice.get(FILE).status_code == 302


def test_terms_that_changed_while_they_were_read_are_shown_again(app: Flask, sign_in: SignIn, cast: Cast, beta: int) -> None:
    with app.app_context():
        publish_terms(TERMS, NOW)
        publish_terms("New terms.", NOW)
    alice = sign_in(cast.alice)
    answer = accept(alice, accept_terms="y", terms_version="1")
    assert answer.status_code == 400
    assert "The beta terms changed while you read them." in text(answer)
    assert alice.get(FILE).status_code == 302
    assert accept(alice, accept_terms="y").status_code == 303
    assert alice.get(FILE).data == CONTENT


def test_the_terms_can_be_read_by_the_entitled_alone(app: Flask, sign_in: SignIn, cast: Cast, beta: int) -> None:
    with app.app_context():
        publish_terms(TERMS, NOW)
        publish_terms("New terms.", NOW)
    alice = sign_in(cast.alice)
    assert "There is a newer version." in text(alice.get("/beta/macro-studio/terms/1/"))
    assert "There is a newer version." not in text(alice.get("/beta/macro-studio/terms/2/"))
    assert alice.get("/beta/macro-studio/terms/3/").status_code == 404
    assert alice.get("/beta/macro-studio/terms/999999999999999999999/").status_code == 404
    answer = sign_in(cast.dave).get("/beta/macro-studio/terms/1/")
    assert answer.status_code == 403
    assert "test machines" not in text(answer)


def test_a_program_without_accepted_terms_is_told_where_to_accept_them(app: Flask, cast: Cast, beta: int) -> None:
    with app.app_context():
        publish_terms(TERMS, NOW)
        with transaction():
            token = access_tokens.create(find_seat(cast.alice).id, "curl", actor=find_user(cast.alice), now=NOW)
    answer = app.test_client().get(FILE, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 403
    assert answer.content_type.startswith("text/plain")
    assert f"http://127.0.0.1:8000{PAGE}" in answer.get_data(as_text=True)


def test_a_token_and_a_browser_share_one_entry_of_the_ledger(app: Flask, cast: Cast, beta: int, sign_in: SignIn) -> None:
    with app.app_context(), transaction():
        token = access_tokens.create(find_seat(cast.alice).id, "curl", actor=find_user(cast.alice), now=NOW)
    alice = sign_in(cast.alice)
    take(alice.get(FILE, headers={"Range": "bytes=0-49999"}))
    assert [complete for *_, complete in downloads(app)] == [False]
    take(app.test_client().get(FILE, headers={"Range": "bytes=50000-", "Authorization": f"bearer  {token} "}))
    assert [complete for *_, complete in downloads(app)] == [True]


def test_a_head_and_a_refused_condition_leave_no_entry(app: Flask, cast: Cast, beta: int, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    head = alice.head(FILE)
    assert (head.status_code, head.headers["Content-Length"], head.data) == (200, str(len(CONTENT)), b"")
    assert alice.get(FILE, headers={"Range": "bytes=100000-"}).status_code == 416
    assert alice.get(FILE, headers={"If-None-Match": head.headers["ETag"]}).status_code == 304
    assert downloads(app) == []


def test_a_file_arrives_under_its_name(cast: Cast, beta: int, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    answer = alice.get(f"{PAGE}download/Größe “neu”.zip")
    assert answer.data == CONTENT[::-1]
    assert answer.headers["Content-Disposition"].endswith("filename*=UTF-8''Gr%C3%B6%C3%9Fe%20%E2%80%9Cneu%E2%80%9D.zip")
    # macOS sends names in decomposed form.
    assert alice.get(f"{PAGE}download/Gro\u0308ße “neu”.zip").status_code == 200


def test_staff_download_without_terms_and_under_no_contract(app: Flask, cast: Cast, beta: int, sign_in: SignIn) -> None:
    with app.app_context():
        publish_terms(TERMS, NOW)
        paula = str(find_user(cast.paula).id)
    for email in (cast.paula, cast.petra, cast.ada):
        client = sign_in(email)
        assert "Accept the beta terms" not in text(client.get(PAGE))
        assert client.get(FILE).data == CONTENT
    assert downloads(app)[0][:2] == (paula, "None")


def test_after_its_last_day_a_beta_can_be_read_about_but_not_downloaded(app: Flask, cast: Cast, beta: int, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    with app.app_context(), transaction():
        contracts.renew(find_contract(cast.contract), actor=None, now=NOW)
    with time_machine.travel("2027-01-31T22:30:00+00:00"):
        alice = sign_in(cast.alice)
        assert alice.get(FILE).data == CONTENT
    with time_machine.travel("2027-01-31T23:30:00+00:00"):
        alice = sign_in(cast.alice)
        page = text(alice.get(PAGE))
        assert "This beta has expired." in page
        assert NOTES in page
        assert f'href="{FILE}"' not in page
        answer = alice.get(FILE, headers={"Range": "bytes=0-9"})
        assert answer.status_code == 410
        assert "This beta has expired" in text(answer)
        assert "Expired" in text(alice.get("/beta/"))


def test_a_withdrawn_beta_leaves_a_page_that_says_why(app: Flask, cast: Cast, beta: int, sign_in: SignIn) -> None:
    alice, dave = sign_in(cast.alice), sign_in(cast.dave)
    with app.app_context(), transaction():
        publishing.withdraw(beta, "It can lose macros.", actor=None, now=NOW)
    answer = alice.get(PAGE)
    assert answer.status_code == 410
    assert "Macro Studio 15.3 beta 2 was withdrawn" in text(answer)
    assert "It can lose macros." in text(answer)
    assert NOTES not in text(answer)
    answer = alice.get(FILE, headers={"Range": "bytes=0-9"})
    assert answer.status_code == 410
    assert CONTENT[:10] not in answer.data
    assert "15.3" not in text(alice.get("/beta/"))
    assert "lose macros" not in text(dave.get(PAGE))


def test_missing_bytes_are_our_failure_and_are_not_recorded(app: Flask, cast: Cast, beta: int, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    with app.app_context():
        app.extensions["portal.storage"].path(hashlib.sha256(CONTENT).hexdigest()).unlink()
    assert alice.get(FILE).status_code == 503
    assert downloads(app) == []


@pytest.mark.parametrize("expires_on", [None, date(2027, 3, 1)])
def test_a_beta_says_until_when_it_runs_only_if_it_ends(app: Flask, cast: Cast, sign_in: SignIn, expires_on: date | None) -> None:
    with app.app_context():
        publish_release("15.4b1", Channel.BETA, NOW, expires_on=expires_on)
    page = text(sign_in(cast.alice).get("/beta/macro-studio/15.4b1/"))
    assert ("It runs until" in page) is (expires_on is not None)
