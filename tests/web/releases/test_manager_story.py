"""A release manager's way from nothing to a published release, by the real forms."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from portal.database import db, transaction
from portal.notices.models import Delivery, Notice, Subscription
from portal.releases import builds, catalog
from portal.releases.models import Channel, ReleaseState
from portal.storage import store
from tests.builds import publish_release
from tests.cast import Cast
from tests.conftest import NOW
from tests.web.releases.helpers import DRAFT, MSI, STAFF, revision, send, upload

SignIn = Callable[[str], FlaskClient]
WORDS: dict[str, Any] = {
    "summary": "Pause macros",
    "notes": "## New\n\n* **Pause**",
    "known_issues": "* One",
    "what_to_test": "1. Pause a macro",
}


def make_draft(client: FlaskClient, **changes: str) -> str:
    data = {"product": "macro-studio", "version": "v15.3-b.2", "channel": "beta", "kind": "", **WORDS, **changes}
    answer = send(client, f"{STAFF}/new", follow=False, **data)
    assert answer.status_code == 303, answer.get_data(as_text=True)
    return str(answer.location)


def test_from_draft_to_mails_in_the_outbox(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    paula = sign_in(cast.paula)
    assert make_draft(paula) == DRAFT
    page = paula.get(DRAFT).get_data(as_text=True)
    assert "Publish to 3 people" in page
    assert 'aria-disabled="true"' in page
    assert "Add a build first" in page

    page = upload(paula, MSI, "MacroStudio-15.3b2.msi", platform="Windows 64-bit").get_data(as_text=True)
    assert "MacroStudio-15.3b2.msi is uploaded." in page
    with app.app_context():
        build = catalog.find_release("macro-studio", "15.3b2").builds[0]
        assert build.sha256 in page
        assert b"".join(store().read(build.sha256)) == MSI

    assert 'aria-disabled="true"' not in page
    assert "4 match: 3 will get it, 1 will not." in page
    assert "contract ended" in page
    answer = send(paula, f"{DRAFT}publish", page=DRAFT, revision=revision(paula))
    page = answer.get_data(as_text=True)
    assert "is published" in page
    assert "Notice for 15.3b2" in page
    with app.app_context():
        assert catalog.find_release("macro-studio", "15.3b2").state is ReleaseState.PUBLISHED
        assert sorted(db.session.scalars(sa.select(Delivery.address))) == [cast.alice, cast.bob, cast.carol]


def test_a_release_that_concerns_nobody_says_so_and_is_published_all_the_same(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    paula = sign_in(cast.paula)
    make_draft(paula)
    upload(paula)
    with app.app_context(), transaction():
        db.session.execute(sa.delete(Subscription))
    page = paula.get(DRAFT).text
    assert "Nobody will get a mail" in page
    assert "none will get it, 4 will not." in page
    assert "Publish without mail" in page
    assert 'aria-disabled="true"' not in page
    page = send(paula, f"{DRAFT}publish", page=DRAFT, revision=revision(paula)).text
    assert "is published" in page
    assert "Nobody matched when it was made, so nobody is mailed." in page


def test_a_double_click_publishes_once_and_shows_the_published_page(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    paula = sign_in(cast.paula)
    make_draft(paula)
    upload(paula)
    seen = revision(paula)
    first = send(paula, f"{DRAFT}publish", page=DRAFT, revision=seen)
    second = send(paula, f"{DRAFT}publish", page=f"{STAFF}/new", revision=seen)
    assert (first.status_code, second.status_code) == (200, 200)
    assert "Notice for 15.3b2" in second.get_data(as_text=True)
    assert "error" not in second.get_data(as_text=True).lower().partition("<main")[2].partition("Summary")[0]
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Notice).where(Notice.kind == "release")) == 1
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Delivery)) == 3


def test_a_draft_without_a_build_is_not_published_by_any_request(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    paula = sign_in(cast.paula)
    make_draft(paula)
    page = send(paula, f"{DRAFT}publish", page=DRAFT, revision=revision(paula)).get_data(as_text=True)
    assert "Add a build first" in page
    with app.app_context():
        assert catalog.find_release("macro-studio", "15.3b2").state is ReleaseState.DRAFT


def test_publishing_what_was_changed_meanwhile_is_refused(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    paula = sign_in(cast.paula)
    make_draft(paula)
    upload(paula)
    seen = revision(paula)
    upload(paula, name="more.msi")
    page = send(paula, f"{DRAFT}publish", page=DRAFT, revision=seen).get_data(as_text=True)
    assert "changed after you opened it" in page
    for nonsense in ("", "x", "99999999999999999999"):
        send(paula, f"{DRAFT}publish", page=DRAFT, revision=nonsense)
    with app.app_context():
        assert catalog.find_release("macro-studio", "15.3b2").state is ReleaseState.DRAFT


def test_the_mail_is_shown_as_it_will_go_out_and_a_test_goes_to_the_manager_alone(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    paula = sign_in(cast.paula)
    make_draft(paula)
    html = paula.get(f"{DRAFT}mail.html")
    assert "Pause a macro" in html.get_data(as_text=True)
    assert "sandbox" in html.headers["Content-Security-Policy"]
    assert "script-src" not in html.headers["Content-Security-Policy"]
    text = paula.get(f"{DRAFT}mail.txt")
    assert text.mimetype == "text/plain"
    assert "Subject: Macro Studio 15.3b2: beta ready to test" in text.get_data(as_text=True)
    assert f"A test is on its way to {cast.paula}" in send(paula, f"{DRAFT}test", page=DRAFT).get_data(as_text=True)
    with app.app_context():
        assert list(db.session.scalars(sa.select(Delivery.address))) == [cast.paula]


def test_notes_are_corrected_after_publishing_and_the_page_says_when(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        publish_release("15.2.1", Channel.STABLE, NOW)
    paula = sign_in(cast.paula)
    here = f"{STAFF}/macro-studio/15.2.1/"
    page = paula.get(f"{here}edit").get_data(as_text=True)
    assert 'name="version"' not in page
    seen = page.partition('name="revision" type="hidden" value="')[2].partition('"')[0]
    with app.app_context():
        before = db.session.scalar(sa.select(sa.func.count()).select_from(Delivery))
    answer = send(paula, f"{here}edit", revision=seen, **{**WORDS, "notes": "Corrected notes."})
    assert "Nobody was mailed again" in answer.get_data(as_text=True)
    public = app.test_client().get("/releases/macro-studio/15.2.1/").get_data(as_text=True)
    assert "Corrected notes." in public
    assert "Corrected on" in public
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Delivery)) == before


def test_the_second_editor_is_told_and_keeps_what_was_typed(cast: Cast, sign_in: SignIn) -> None:
    paula = sign_in(cast.paula)
    make_draft(paula)
    seen = paula.get(f"{DRAFT}edit").get_data(as_text=True).partition('name="revision" type="hidden" value="')[2].partition('"')[0]
    fields: dict[str, Any] = {"version": "15.3b2", "channel": "beta", "kind": "", "revision": seen}
    assert send(paula, f"{DRAFT}edit", follow=False, **fields, **{**WORDS, "notes": "first"}).status_code == 303
    answer = send(paula, f"{DRAFT}edit", **fields, **{**WORDS, "notes": "my long text"})
    page = answer.get_data(as_text=True)
    assert answer.status_code == 409
    assert "Somebody else saved this while you were writing." in page
    assert "my long text" in page
    assert "<p>first</p>" in page
    fields["revision"] = page.partition('name="revision" type="hidden" value="')[2].partition('"')[0]
    assert send(paula, f"{DRAFT}edit", follow=False, **fields, **{**WORDS, "notes": "both"}).status_code == 303


def test_who_edits_a_draft_while_it_is_published_is_told(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    paula = sign_in(cast.paula)
    make_draft(paula)
    upload(paula)
    seen = paula.get(f"{DRAFT}edit").text.partition('name="revision" type="hidden" value="')[2].partition('"')[0]
    send(paula, f"{DRAFT}publish", page=DRAFT, revision=revision(paula))
    answer = send(paula, f"{DRAFT}edit", version="15.3b7", channel="beta", kind="", revision=seen, **{**WORDS, "notes": "late"})
    assert answer.status_code == 409
    assert "late" in answer.text
    assert paula.get(f"{DRAFT}discard").status_code == 303


def test_the_preview_works_with_and_without_javascript(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    paula = sign_in(cast.paula)
    part = send(paula, f"{STAFF}/preview", page=f"{STAFF}/new", notes="**bold** <b>raw</b>").get_data(as_text=True)
    assert "<strong>bold</strong>" in part
    assert "<b>raw" not in part
    page = send(paula, f"{STAFF}/new", preview="1", version="15.3b9", channel="beta", notes="**bold**").get_data(as_text=True)
    assert "<strong>bold</strong>" in page
    assert 'value="15.3b9"' in page
    with app.app_context():
        assert catalog.drafts() == []


def test_a_withdrawal_asks_for_its_reason_and_leaves_a_tombstone(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        publish_release("15.2.1", Channel.STABLE, NOW)
    paula, here = sign_in(cast.paula), f"{STAFF}/macro-studio/15.2.1/"
    assert send(paula, f"{here}withdraw", reason=" ").status_code == 400
    page = send(paula, f"{here}withdraw", reason="The installer removes macros.", tell_downloaders="y").get_data(as_text=True)
    assert "is withdrawn" in page
    answer = app.test_client().get("/releases/macro-studio/15.2.1/")
    assert answer.status_code == 200
    assert "The installer removes macros." in answer.get_data(as_text=True)
    assert "forty percent" not in answer.get_data(as_text=True)


def test_a_draft_is_discarded_after_asking(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    paula = sign_in(cast.paula)
    make_draft(paula)
    upload(paula)
    assert "removed for good" in paula.get(f"{DRAFT}discard").get_data(as_text=True)
    assert "is discarded" in send(paula, f"{DRAFT}discard").get_data(as_text=True)
    assert paula.get(DRAFT).status_code == 404


def test_a_build_is_removed_from_a_draft(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    paula = sign_in(cast.paula)
    make_draft(paula)
    upload(paula)
    with app.app_context():
        build_id = builds.find_build(catalog.find_release("macro-studio", "15.3b2"), "studio.msi").id
    assert "No build yet" in send(paula, f"{DRAFT}builds/{build_id}/remove", page=DRAFT).get_data(as_text=True)
    for unknown in (build_id, 10**30):
        assert send(paula, f"{DRAFT}builds/{unknown}/remove", page=DRAFT).status_code == 404


def test_the_list_of_people_says_why_not(cast: Cast, sign_in: SignIn) -> None:
    paula = sign_in(cast.paula)
    make_draft(paula)
    page = paula.get(f"{DRAFT}audience").get_data(as_text=True)
    assert cast.alice in page
    assert "No: contract ended" in page
    assert paula.get(f"{DRAFT}audience?after=%00").status_code == 200
