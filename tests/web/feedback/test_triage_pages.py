"""Product staff at work by the real forms: sort, tag, merge and tell apart, note a caller's vote; and what subscribers see of it."""

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.database import transaction
from portal.feedback import triage
from portal.feedback.models import Status, Visibility
from tests.board import answer, comment, merge, person, release, vote, write
from tests.cast import Cast
from tests.conftest import NOW, csrf_token
from tests.web.feedback.pages import forms, send, text, words

SignIn = Callable[[str], FlaskClient]


def token(client: FlaskClient) -> str:
    return csrf_token(text(client, "/releases/"))


def test_tags_are_put_on_renamed_and_removed_and_no_subscriber_sees_them(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        write(cast.alice, "Pause a macro")
    petra, ada, alice = (sign_in(email) for email in (cast.petra, cast.ada, cast.alice))
    assert send(petra, "/staff/feedback/1/", "/staff/feedback/1/tags", tag="Scheduler zebra").status_code == 302
    for page in ("/staff/feedback/1/", "/staff/feedback/", "/staff/feedback/?view=all&tag=1", "/staff/feedback/tags/"):
        assert "Scheduler zebra" in words(text(petra, page)), page
    assert "Nothing matches" in words(text(petra, "/staff/feedback/?view=all&tag=99"))
    for page in ("/feedback/", "/feedback/1/", "/feedback/?q=zebra", "/feedback/roadmap/", "/account/data/"):
        assert "Scheduler" not in text(alice, page), page

    stale = forms(text(ada, "/staff/feedback/tags/1/"))["/staff/feedback/tags/1/"]
    assert send(petra, "/staff/feedback/tags/1/", "/staff/feedback/tags/1/", name="Schedules").status_code == 302
    refused = ada.post("/staff/feedback/tags/1/", data={**stale, "name": "Timer"})
    assert refused.status_code == 409
    assert "Somebody renamed this tag to “Schedules” in the meantime" in words(refused.get_data(as_text=True))
    again = forms(refused.get_data(as_text=True))["/staff/feedback/tags/1/"]
    assert again["name"] == "Timer"
    assert ada.post("/staff/feedback/tags/1/", data=again).status_code == 302

    refused = send(petra, "/staff/feedback/1/", "/staff/feedback/1/tags", tag="x" * 41)
    assert refused.status_code == 400
    assert "The tag has 41 characters; 40 is the most." in words(refused.get_data(as_text=True))
    send(petra, "/staff/feedback/1/", "/staff/feedback/1/tags/1/remove")
    assert "None yet." in words(text(petra, "/staff/feedback/1/"))
    send(petra, "/staff/feedback/tags/1/", "/staff/feedback/tags/1/remove")
    assert "No tags yet." in words(text(petra, "/staff/feedback/tags/"))
    text(petra, "/staff/feedback/tags/1/", 404)


def test_the_second_who_gives_an_item_to_somebody_is_told(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        write(cast.alice, "Pause a macro")
        petra_id, ada_id = person(cast.petra).id, person(cast.ada).id
    petra, ada = sign_in(cast.petra), sign_in(cast.ada)
    stale = forms(text(ada, "/staff/feedback/1/"))["/staff/feedback/1/assign"]
    send(petra, "/staff/feedback/1/", "/staff/feedback/1/assign", assignee=str(petra_id))
    ada.post("/staff/feedback/1/assign", data={**stale, "assignee": str(ada_id)})
    assert "Somebody gave this to Petra Example in the meantime" in words(text(ada, "/staff/feedback/1/"))
    assert "Pause a macro" in words(text(petra, "/staff/feedback/?view=mine"))
    assert "You look after nothing now." in words(text(ada, "/staff/feedback/?view=mine"))
    for nonsense in ("x", "999999999999999999999", "-1"):
        assert petra.post("/staff/feedback/1/assign", data={**stale, "assignee": nonsense}).status_code in {302, 400}


def test_two_items_are_compared_merged_and_told_apart(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        old, new = write(cast.alice, "Pause macros"), write(cast.carol, "Pause a macro from the tray")
        comment(cast.alice, old, "Said of the old one")
        vote(cast.carol, old)
    petra, ada, alice, carol = (sign_in(email) for email in (cast.petra, cast.ada, cast.alice, cast.carol))
    page = words(text(petra, f"/staff/feedback/{old}/"))
    assert "Pause a macro from the tray" in page
    assert "Together 2 contracts, because 1 voted for both" in page
    form = f"/staff/feedback/{old}/merge/{new}"
    for typed in (str(new), f"Idea {new}", f"http://127.0.0.1/staff/feedback/{new}/"):
        assert petra.get(f"/staff/feedback/{old}/merge?into={typed}").location == form
    for typed in ("", "nothing", "0", "99", "9" * 30):
        assert petra.get(f"/staff/feedback/{old}/merge?into={typed}").location == f"/staff/feedback/{old}/#merge"
    stale = forms(text(ada, form))[form]
    answer_form = forms(text(ada, f"/staff/feedback/{old}/"))[f"/staff/feedback/{old}/answer"]
    assert send(petra, form, form).location == f"/staff/feedback/{new}/"

    again = ada.post(form, data=stale)
    assert again.status_code == 409
    assert "in the meantime, so nothing was merged" in words(again.get_data(as_text=True))
    late = ada.post(f"/staff/feedback/{old}/answer", data={**answer_form, "status": "planned", "response": "A long answer"})
    assert late.status_code == 409
    assert f"This was merged into {new} in the meantime" in words(late.get_data(as_text=True))
    assert "A long answer" in late.get_data(as_text=True)

    moved = alice.get(f"/feedback/{old}/")
    assert moved.location == f"/feedback/{new}/"
    told = words(text(alice, f"/feedback/{new}/"))
    for sentence in (f"Idea {old} was merged into this one", "2 contracts voted", "Said of the old one", "Merged into this 1 entry"):
        assert sentence in told
    assert "Alice" not in text(carol, f"/feedback/{new}/")
    assert text(alice, "/feedback/").count('class="idea"') == 1
    assert f"Merged into idea {new}." in words(text(petra, f"/staff/feedback/{old}/"))

    assert send(petra, f"/staff/feedback/{old}/", f"/staff/feedback/{old}/unmerge").location == f"/staff/feedback/{old}/"
    assert "2 contracts voted" in words(text(alice, f"/feedback/{old}/"))
    assert "1 contract voted" in words(text(alice, f"/feedback/{new}/"))
    petra.post(f"/staff/feedback/{old}/unmerge", data={"csrf_token": token(petra)})
    assert "is not merged into another item any more" in words(text(petra, f"/staff/feedback/{old}/"))

    send(petra, f"/staff/feedback/{old}/", f"/staff/feedback/{old}/not-alike")
    assert "Looks like" not in words(text(petra, f"/staff/feedback/{old}/"))
    assert "Looks like" not in words(text(petra, f"/staff/feedback/{new}/"))


def test_a_merge_that_would_leak_is_refused_with_the_way_round(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        public, private = write(cast.carol, "Public"), write(cast.alice, "Private", visibility=Visibility.PRIVATE)
    petra = sign_in(cast.petra)
    page = text(petra, f"/staff/feedback/{public}/merge/{private}")
    assert "is private to Example Logistics" in words(page)
    assert f'href="/staff/feedback/{private}/merge/{public}"' in page
    address = f"/staff/feedback/{public}/merge/{private}"
    refused = petra.post(address, data={"csrf_token": token(petra), "item_revision": "1", "target_revision": "1"})
    assert refused.status_code == 409
    assert "stays private" in words(text(petra, f"/staff/feedback/{private}/merge/{public}"))


def test_a_noted_vote_is_told_to_its_organisation_and_not_in_whose_words(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        write(cast.alice, "Pause a macro")
    petra, alice, carol = (sign_in(email) for email in (cast.petra, cast.alice, cast.carol))
    noted = {"contract": cast.other_contract, "channel": "phone", "words": "Zebra from finance called"}
    for broken, message in (
        ({"contract": cast.lapsed_contract}, "NW-1999 is not in force"),
        ({"contract": "NW-3001"}, "NW-3001 is not for Macro Studio"),
        ({"words": " "}, "Enter the words."),
        ({"channel": "pigeon"}, "Choose one of those offered."),
    ):
        refused = send(petra, "/staff/feedback/1/", "/staff/feedback/1/votes", **{**noted, **broken})
        assert refused.status_code == 400
        page = refused.get_data(as_text=True)
        assert message in words(page)
        assert all(forms(page)["/staff/feedback/1/votes"][name] == noted[name] for name in {"contract", "words"} - broken.keys())
    assert send(petra, "/staff/feedback/1/", "/staff/feedback/1/votes", **noted).status_code == 302
    assert "asked on the phone" in words(text(petra, "/staff/feedback/1/"))
    assert "“Zebra from finance called”" in words(text(petra, "/staff/feedback/1/"))

    told = text(carol, "/feedback/1/")
    assert "Noted by Northwind Automation for you on 24 November 2026 , as you asked on the phone, for contract NW-2042" in words(told)
    for reader in (alice, carol):
        page = text(reader, "/feedback/1/")
        assert "Zebra" not in page
        assert "Petra" not in page
        assert "2 contracts voted" in words(page)
    assert "Noted" not in words(text(alice, "/feedback/1/"))

    withdrawal = next(form for form in forms(text(petra, "/staff/feedback/1/")) if form.endswith("/withdraw"))
    send(petra, "/staff/feedback/1/", withdrawal)
    assert "1 contract voted" in words(text(carol, "/feedback/1/"))


def test_what_staff_know_of_contracts_and_say_among_themselves_stays_with_them(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        old, new = write(cast.alice, "Old"), write(cast.carol, "New")
        for item_id in (old, new):
            with transaction():
                triage.add_note(item_id, "Zebra: they threaten to leave", staff_only=True, actor=person(cast.petra), now=NOW)
        merge(old, new)
        answer(new, Status.PLANNED)
    readers = [sign_in(email) for email in (cast.alice, cast.carol, cast.dave)]
    pages = [
        "/",
        "/feedback/",
        f"/feedback/{new}/",
        f"/feedback/{old}/",
        f"/feedback/{new}/history",
        "/feedback/roadmap/",
        "/account/data/",
    ]
    for client in readers:
        for page in pages:
            shown = client.get(page, follow_redirects=True).get_data(as_text=True)
            for secret in ("Zebra", "USD", "495", "looked after", "Ending soon"):
                assert secret not in shown, (page, secret)
    petra = sign_in(cast.petra)
    assert words(text(petra, f"/staff/feedback/{new}/")).count("Zebra: they threaten to leave") == 2


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_inbox_opens_with_what_is_unread_and_leads_to_everything(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    petra = sign_in(cast.petra)
    assert "The inbox is empty." in words(text(petra, "/staff/feedback/"))
    with app.app_context():
        beta = release("15.3b2")
        write(cast.alice, "About the beta", version="15.3b2")
        write(cast.alice, "Secret", visibility=Visibility.PRIVATE)
    assert "2 entries wait unread. 2 entries wait for a first decision." in words(text(petra, "/staff/feedback/"))
    text(petra, "/staff/feedback/1/")
    page = words(text(petra, "/staff/feedback/"))
    assert "About the beta" not in page
    assert "Secret" in page
    assert "About the beta" in words(text(petra, "/staff/feedback/?q=beta"))  # a search looks everywhere
    everything = text(petra, "/staff/feedback/?view=all")
    for sort in ("contracts", "value", "ending", "severity"):
        assert f"sort={sort}" in everything
        assert 'aria-sort="descending"' in text(petra, f"/staff/feedback/?view=all&sort={sort}")
    assert "Secret" not in words(text(petra, f"/staff/feedback/?view=all&release={beta}"))
    for odd in ("view=x", "sort=x", "tag=x", f"tag={10**30}", "tag=-1", "release=0", f"release={2**31}", "kind=x", "q=%00", "after=x"):
        assert text(petra, f"/staff/feedback/?{odd}"), odd


def test_the_roadmap_is_linked_from_the_board_and_lapsed_readers_find_no_beta_on_it(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        beta = release("15.3b2")
        answer(write(cast.alice, "Pause a macro"), Status.IN_BETA, release_id=beta)
        answer(write(cast.alice, "Crash of the beta", version="15.3b2"), Status.PLANNED)
    carol, dave, erin = (sign_in(email) for email in (cast.carol, cast.dave, cast.erin))
    assert 'href="/feedback/roadmap/' in text(carol, "/feedback/")
    page = text(carol, "/feedback/roadmap/")
    assert 'href="/beta/macro-studio/15.3b2/"' in page
    assert "In beta 1 entry" in words(page)
    page = text(dave, "/feedback/roadmap/")
    for secret in ("15.3b2", "In beta", "Crash of the beta", "/beta/macro"):
        assert secret not in page.partition("<main")[2]
    assert "Planned 1 entry" in words(page)
    text(erin, "/feedback/roadmap/", 403)
    assert text(carol, "/feedback/roadmap/?product=no-such-product")


def test_no_staff_form_works_without_its_token(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        write(cast.alice, "Old")
        write(cast.carol, "New")
    petra, alice = sign_in(cast.petra), sign_in(cast.alice)
    for address in (
        "/staff/feedback/1/assign", "/staff/feedback/1/tags", "/staff/feedback/1/tags/1/remove", "/staff/feedback/tags/1/",
        "/staff/feedback/tags/1/remove", "/staff/feedback/1/merge/2", "/staff/feedback/1/unmerge", "/staff/feedback/1/not-alike",
        "/staff/feedback/1/votes", "/staff/feedback/1/votes/1/withdraw",
    ):  # fmt: skip
        assert petra.post(address, data={"tag": "x", "other": "2", "assignee": "1"}).status_code == 400, address
        assert alice.post(address, data={"csrf_token": token(alice)}).status_code == 404, address
