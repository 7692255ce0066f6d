"""Who may open and do what: a table over the cast. Somebody else's thing is "not found", never "forbidden"."""

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from portal.account import contacts, contracts
from portal.account.models import User
from portal.database import db
from tests.cast import Cast
from tests.conftest import csrf_token
from tests.web.account.pages import SignIn, read_user, send, text_of

EVERYBODY = ("alice", "bob", "carol", "dave", "erin", "frank", "paula", "petra", "anton", "ada")
ACCOUNTS = {"anton": 200, "ada": 200}
NOT_THERE = dict.fromkeys(EVERYBODY, 404)

# Page: the status for each of the cast who gets another one than "the rest".
PAGES: dict[str, dict[str, int]] = {
    "/account/": dict.fromkeys(EVERYBODY, 200),
    "/account/security/": dict.fromkeys(EVERYBODY, 200),
    "/account/contracts/": {**dict.fromkeys(EVERYBODY, 200), **dict.fromkeys(("alice", "bob", "carol", "dave", "frank"), 302)},
    "/account/contracts/NW-2041/": {**NOT_THERE, "alice": 200, "bob": 200},
    "/account/contracts/NW-2042/": {**NOT_THERE, "carol": 200},
    "/account/contracts/NW-1999/": {**NOT_THERE, "dave": 200},
    "/account/contracts/NW-0000/": NOT_THERE,
    "/account/contracts/NW-2042/contacts/new": {**NOT_THERE, "carol": 200},
    "/staff/contracts/": {**NOT_THERE, **ACCOUNTS},
    "/account/contracts/NW-2041/history.csv": {**NOT_THERE, "alice": 200, "bob": 200},
    "/staff/contracts/export.csv": {**NOT_THERE, **ACCOUNTS},
    "/staff/contracts/import": {**NOT_THERE, **ACCOUNTS},
    "/staff/contracts/NW-2041/facts": {**NOT_THERE, **ACCOUNTS},
    "/staff/contracts/new": {**NOT_THERE, **ACCOUNTS},
    "/staff/contracts/NW-2041/": {**NOT_THERE, **ACCOUNTS},
    "/staff/contracts/NW-2041/cancel": {**NOT_THERE, **ACCOUNTS},
    "/staff/contracts/NW-0000/": NOT_THERE,
    "/staff/customers/": {**NOT_THERE, **ACCOUNTS},
    "/staff/customers/?show=organizations": {**NOT_THERE, **ACCOUNTS},
    "/staff/customers/new": {**NOT_THERE, **ACCOUNTS},
}


def test_each_page_opens_for_those_it_is_for(cast: Cast, sign_in: SignIn) -> None:
    seen: dict[str, dict[str, int]] = {}
    for name in EVERYBODY:
        client = sign_in(getattr(cast, name))
        for page in PAGES:
            seen.setdefault(page, {})[name] = client.get(page).status_code
    assert seen == {page: dict(expected) for page, expected in PAGES.items()}


def test_strangers_are_asked_to_sign_in_and_led_back(cast: Cast, client: FlaskClient) -> None:
    for page in PAGES:
        answer = client.get(page)
        assert answer.status_code == 302
        assert (answer.location or "").startswith("/sign-in?next=")


def contact_id(app: Flask, number: str, seat: int) -> int:
    with app.app_context():
        found = {contact.seat: contact.id for contact in contacts.live_contacts(contracts.find_contract(number).id)}
        db.session.remove()
    return found[seat]


ACTS = [
    "/account/contracts/NW-2041/contacts/{id}/replace",
    "/account/contracts/NW-2041/contacts/{id}/resend",
    "/account/contracts/NW-2041/contacts/{id}/withdraw",
    "/account/contracts/NW-2041/contacts/{id}/address",
    "/staff/contracts/NW-2041/contacts/{id}/replace",
    "/staff/contracts/NW-2041/contacts/{id}/release",
    "/staff/contracts/NW-2041/contacts/{id}/address",
    "/staff/contracts/NW-2041/contacts/{id}/resend",
    "/staff/contracts/NW-2041/contacts/{id}/withdraw",
    "/staff/contracts/NW-2041/facts",
    "/staff/contracts/import",
    "/staff/contracts/NW-2041/cancel",
    "/staff/contracts/NW-2041/renew",
    "/staff/contracts/NW-2041/contacts/new",
    "/staff/contracts/new",
    "/staff/customers/new",
]
DATA = {"name": "Mallory", "email": "mallory@foods.example.org", "other_domain": "y"}


@pytest.mark.parametrize("path", ACTS)
def test_an_act_on_somebody_elses_contract_is_not_found(app: Flask, cast: Cast, sign_in: SignIn, path: str) -> None:
    url = path.format(id=contact_id(app, cast.contract, 2))
    for name in (cast.carol, cast.erin, cast.petra):
        assert send(sign_in(name), url, "/account/", **DATA).status_code == 404


@pytest.mark.parametrize("path", [*ACTS, "/account/", "/account/security/tokens", "/account/security/sessions/end-others"])
def test_no_act_without_a_csrf_token(app: Flask, cast: Cast, sign_in: SignIn, path: str) -> None:
    url = path.format(id=contact_id(app, cast.contract, 2))
    client = sign_in(cast.ada if path.startswith("/staff") else cast.alice)
    assert client.post(url, data=DATA).status_code == 400


