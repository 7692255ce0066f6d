"""Account managers and contacts at work: what is refused says why, and what was typed is still there."""

import pytest
import sqlalchemy as sa
from flask import Flask

from portal import clock
from portal.account import contacts, contracts, directory, people
from portal.account.models import Contract
from portal.database import db, transaction
from portal.products.models import Product
from tests.cast import Cast
from tests.statements import statements
from tests.web.account.pages import SignIn, invite_somebody, mails, read_user, send, text_of

GOOD = {
    "number": "NW-5000", "organization": "Example Garden", "product": "macro-studio", "starts_on": "2026-11-01", "ends_on": "",
    "time_zone": "Europe/Berlin", "name1": "Gwen", "email1": "gwen@garden.example.org", "name2": "", "email2": "",
}  # fmt: skip


def count_contracts(app: Flask) -> int:
    with app.app_context():
        count = db.session.scalar(sa.select(sa.func.count()).select_from(Contract))
        db.session.remove()
    return count or 0


def test_a_contract_is_made_with_organisation_contacts_and_invitations(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    anton = sign_in(cast.anton)
    answer = send(anton, "/staff/contracts/new", **{**GOOD, "name2": "Gus", "email2": "gus@garden.example.org"})
    assert answer.location == "/staff/contracts/NW-5000/"
    page = text_of(anton.get("/staff/contracts/NW-5000/"))
    for fact in ("Example Garden", "31 October 2027", "Gwen", "gus@garden.example.org", "2 of 2 seats taken"):
        assert fact in page
    assert mails(app) == [("invitation", "gwen@garden.example.org"), ("invitation", "gus@garden.example.org")]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"product": ""}, "Choose the product."),
        ({"starts_on": "soon"}, "soon is no date we can read"),
        ({"starts_on": ""}, "Enter the first day"),
        ({"starts_on": "9999-12-31"}, "out of reach"),
        ({"ends_on": "2026-02-30"}, "2026-02-30 is no date we can read"),
        ({"ends_on": "2026-10-01"}, "ends before it starts"),
        ({"number": "NW-2041"}, "already a contract with the number"),
        ({"number": "a/b"}, "cannot be a contract"),
        ({"number": ""}, "Enter the contract"),
        ({"organization": " "}, "Enter the organisation"),
        ({"organization": "x" * 201}, "200 is the most"),
        ({"product": "nothing"}, "Not a valid choice"),
        ({"time_zone": "Europe/Atlantis"}, "Not a valid choice"),
        ({"email1": "gwen@garden.example.org\nBcc: all@example.net"}, "line breaks"),
        ({"email1": "gwen"}, "no email address"),
        ({"name1": ""}, "Enter the name"),
        ({"name2": "Gwen", "email2": "gwen@garden.example.org"}, "already holds a seat"),
        ({"email1": "alice@logistics.example.org"}, "another organisation"),
    ],
)
def test_what_makes_no_sense_is_explained_keeps_the_input_and_saves_nothing(
    app: Flask, cast: Cast, sign_in: SignIn, changes: dict[str, str], text: str
) -> None:
    before = count_contracts(app)
    answer = send(sign_in(cast.anton), "/staff/contracts/new", **{**GOOD, **changes})
    assert answer.status_code == 200
    assert text in text_of(answer)
    typed = {**GOOD, **changes}
    for name in ("number", "starts_on", "ends_on", "email1", "name1"):
        assert "\n" in typed[name] or f'value="{typed[name]}"' in answer.get_data(as_text=True)
    assert count_contracts(app) == before
    assert mails(app) == []


