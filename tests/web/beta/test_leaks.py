"""Whoever is not entitled gets a plain reason, and never a byte of a beta, its title or its notes.

Each refused person opens every address there is; the answers are also the same as for a beta that does not exist.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal.account import access_tokens, contacts, contracts, people
from portal.database import transaction
from portal.releases import scheduling
from portal.releases.models import Channel
from tests.builds import CONTENT, NOTES, find_contract, find_seat, find_user
from tests.cast import Cast
from tests.conftest import NOW

SignIn = Callable[[str], FlaskClient]

BETA, ABSENT = "15.3b2", "15.9b7"
FILE, NO_FILE = "studio-x64.msi", "nothing.msi"
OTHER_PAGES = ("/", "/beta/", "/beta/macro-studio/terms/1/", "/releases/", "/releases/macro-studio/", "/feedback/", "/account/")
SECRETS = ("15.3", "studio-x64", "neu", "scheduler", "forty percent", "eight seconds", "Pause a macro", NOTES)


@dataclass(frozen=True)
class Refused:
    """A person who must not get the beta, and a sentence of the reason they are given."""

    who: str
    reason: str
    prepare: Callable[[Cast], None] = lambda cast: None


def suspend(cast: Cast) -> None:
    contracts.suspend(find_contract(cast.contract), actor=None, now=NOW)


def cancel(cast: Cast) -> None:
    contracts.cancel(find_contract(cast.contract), actor=None, now=NOW)


def release(cast: Cast) -> None:
    contacts.release_contact(find_seat(cast.alice), actor=None, now=NOW)


def name_nobody(cast: Cast) -> None:
    """A colleague of alice who holds no seat."""
    person = people.find_or_add_person("zoe@logistics.example.org", "Zoe", find_user(cast.alice).organization, now=NOW)
    person.password = find_user(cast.alice).password


REFUSED = [
    Refused("dave", "The contract has ended."),
    Refused("erin", "Your organisation has no priority-support contract."),
    Refused("frank", "Your contract is for another product."),
    Refused("alice", "The contract is suspended.", suspend),
    Refused("alice", "The contract was cancelled.", cancel),
    Refused("alice", "You no longer hold a seat of the contract.", release),
    Refused("zoe", "You are not one of the two named contacts", name_nobody),
    # Account managers sell contracts; betas are not their work.
    Refused("anton", "Your organisation has no priority-support contract."),
]


def addresses(version: str, filename: str) -> list[str]:
    page = f"/beta/macro-studio/{version}/"
    return [page, f"{page}download/{filename}", f"{page}download/", f"{page}terms", f"/releases/macro-studio/{version}/",
            f"/releases/macro-studio/{version}/download/{filename}"]  # fmt: skip


def normalised(answer: TestResponse, version: str, filename: str) -> tuple[int, str, list[tuple[str, str]]]:
    """An answer without what differs from request to request, and without the address itself where it is echoed."""
    body = re.sub(r'name="csrf_token" value="[^"]+"', "", answer.get_data(as_text=True))
    headers = sorted((name, value) for name, value in answer.headers if name not in {"Date", "Set-Cookie"})
    echo = {version: "VERSION", filename: "FILE"}
    for text, name in echo.items():
        body = body.replace(text, name)
        headers = [(key, value.replace(text, name)) for key, value in headers]
    return answer.status_code, body, [pair for pair in headers if pair[0] != "Content-Length"]


def requests_to(client: FlaskClient, path: str) -> list[TestResponse]:
    return [
        client.get(path),
        client.head(path),
        client.get(path, headers={"Range": "bytes=0-9"}),
        client.get(path, headers={"Range": "bytes=99999999-"}),
        client.get(path, headers={"If-None-Match": "*"}),
    ]


def assert_says_nothing(answer: TestResponse) -> None:
    text = answer.get_data(as_text=True)
    found = [secret for secret in SECRETS if secret in text]
    assert found == []
    assert CONTENT[:64] not in answer.data
    for header in ("ETag", "Content-Range", "Content-Disposition", "X-Accel-Redirect", "Accept-Ranges"):
        assert header not in answer.headers


@pytest.fixture
def person(app: Flask, cast: Cast, beta: int, sign_in: SignIn, request: pytest.FixtureRequest) -> tuple[FlaskClient, Refused]:
    """A refused person, signed in after what made them refused (a released seat ends sessions)."""
    refused: Refused = request.param
    with app.app_context(), transaction():
        refused.prepare(cast)
    address = getattr(cast, refused.who, f"{refused.who}@logistics.example.org")
    return sign_in(address), refused


@pytest.mark.parametrize("person", REFUSED, indirect=True, ids=lambda one: f"{one.who}-{one.reason[:24]}")
def test_the_refused_get_the_reason_and_nothing_of_the_beta(person: tuple[FlaskClient, Refused]) -> None:
    client, refused = person
    for path in addresses(BETA, FILE):
        for answer in requests_to(client, path):
            assert answer.status_code in {403, 404, 308}, path
            if answer.status_code != 308:  # only adds the slash to what was asked
                assert_says_nothing(answer)
    for path in addresses(BETA, FILE)[:2]:
        answer = client.get(path)
        assert answer.status_code == 403
        assert refused.reason in answer.get_data(as_text=True)
    # What account managers see elsewhere is for staff's pages to say.
    for path in OTHER_PAGES if refused.who != "anton" else OTHER_PAGES[1:2]:
        assert_says_nothing(client.get(path, follow_redirects=True))


@pytest.mark.parametrize("person", REFUSED, indirect=True, ids=lambda one: f"{one.who}-{one.reason[:24]}")
def test_the_refused_cannot_tell_a_beta_from_one_that_does_not_exist(person: tuple[FlaskClient, Refused]) -> None:
    client, _ = person
    for real, invented in [((BETA, FILE), (ABSENT, NO_FILE)), ((BETA, FILE), (BETA, NO_FILE)), ((BETA, FILE), ("no version", NO_FILE))]:
        pairs = zip(addresses(*real), addresses(*invented), strict=True)
        for path, other in pairs:
            ours = [normalised(answer, *real) for answer in requests_to(client, path)]
            theirs = [normalised(answer, *invented) for answer in requests_to(client, other.replace(" ", "%20"))]
            if "no version" not in other or "/beta/" in other:
                assert [one[:2] for one in ours] == [one[:2] for one in theirs], path


def test_a_stranger_is_sent_to_sign_in_from_every_address_alike(client: FlaskClient, cast: Cast, beta: int) -> None:
    for path in (
        *addresses(BETA, FILE)[:2],
        *addresses(ABSENT, NO_FILE)[:2],
        "/beta/no-product/1/",
        "/beta/no-product/1/download/x",
        "/beta/",
    ):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["Location"]) == (302, f"/sign-in?next={path}")
        page = client.get(answer.headers["Location"]).get_data(as_text=True).replace(path, "")
        assert [secret for secret in SECRETS if secret in page] == []
        assert client.head(path).status_code == 302
        ranged = client.get(path, headers={"Range": "bytes=0-9"})
        assert ranged.status_code == 302
        assert CONTENT[:10] not in ranged.data


def test_a_stranger_who_posts_is_refused(client: FlaskClient, cast: Cast, beta: int) -> None:
    assert client.post(f"/beta/macro-studio/{BETA}/", data={"accept_terms": "y"}).status_code == 400


def test_another_live_organisation_gets_the_beta_and_nothing_of_ours(sign_in: SignIn, cast: Cast, beta: int) -> None:
    alice = sign_in(cast.alice)
    assert alice.get(f"/beta/macro-studio/{BETA}/download/{FILE}").data == CONTENT
    page = sign_in(cast.carol).get(f"/beta/macro-studio/{BETA}/").get_data(as_text=True)
    assert NOTES in page
    assert "Logistics" not in page


@pytest.mark.parametrize("act", [suspend, cancel, release], ids=["suspended", "cancelled", "seat released"])
def test_the_very_next_range_is_refused(app: Flask, cast: Cast, beta: int, sign_in: SignIn, act: Callable[[Cast], None]) -> None:
    """By session and by token, in the middle of a download."""
    path = f"/beta/macro-studio/{BETA}/download/{FILE}"
    with app.app_context(), transaction():
        token = access_tokens.create(find_seat(cast.alice).id, "curl", actor=find_user(cast.alice), now=NOW)
    by_token = {"Authorization": f"Bearer {token}"}
    browser, program = sign_in(cast.alice), app.test_client()
    for client, headers in ((browser, {}), (program, by_token)):
        answer = client.get(path, headers={**headers, "Range": "bytes=0-999"})
        assert (answer.status_code, answer.data) == (206, CONTENT[:1000])
    with app.app_context(), transaction():
        act(cast)
    for client, headers in ((browser, {}), (program, by_token)):
        answer = client.get(path, headers={**headers, "Range": "bytes=1000-"})
        assert answer.status_code in {302, 401, 403}
        assert_says_nothing(answer) if answer.status_code != 302 else None
        assert CONTENT[1000:1064] not in answer.data


def test_a_lapsed_contract_gives_nothing_to_a_token(app: Flask, cast: Cast, beta: int) -> None:
    with app.app_context(), transaction():
        token = access_tokens.create(find_seat(cast.dave).id, "curl", actor=find_user(cast.dave), now=NOW)
    for path in addresses(BETA, FILE)[1:2] + addresses(ABSENT, NO_FILE)[1:2]:
        answer = app.test_client().get(path, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 403
        assert answer.content_type == "text/plain; charset=utf-8"
        assert "The contract has ended." in answer.get_data(as_text=True)
        assert_says_nothing(answer)


@pytest.mark.parametrize(
    "header", ["Bearer wrong", "Bearer ", "Bearer", "Basic YTpi", "nonsense", "Bearer é", "Bearer " + "x" * 5000],
)  # fmt: skip
def test_a_token_that_names_nobody_is_told_so_whatever_it_asks_for(client: FlaskClient, cast: Cast, beta: int, header: str) -> None:
    for path in addresses(BETA, FILE)[1:2] + addresses(ABSENT, NO_FILE)[1:2]:
        answer = client.get(path, headers={"Authorization": header})
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert_says_nothing(answer)


@pytest.mark.parametrize("scheduled", [False, True], ids=["draft", "scheduled"])
def test_what_is_not_out_and_another_products_version_are_not_found_by_the_entitled(
    app: Flask, cast: Cast, beta: int, sign_in: SignIn, scheduled: bool
) -> None:
    from tests.integration.releases.helpers import make_draft

    with app.app_context():
        release_id = make_draft(version="15.4b1", notes="Nobody may read this yet.")
        if scheduled:
            with transaction():
                scheduling.schedule(release_id, NOW + timedelta(days=1), actor=None, now=NOW)
    alice = sign_in(cast.alice)
    for version in ("15.4b1", ABSENT, "no version", "15.3"):
        for path in (f"/beta/macro-studio/{version}/", f"/beta/macro-studio/{version}/download/macro-studio-15.4b1.msi"):
            answer = alice.get(path)
            assert answer.status_code == 404
            assert "Nobody may read this yet." not in answer.get_data(as_text=True)
    assert alice.get(f"/beta/macro-studio/{BETA}/download/{NO_FILE}").status_code == 404
    assert alice.get("/beta/no-product/15.3b2/").status_code == 404
    assert alice.get("/beta/form-filler/15.3b2/").status_code == 403


@pytest.mark.parametrize("channel", list(Channel))
def test_a_scheduled_release_cannot_be_told_from_one_that_never_was(
    app: Flask, cast: Cast, beta: int, sign_in: SignIn, channel: Channel
) -> None:
    """By anybody but release managers, at every address there is, in lists and in feeds."""
    from tests.integration.releases.helpers import make_draft

    version = "15.4b1" if channel is Channel.BETA else "15.4"
    readers = [app.test_client(), sign_in(cast.alice), sign_in(cast.dave), sign_in(cast.erin), sign_in(cast.petra)]
    lists = ("/", "/beta/", "/releases/", "/releases/macro-studio/", "/releases/macro-studio/feed.atom", "/releases/macro-studio/feed.json")
    file = f"macro-studio-{version}.msi"

    def answers(client: FlaskClient) -> list[tuple[int, str, list[tuple[str, str]]]]:
        paths = [path.replace(" ", "%20") for path in (*addresses(version, file), *lists, "/feedback/")]
        with time_machine.travel(NOW + timedelta(minutes=1), tick=False):  # home pages say which second it is
            return [normalised(client.get(path), version, file) for path in paths]

    before = [answers(reader) for reader in readers]
    with app.app_context():
        release_id = make_draft(version=version, channel=channel, notes="Nobody may read this yet.")
        with transaction():
            scheduling.schedule(release_id, NOW + timedelta(days=1), actor=None, now=NOW)
    assert [answers(reader) for reader in readers] == before
