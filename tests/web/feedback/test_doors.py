"""Who may open and send what; what is refused, and how it is said."""

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.database import transaction
from portal.feedback.models import Status, Visibility
from portal.releases import publishing
from tests.board import answer, comment, release, suspended, write
from tests.cast import Cast
from tests.conftest import NOW, csrf_token
from tests.web.feedback.pages import forms, send, text, words

SignIn = Callable[[str], FlaskClient]

# person -> what the addresses answer: board, an item of alice's, the form, the inbox, an item in the inbox.
ROLES = {
    "alice": (200, 200, 200, 404, 404),
    "bob": (200, 200, 200, 404, 404),
    "carol": (200, 200, 200, 404, 404),
    "dave": (200, 200, 403, 404, 404),
    "erin": (403, 403, 403, 404, 404),
    "frank": (200, 404, 200, 404, 404),
    "paula": (200, 200, 403, 404, 404),
    "petra": (200, 200, 403, 200, 200),
    "anton": (200, 200, 403, 404, 404),
    "ada": (200, 200, 403, 200, 200),
}
# person -> what acts on alice's item answer: vote, comment, answer, note.
ACTS = {
    "bob": (302, 302, 404, 404),
    "carol": (302, 302, 404, 404),
    "dave": (403, 403, 404, 404),
    "erin": (404, 404, 404, 404),
    "frank": (404, 404, 404, 404),
    "paula": (403, 403, 404, 404),
    "petra": (403, 403, 302, 302),
    "anton": (403, 403, 404, 404),
    "ada": (403, 403, 302, 302),
}


def make(app: Flask, cast: Cast, **changes: object) -> int:
    with app.app_context():
        return write(cast.alice, "Zebra report", body="Stripes.", **changes)  # type: ignore[arg-type]


def token(client: FlaskClient) -> str:
    return csrf_token(client.get("/releases/").get_data(as_text=True))