def test_a_contact_of_another_contract_is_not_reached_through_ones_own(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    bobs = contact_id(app, cast.contract, 2)
    assert sign_in(cast.carol).get(f"/account/contracts/NW-2042/contacts/{bobs}/replace").status_code == 404
    assert sign_in(cast.anton).get(f"/staff/contracts/NW-2042/contacts/{bobs}/replace").status_code == 404


def test_two_organisations_never_see_each_others_people(cast: Cast, sign_in: SignIn) -> None:
    for reader, others in ((cast.carol, ("alice@", "Bob Example", "NW-2041", "Logistics")), (cast.alice, ("carol@", "NW-2042", "Foods"))):
        client = sign_in(reader)
        for page in (
            "/account/",
            "/account/security/",
            "/account/contracts/",
            f"/account/contracts/{'NW-2042' if reader == cast.carol else 'NW-2041'}/",
        ):
            body = client.get(page, follow_redirects=True).get_data(as_text=True)
            assert not [text for text in others if text in body]


@pytest.mark.parametrize(
    "path",
    [
        "/account/contracts/NW-2041/contacts/99999999999999999999999/replace",
        "/account/contracts/NW-2041/contacts/999999/replace",
        "/account/contracts/%00/",
        "/staff/contracts/%00/",
        "/staff/contracts/NW-2041/contacts/2147483648/release",
        "/staff/contracts/NW-2041/explode",
    ],
)
def test_what_does_not_exist_is_not_found(cast: Cast, sign_in: SignIn, path: str) -> None:
    assert sign_in(cast.ada if path.startswith("/staff") else cast.alice).get(path).status_code == 404


def test_searches_for_anything_are_answered(cast: Cast, sign_in: SignIn) -> None:
    anton = sign_in(cast.anton)
    for query in ("%00", "%25", "_", "'", "x" * 5000, "%ff", "logistics", "ALICE"):
        for page in (
            "/staff/contracts/?q={}",
            "/staff/customers/?q={}",
            "/staff/customers/?show=organizations&q={}",
            "/staff/customers/?after={}",
        ):
            assert anton.get(page.format(query)).status_code == 200
    assert "NW-2041" in text_of(anton.get("/staff/contracts/?q=alice@log"))
    assert "NW-2042" not in text_of(anton.get("/staff/contracts/?q=alice@log"))
    assert "No contract matches" in text_of(anton.get("/staff/contracts/?q=_"))


def test_a_download_token_is_shown_once_and_revoked_by_its_owner(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice, carol = sign_in(cast.alice), sign_in(cast.carol)
    page = alice.get("/account/security/").get_data(as_text=True)
    seat = page.partition('name="contact_id" value="')[2].partition('"')[0]
    made = send(alice, "/account/security/tokens", "/account/security/", label="Build server", contact_id=seat)
    token = made.get_data(as_text=True).partition("<code>")[2].partition("</code>")[0]
    assert len(token) == 43
    assert made.headers["Cache-Control"] == "no-store"
    again = alice.get("/account/security/").get_data(as_text=True)
    assert token not in again
    revoke = again.partition('action="/account/security/tokens/')[2].partition('"')[0]
    assert send(carol, f"/account/security/tokens/{revoke}", "/account/security/").status_code == 404
    assert send(alice, f"/account/security/tokens/{revoke}", "/account/security/").status_code == 302
    for changes in ({"label": ""}, {"label": "x" * 81}, {"contact_id": "999"}, {"contact_id": "x"}):
        answer = send(alice, "/account/security/tokens", "/account/security/", **{"label": "Laptop", "contact_id": seat, **changes})
        assert answer.status_code == 422
        assert "We could not make the token" in text_of(answer)


def test_the_time_zone_is_chosen_from_a_list_and_times_follow_it(cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    assert send(alice, "/account/", name="Alice", time_zone="Asia/Kolkata").status_code == 302
    assert "Times are in Asia/Kolkata" in alice.get("/account/").get_data(as_text=True)
    answer = send(alice, "/account/", name="Alice the second", time_zone="Europe/Atlantis")
    assert answer.status_code == 200
    assert "Not a valid choice" in text_of(answer)
    assert 'value="Alice the second"' in answer.get_data(as_text=True)
    assert send(alice, "/account/", name="Alice", time_zone="").status_code == 302
    assert csrf_token(alice.get("/account/").get_data(as_text=True))


def test_a_form_stores_no_field_that_it_does_not_show(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    """Mass assignment: whatever is sent besides, of the person or of somebody's contract, is passed over."""
    before = read_user(app, cast.alice)
    more = {
        "email": "mallory@example.org", "active": "", "organization_id": "2", "roles": "admin", "roles-0": "admin", "is_staff": "y",
        "password": "chosen by somebody else", "provisional": "y", "fs_uniquifier": "x", "user_id": "1", "id": "1",
    }  # fmt: skip
    alice = sign_in(cast.alice)
    assert send(alice, "/account/", name="Alice Renamed", time_zone="Asia/Tokyo", **more).status_code == 302
    after = read_user(app, cast.alice)
    changed = {
        column.key for column in sa.inspect(User).columns if getattr(before, column.key) != getattr(after, column.key)
    }  # fmt: skip
    assert changed == {"name", "time_zone"}
    assert alice.get("/staff/").status_code == 404

    contract = {"number": "NW-1", "product_id": "2", "suspended_at": "2026-11-24", "cancelled_at": "2026-11-24", "ends_on": "2099-01-01"}
    place = {"region": "Europe", "time_zone": "Asia/Tokyo"}
    assert send(sign_in(cast.anton), f"/staff/contracts/{cast.contract}/facts", **place, **contract).status_code == 302
    with app.app_context():
        found = contracts.find_contract(cast.contract)
        assert (found.region, found.time_zone, found.suspended_at, found.cancelled_at) == (*place.values(), None, None)
        assert found.terms[-1].ends_on.year < 2099
        db.session.remove()