def test_acts_on_a_contract_ask_first_and_change_its_state(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    anton = sign_in(cast.anton)
    for name, state in (("suspend", "Suspended"), ("resume", "Active"), ("renew", "Next"), ("cancel", "Cancelled")):
        asked = anton.get(f"/staff/contracts/NW-2042/{name}").text
        shown = {"starts_on": coming_term(asked)} if name == "renew" else {}
        assert send(anton, f"/staff/contracts/NW-2042/{name}", **shown).location == "/staff/contracts/NW-2042/"
        assert state in text_of(anton.get("/staff/contracts/NW-2042/"))
    answer = send(anton, "/staff/contracts/NW-2042/renew", starts_on="2027-11-24")
    assert "is cancelled. Make a new one." in text_of(answer)


def coming_term(page: str) -> str:
    """The first day of the term that a page offers to add."""
    return page.partition('name="starts_on" value="')[2].partition('"')[0]


def test_renewing_twice_by_the_same_page_adds_one_term(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    anton = sign_in(cast.anton)
    shown = coming_term(anton.get("/staff/contracts/NW-2042/").text)
    send(anton, "/staff/contracts/NW-2042/renew", starts_on=shown)
    answer = send(anton, "/staff/contracts/NW-2042/renew", starts_on=shown)
    assert "The next term is another one now" in text_of(answer)
    assert coming_term(answer.text) > shown
    with app.app_context():
        assert len(contracts.find_contract("NW-2042").terms) == 2
        db.session.remove()


def test_nothing_is_offered_for_the_seats_of_a_cancelled_contract(cast: Cast, sign_in: SignIn) -> None:
    anton = sign_in(cast.anton)
    send(anton, "/staff/contracts/NW-2041/cancel")
    page = anton.get("/staff/contracts/NW-2041/").text
    assert "/replace" not in page
    assert "/release" in page


def test_a_third_contact_is_refused_with_the_reason_and_the_input_kept(cast: Cast, sign_in: SignIn) -> None:
    answer = send(sign_in(cast.anton), "/staff/contracts/NW-2041/contacts/new", name="Zoe", email="zoe@logistics.example.org")
    assert "Both seats of contract NW-2041 are taken" in text_of(answer)
    assert 'value="zoe@logistics.example.org"' in answer.get_data(as_text=True)


def test_a_mistyped_address_is_corrected_and_invited_again(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    old_link = invite_somebody(app, cast.other_contract, "nnia@foods.example.org")
    anton = sign_in(cast.anton)
    page = anton.get("/staff/contracts/NW-2042/").get_data(as_text=True)
    url = next(part.partition('"')[0] for part in page.split('href="') if "/address" in part.partition('"')[0])
    assert "is no email address" in text_of(send(anton, url, email="nina at foods"))
    assert send(anton, url, email="nina@foods.example.org").status_code == 302
    assert mails(app)[-1] == ("invitation", "nina@foods.example.org")
    assert app.test_client().get(old_link).status_code == 410


def seat_url(app: Flask, email: str, number: str, act: str) -> str:
    with app.app_context():
        seats = contacts.live_contacts(contracts.find_contract(number).id)
        found = next(contact.id for contact in seats if contact.user.email == email)
        db.session.remove()
    return f"/account/contracts/{number}/contacts/{found}/{act}"


def test_a_contact_replaces_the_other_one(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice, bob = sign_in(cast.alice), sign_in(cast.bob)
    answer = send(alice, seat_url(app, cast.bob, cast.contract, "replace"), name="Nina", email="nina@logistics.example.org")
    assert answer.location == "/account/contracts/NW-2041/"
    page = text_of(alice.get("/account/contracts/NW-2041/"))
    assert "nina@logistics.example.org" in page
    assert "Bob Example was released from seat 2" in page
    assert bob.get("/account/").status_code == 302
    assert sorted(mails(app)) == [
        ("contact_named", cast.alice), ("contact_released", cast.bob), ("invitation", "nina@logistics.example.org"),
        ("seats_changed", cast.anton),
    ]  # fmt: skip


def test_replacing_oneself_asks_under_the_address_and_signs_out_at_once(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    url = seat_url(app, cast.alice, cast.contract, "replace")
    nina = {"name": "Nina", "email": "nina@logistics.example.org"}
    assert "This is your own seat" in text_of(alice.get(url))
    assert "Your own seat goes to Nina, nina@logistics.example.org." in text_of(send(alice, url, **nina))
    ticked = {"hand_over": "y", "confirmed": "nina@logistics.example.org"}
    assert send(alice, url, **{**nina, "email": "nnia@logistics.example.org"}, **ticked).status_code == 200
    assert alice.get("/account/").status_code == 200
    assert send(alice, url, **nina, **ticked).location == "/sign-in"
    assert alice.get("/account/").status_code == 302
    assert "Your seat went to Nina" in alice.get("/sign-in").get_data(as_text=True)


def test_another_domain_is_asked_about_once_more(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    url = seat_url(app, cast.bob, cast.contract, "replace")
    asked = send(alice, url, name="Nina", email="nina@logistic.example.org")
    assert "at logistic.example.org" in text_of(asked)
    assert 'value="nina@logistic.example.org"' in asked.get_data(as_text=True)
    assert send(alice, url, name="Nina", email="nina@logistic.example.org", other_domain="y").status_code == 302


def test_an_invitation_is_sent_again_or_withdrawn_by_the_other_contact(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    link = invite_somebody(app, cast.other_contract, "nina@foods.example.org")
    carol = sign_in(cast.carol)
    home = "/account/contracts/NW-2042/"
    assert send(carol, seat_url(app, "nina@foods.example.org", cast.other_contract, "resend"), home).status_code == 302
    assert app.test_client().get(link).status_code == 410
    assert len(mails(app)) == 2
    assert send(carol, seat_url(app, "nina@foods.example.org", cast.other_contract, "withdraw"), home).status_code == 302
    assert "No invitation is open" in text_of(carol.get(home))
    assert send(carol, seat_url(app, "nina@foods.example.org", cast.other_contract, "withdraw"), home).status_code == 409


def test_a_customer_is_added_without_a_contract(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    anton = sign_in(cast.anton)
    new = {"email": "Pia@press.example.org", "name": "Pia", "organization": "Example Press"}
    assert send(anton, "/staff/customers/new", **new).status_code == 302
    assert read_user(app, "pia@press.example.org").password is None
    assert "pia@press.example.org" in text_of(anton.get("/staff/customers/"))
    for changes, text in (({}, "known already"), ({"email": "pia"}, "no email address"), ({"organization": ""}, "Enter the organisation")):
        answer = send(anton, "/staff/customers/new", **{**new, **changes})
        assert text in text_of(answer)
        assert 'value="Pia"' in answer.get_data(as_text=True)


def test_a_new_customer_is_asked_by_mail_if_staff_choose_so(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    anton = sign_in(cast.anton)
    new = {"name": "Pia", "organization": "Example Press"}
    assert send(anton, "/staff/customers/new", **new, email="pia@press.example.org", ask="").status_code == 302
    assert mails(app) == []
    assert send(anton, "/staff/customers/new", **new, email="pit@press.example.org", ask=cast.product).status_code == 302
    assert "A mail asks whether they want release notices." in text_of(anton.get("/staff/customers/"))
    assert mails(app) == [("confirm_subscription", "pit@press.example.org")]
    answer = send(anton, "/staff/customers/new", **new, email="pam@press.example.org", ask="nothing")
    assert "Not a valid choice" in text_of(answer)
    assert 'value="pam@press.example.org"' in answer.text


def fill(app: Flask, count: int, prefix: str) -> None:
    """Add organisations, each with a contract, two contacts and a customer."""
    now = clock.now()
    with app.app_context():
        with transaction():
            product = db.session.scalars(sa.select(Product).order_by(Product.id)).first()
            assert product is not None
            for number in range(count):
                domain = f"{prefix}{number:03}.example.org"
                buyer = contracts.create_organization(f"Example {prefix} {number:03}", actor=None, now=now)
                contract = contracts.create_contract(
                    f"{prefix}-{number:03}", buyer, product, now.date(), time_zone="UTC", actor=None, now=now
                )
                for name in ("one", "two"):
                    contacts.name_contact(contract, name=name, email=f"{name}@{domain}", actor=None, now=now, invite=False)
                people.add_customer(f"three@{domain}", "three", buyer, actor=None, now=now)
        db.session.remove()


@pytest.mark.parametrize(
    "url", ["/staff/contracts/", "/staff/customers/", "/staff/customers/?show=organizations", "/staff/contracts/?q=example"]
)
def test_lists_run_the_same_statements_however_long_they_are(app: Flask, cast: Cast, sign_in: SignIn, url: str) -> None:
    anton = sign_in(cast.anton)
    counts = []
    for prefix in ("A", "B"):
        fill(app, 8, prefix)
        with statements(app) as seen:
            assert anton.get(url).status_code == 200
        counts.append(len(seen))
    assert counts[0] == counts[1] < 12


def test_lists_are_paged_by_key_without_gap_or_repeat(app: Flask, cast: Cast) -> None:
    fill(app, 5, "A")
    keys: dict[str, list[str]] = {"contracts": [], "people": [], "organizations": []}
    with app.app_context():
        after: str | None = None
        while after or not keys["contracts"]:
            contract_page = directory.contracts_page(directory.Wanted(), after, clock.now(), size=2)
            keys["contracts"] += [row.contract.number for row in contract_page.rows]
            after = contract_page.next_key
        while after or not keys["people"]:
            people_page = directory.people_page("", after, size=2)
            keys["people"] += [row.person.email for row in people_page.rows]
            after = people_page.next_key
        while after or not keys["organizations"]:
            organization_page = directory.organizations_page("", after, size=2)
            keys["organizations"] += [row.organization.name for row in organization_page.rows]
            after = organization_page.next_key
        db.session.remove()
    assert {name: len(found) for name, found in keys.items()} == {"contracts": 9, "people": 21, "organizations": 10}
    assert all(len(found) == len(set(found)) for found in keys.values())