def test_everybody_gets_exactly_their_pages(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    item_id = make(app, cast)
    addresses = ("/feedback/", f"/feedback/{item_id}/", "/feedback/new", "/staff/feedback/", f"/staff/feedback/{item_id}/")
    for name, codes in ROLES.items():
        client = sign_in(getattr(cast, name))
        assert tuple(client.get(address).status_code for address in addresses) == codes, name


def test_everybody_does_exactly_their_acts(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    item_id = make(app, cast)
    for name, codes in ACTS.items():
        client = sign_in(getattr(cast, name))
        csrf = token(client)
        acts = (
            (f"/feedback/{item_id}/vote", {"wanted": "yes"}),
            (f"/feedback/{item_id}/comments", {"body": "Me too"}),
            (f"/staff/feedback/{item_id}/answer", {"status": "planned", "revision": "1", "release": "0", "response": name}),
            (f"/staff/feedback/{item_id}/notes", {"body": "Note", "audience": "staff"}),
        )
        if codes[2] == 302:  # a fresh revision
            acts[2][1].update(forms(text(client, f"/staff/feedback/{item_id}/"))[f"/staff/feedback/{item_id}/answer"])
        got = tuple(client.post(address, data={**data, "csrf_token": csrf}).status_code for address, data in acts)
        assert got == codes, name


def test_the_signed_out_are_led_to_sign_in(app: Flask, cast: Cast, client: FlaskClient) -> None:
    item_id = make(app, cast)
    for address in ("/feedback/", f"/feedback/{item_id}/", "/feedback/new", "/staff/feedback/"):
        answer = client.get(address)
        assert answer.status_code == 302
        assert answer.location.startswith("/sign-in")


def test_no_form_works_without_its_token(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    item_id = make(app, cast)
    alice, petra = sign_in(cast.alice), sign_in(cast.petra)
    for client, address in (
        (alice, "/feedback/new"), (alice, f"/feedback/{item_id}/vote"), (alice, f"/feedback/{item_id}/comments"),
        (petra, f"/staff/feedback/{item_id}/answer"), (petra, f"/staff/feedback/{item_id}/notes"),
        (petra, f"/staff/feedback/{item_id}/unread"),
    ):  # fmt: skip
        assert client.post(address, data={"title": "A", "body": "B", "wanted": "no"}).status_code == 400
    assert "1 contract voted" in words(text(alice, f"/feedback/{item_id}/"))
    assert text(alice, "/feedback/").count('class="idea"') == 1


def test_a_private_item_shows_to_no_other_organisation_by_any_address(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    item_id = make(app, cast, visibility=Visibility.PRIVATE)
    carol = sign_in(cast.carol)
    for address in (
        "/feedback/",
        "/feedback/?q=stripes",
        "/feedback/?sort=newest",
        "/feedback/?status=under_review",
        "/feedback/?show=all",
    ):
        page = text(carol, address)
        assert "Zebra" not in page
        assert "0 entries" in words(page)
    assert "Zebra" not in text(carol, f"/feedback/{item_id}/", 404)
    assert "Private" in words(text(sign_in(cast.bob), "/feedback/?q=stripes"))


def test_the_lapsed_are_told_why_and_see_nothing_of_betas(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        beta = release("15.3b2")
        about_beta = write(cast.alice, "Secret of the beta", version="15.3b2")
        item_id = write(cast.alice, "Pause a macro")
        answer(item_id, Status.IN_BETA, release_id=beta, response="Beta 2 has it.")
        comment(cast.carol, item_id, "15.3b2 works")
    dave = sign_in(cast.dave)
    for address in ("/feedback/", "/feedback/?sort=changed", "/feedback/?q=secret", f"/feedback/{item_id}/"):
        page = text(dave, address)
        assert "The contract has ended." in words(page)
        for word in ("15.3b2", "In beta", "Secret of the beta", "Beta 2 has it"):
            assert word not in page
    assert "Nothing matches" in words(text(dave, "/feedback/?status=in_beta"))
    for act in ("vote", "comments", "edit"):
        assert f"/feedback/{item_id}/{act}" not in text(dave, f"/feedback/{item_id}/")
    assert "Secret" not in text(dave, f"/feedback/{about_beta}/", 404)
    assert "The contract has ended." in words(text(dave, "/feedback/new", 403))


def test_the_entitled_are_led_from_an_item_to_the_beta_that_has_it(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        item_id = write(cast.alice, "Pause a macro")
        beta = release("15.3b2")
        answer(item_id, Status.IN_BETA, release_id=beta)
    link = 'href="/beta/macro-studio/15.3b2/"'
    assert link in text(sign_in(cast.carol), f"/feedback/{item_id}/")
    with app.app_context(), transaction():
        publishing.withdraw(beta, "It damages files.", tell_downloaders=False, actor=None, now=NOW)
    assert link not in text(sign_in(cast.carol), f"/feedback/{item_id}/")


def test_text_typed_when_the_contract_lapses_is_not_lost(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    item_id = make(app, cast)
    carol = sign_in(cast.carol)
    open_page = forms(text(carol, f"/feedback/{item_id}/"))[f"/feedback/{item_id}/comments"]
    with app.app_context(), suspended(cast.other_contract):
        answer = carol.post(f"/feedback/{item_id}/comments", data={**open_page, "body": "A long comment"})
    assert answer.status_code == 403
    assert "A long comment</textarea>" in answer.get_data(as_text=True)


def test_what_was_typed_survives_every_refusal(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    typed = {"title": "A title to keep", "body": "A description to keep", "visibility": "private"}
    for broken, message in (
        ({"title": ""}, "Enter a title"),
        ({"body": " "}, "Describe it."),
        ({"title": "x" * 161}, "The title has 161 characters; 160 is the most."),
        ({"body": "x" * 20_001}, "The description has 20,001 characters; 20,000 is the most."),
        ({"title": "two\nlines"}, "control characters"),
        ({"body": "nul\0"}, "control characters"),
        ({"kind": "problem"}, "Say how much the problem disturbs your work."),
        ({"kind": "rant"}, "Choose one of those offered."),
        ({"version": "99.9"}, "Macro Studio has no published version 99.9."),
        ({"product": "form-filler"}, "Choose the product it is about."),
    ):
        answer = send(alice, "/feedback/new", "/feedback/new", **{**typed, **broken})
        page = answer.get_data(as_text=True)
        assert answer.status_code == 400, broken
        assert message in words(page)
        kept = forms(page)["/feedback/new"]
        for name in typed.keys() - broken.keys():
            assert kept[name] == typed[name], broken
    assert "0 entries" in words(text(alice, "/feedback/"))


@pytest.mark.parametrize(
    "query", ["status=x", "kind=x", "show=x", "sort=x", "product=x", "q=%00", "after=x", "before=1~1~1", "q=" + "a" * 5000]
)
def test_an_address_that_means_nothing_shows_the_board(app: Flask, cast: Cast, sign_in: SignIn, query: str) -> None:
    make(app, cast)
    assert text(sign_in(cast.alice), f"/feedback/?{query}")
    assert text(sign_in(cast.petra), f"/staff/feedback/?{query}")


def test_ids_beyond_reason_are_not_found(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    item_id = make(app, cast)
    for address in ("/feedback/0/", "/feedback/99/", f"/feedback/{2**31}/", f"/feedback/{10**30}/"):
        text(alice, address, 404)
    assert text(alice, f"/feedback/{item_id}/?before={10**30}")
    assert alice.post(f"/feedback/{10**30}/vote", data={"csrf_token": token(alice)}).status_code == 404


def test_a_vote_returns_to_this_site_alone(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    item_id = make(app, cast)
    alice = sign_in(cast.alice)
    address = f"/feedback/{item_id}/vote"
    for elsewhere in ("https://evil.example.org/", "//evil.example.org", "/\\evil.example.org"):
        answer = alice.post(address, data={"csrf_token": token(alice), "next": elsewhere})
        assert answer.location == f"/feedback/{item_id}/"
