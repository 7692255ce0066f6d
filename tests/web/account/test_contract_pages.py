"""Contracts' pages: invitations and what became of them, addresses, other contracts, days gone by, files, orders."""

import io
import re

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal import clock
from portal.account import contacts, contracts
from portal.account.contract_files import COLUMNS
from portal.account.models import Invitation
from portal.account.orders import Order
from portal.audit import AuditEvent
from portal.database import db, transaction
from portal.notices.models import Delivery, DeliveryState
from portal.products.models import Product
from tests.builds import find_contract, find_seat
from tests.cast import Cast
from tests.conftest import NOW, csrf_token
from tests.statements import statements
from tests.web.account.pages import SignIn, invite_somebody, mails, send, text_of

NINA = "nina@foods.example.org"
OWN, STAFF = "/account/contracts/NW-2042/", "/staff/contracts/NW-2042/"


def change(app: Flask, statement: sa.Update) -> None:
    with app.app_context():
        with transaction() as session:
            session.execute(statement)
        db.session.remove()


def invitation(app: Flask) -> Invitation:
    with app.app_context():
        found = db.session.scalars(sa.select(Invitation).order_by(Invitation.id.desc())).first()
        db.session.remove()
    assert found is not None
    return found


def link_to(page: TestResponse, end: str) -> str:
    """The address of the first link or form on a page that ends so."""
    found = re.search(rf'(?:href|action)="([^"]*/{end})"', page.text)
    assert found is not None, end
    return found[1]


@pytest.mark.parametrize(
    ("state", "reply", "said_to_contacts", "said_to_staff"),
    [
        (DeliveryState.QUEUED, None, "Invitation on its way, open until", "Invitation on its way"),
        (DeliveryState.SENT, "250 ok", "Invited, open until 1 December 2026", "Invited, open until"),
        (DeliveryState.BOUNCED, "550 no such user", "could not be delivered . Check", "could not be delivered : 550 no such user"),
    ],
)
def test_both_sides_see_how_far_the_mail_of_an_invitation_came(
    app: Flask, cast: Cast, sign_in: SignIn, state: DeliveryState, reply: str | None, said_to_contacts: str, said_to_staff: str
) -> None:
    invite_somebody(app, cast.other_contract, NINA)
    change(app, sa.update(Delivery).values(state=state, reply=reply))
    assert said_to_contacts.replace(" .", ".") in text_of(sign_in(cast.carol).get(OWN))
    assert said_to_staff.replace(" :", ":") in text_of(sign_in(cast.anton).get(STAFF))


def test_opening_is_recorded_once_by_a_get_and_uses_nothing_up(app: Flask, cast: Cast, client: FlaskClient, sign_in: SignIn) -> None:
    link = invite_somebody(app, cast.other_contract, NINA)
    assert client.head(link).status_code == 200
    assert invitation(app).opened_at is None
    for _ in range(3):
        assert app.test_client().get(link, headers={"User-Agent": "mail scanner"}).status_code == 200
    opened = invitation(app).opened_at
    assert opened is not None
    assert invitation(app).accepted_at is None
    carol = sign_in(cast.carol)
    assert re.search(r"Link opened 24 November 2026, 10:0\d ?, not accepted yet", text_of(carol.get(OWN)))
    assert send(client, link, name="Nina", password="a whole new long password").status_code == 302
    assert invitation(app).opened_at == opened
    assert "Nina Active since 24 November 2026" in text_of(carol.get(OWN)).replace(f"Replace {NINA} ", "")


def test_an_expired_invitation_says_so_and_is_sent_again(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    invite_somebody(app, cast.other_contract, NINA)
    change(app, sa.update(Invitation).values(expires_at=NOW))
    carol = sign_in(cast.carol)
    page = carol.get(OWN)
    assert "Invitation expired 24 November 2026" in text_of(page)
    assert "/withdraw" not in page.text
    assert send(carol, link_to(page, "resend"), OWN).status_code == 302
    assert "Invitation on its way" in text_of(carol.get(OWN))


def test_a_contact_corrects_the_address_of_an_invited_colleague(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    old = invite_somebody(app, cast.other_contract, "nnia@foods.example.org")
    carol = sign_in(cast.carol)
    url = link_to(carol.get(OWN), "address")
    assert "is no email address" in text_of(send(carol, url, email="nina at foods"))
    asked = send(carol, url, email="nina@food.example.org")
    assert "at food.example.org; the people of Example Foods are at foods.example.org" in text_of(asked)
    assert send(carol, url, email=NINA).status_code == 302
    assert mails(app)[-1] == ("invitation", NINA)
    assert app.test_client().get(old).status_code == 410
    with app.app_context():
        carols = find_seat(cast.carol).id
        db.session.remove()
    refused = send(carol, f"/account/contracts/NW-2042/contacts/{carols}/address", email="c@foods.example.org")
    assert "has accepted the invitation. Replace the contact instead." in text_of(refused)


def test_staff_are_asked_about_another_domain_too_and_may(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    anton = sign_in(cast.anton)
    asked = send(anton, f"{STAFF}contacts/new", name="Nina", email="nina@gmail.example")
    assert "at gmail.example; the people of Example Foods are at foods.example.org" in text_of(asked)
    assert mails(app) == []
    assert send(anton, f"{STAFF}contacts/new", name="Nina", email="nina@gmail.example", other_domain="y").status_code == 302
    assert mails(app) == [("invitation", "nina@gmail.example"), ("contact_named", cast.carol)]


def test_a_contact_cannot_leave_without_a_successor(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    """There is no way to release a seat but to name who takes it; and the last contact is told what a slip would mean."""
    carol = sign_in(cast.carol)
    with app.app_context():
        seat = find_seat(cast.carol).id
        db.session.remove()
    url = f"{OWN}contacts/{seat}/replace"
    assert "Nobody else of this contract can sign in" in text_of(carol.get(url))
    for form in ({"name": "", "email": ""}, {"name": "N", "email": ""}, {"name": "N", "email": "x"}, {"name": "N", "email": cast.carol}):
        answer = send(carol, url, **form, hand_over="y", confirmed=form["email"])
        assert answer.status_code == 200
    assert carol.post(f"{OWN}contacts/{seat}/release").status_code in {400, 404, 405}
    assert carol.get(OWN).status_code == 200


def sell_another(app: Flask, number: str, *emails: str) -> None:
    with app.app_context():
        with transaction():
            first, now = find_contract("NW-2042"), clock.now()
            product = db.session.scalars(sa.select(Product).where(Product.slug == "form-filler")).one()
            second = contracts.create_contract(
                number, first.organization, product, NOW.date(), time_zone="Asia/Tokyo", region="Asia Pacific",
                order=Order(99_000, "EUR", "PO-77"), actor=None, now=now,
            )  # fmt: skip
            for email in emails:
                contacts.name_contact(second, name="Somebody", email=email, actor=None, now=now, invite=False)
        db.session.remove()


def test_somebody_with_two_contracts_finds_both_everywhere(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    sell_another(app, "NW-2999", cast.carol)
    carol = sign_in(cast.carol)
    assert carol.get("/account/contracts/").status_code == 200
    for page in ("/account/contracts/", "/", OWN, "/account/contracts/NW-2999/"):
        assert {"NW-2042", "NW-2999"} <= set(re.findall(r"NW-\d{4}", text_of(carol.get(page)))), page
    second = text_of(carol.get("/account/contracts/NW-2999/"))
    assert "Order PO-77" in second
    assert "Region Asia Pacific" in second
    assert "990" not in second, "prices are between the vendor and whoever orders"


def test_handing_over_one_of_two_seats_leaves_the_other(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    sell_another(app, "NW-2999", cast.carol)
    carol = sign_in(cast.carol)
    url = link_to(carol.get("/account/contracts/NW-2999/"), "replace")
    form = {"name": "Nina", "email": NINA, "hand_over": "y", "confirmed": NINA}
    assert send(carol, url, **form).location == "/sign-in"
    assert carol.get("/account/").status_code == 302, "every session of the person ends"
    again = sign_in(cast.carol)
    assert again.get("/account/contracts/").location == OWN
    assert again.get("/account/contracts/NW-2999/").status_code == 404


def test_a_day_gone_by_is_answered_on_both_pages(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    for reader, page in ((cast.carol, OWN), (cast.anton, STAFF)):
        client = sign_in(reader)
        assert "Carol Example , seat 1 Entitled" in text_of(client.get(f"{page}?on=2026-11-25"))
        assert "Nobody held a seat on 1 January 2020" in text_of(client.get(f"{page}?on=2020-01-01"))
        assert "Not entitled: the contract had ended" in text_of(client.get(f"{page}?on=2030-01-01"))
        for nonsense, said in (("soon", "soon is no date"), ("9999-12-31", "out of reach"), ("2026-02-30", "no date"), ("%00", "no date")):
            assert said in text_of(client.get(f"{page}?on={nonsense}"))


def test_the_history_is_downloaded_by_its_own_people_alone(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    invite_somebody(app, cast.other_contract, NINA, name="=cmd()")
    answer = sign_in(cast.carol).get(f"{OWN}history.csv")
    assert answer.mimetype == "text/csv"
    lines = answer.text.splitlines()
    assert lines[0] == "at,what,by"
    assert "2026-11-24T09:00:" in lines[1]
    assert "'=cmd() was invited" in answer.text
    for other in (cast.alice, cast.erin, cast.anton):
        assert sign_in(other).get(f"{OWN}history.csv").status_code == 404


def test_orders_and_places_are_changed_and_stand_in_the_history(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    anton = sign_in(cast.anton)
    url = re.search(rf'href="({STAFF}terms/\d+)"', anton.get(STAFF).text)
    assert url is not None
    assert "is no price we can read" in text_of(send(anton, url[1], price="much", currency="USD", order_reference=""))
    assert send(anton, url[1], price="1,237.50", currency="eur", order_reference="PO-9").status_code == 302
    assert send(anton, f"{STAFF}facts", region="Americas", time_zone="America/New_York").status_code == 302
    assert "Not a valid choice" in text_of(send(anton, f"{STAFF}facts", region="Atlantis", time_zone="America/New_York"))
    page = text_of(anton.get(STAFF))
    assert "Region Americas Time zone America/New_York" in page
    assert "was changed from USD 495 to EUR 1,237.50 (PO-9)" in page.replace("\u00a0", " ")
    own = text_of(sign_in(cast.carol).get(OWN))
    assert "Region and time zone were changed to Americas, America/New_York" in own
    assert "1,237" not in own
    assert anton.get(f"/staff/contracts/NW-2041/{url[1].partition('NW-2042/')[2]}").status_code == 404


def test_a_renewal_carries_its_price_and_order(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    anton = sign_in(cast.anton)
    page = anton.get(f"{STAFF}renew").text
    starts_on = page.partition('name="starts_on" value="')[2].partition('"')[0]
    assert 'value="495"' in page
    form = {"starts_on": starts_on, "price": "520", "currency": "EUR", "order_reference": "PO-10"}
    refused = send(anton, f"{STAFF}renew", **{**form, "price": "a lot"})
    assert "a lot is no price" in text_of(refused)
    assert 'value="PO-10"' in refused.text
    assert send(anton, f"{STAFF}renew", **form).status_code == 302
    with app.app_context():
        assert contracts.order_of(find_contract("NW-2042").terms[-1]) == Order(52_000, "EUR", "PO-10")
        db.session.remove()


def test_the_page_says_what_an_early_and_a_late_renewal_do(cast: Cast, sign_in: SignIn) -> None:
    assert "follows on without a gap; a later one starts on the day it is made" in text_of(
        sign_in(cast.alice).get("/account/contracts/NW-2041/")
    )
    late = text_of(sign_in(cast.dave).get("/account/contracts/NW-1999/"))
    assert "A renewal made today runs from 24 November 2026 to 23 November 2027" in late


def test_the_list_is_narrowed_by_address_and_exported_as_it_is_shown(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    anton = sign_in(cast.anton)
    with app.app_context():
        with transaction():
            contracts.suspend(find_contract("NW-3001"), actor=None, now=NOW)
        db.session.remove()

    def shown(query: str) -> set[str]:
        on_page = set(re.findall(r'href="/staff/contracts/(NW-\d{4})/"', anton.get(f"/staff/contracts/?{query}").text))
        exported = {line.partition(",")[0] for line in anton.get(f"/staff/contracts/export.csv?{query}").text.splitlines()[1:]}
        assert on_page == exported
        return on_page

    assert shown("") == {"NW-1999", "NW-2041", "NW-2042", "NW-3001"}
    assert shown("state=expired") == {"NW-1999"}
    assert shown("state=suspended") == {"NW-3001"}
    assert shown("state=active&q=foods") == {"NW-2042"}
    assert shown("ending=30") == set()
    assert shown("state=nonsense&ending=31&show=nothing") == {"NW-1999", "NW-2041", "NW-2042", "NW-3001"}
    assert "No contract ends in the next 60 days." in text_of(anton.get("/staff/contracts/?ending=60"))
    with statements(app) as seen:
        anton.get("/staff/contracts/?state=active&ending=90&q=e")
    assert len(seen) < 14


def upload(client: FlaskClient, content: bytes, button: str, **form: str) -> TestResponse:
    token = csrf_token(client.get("/staff/contracts/import").text)
    data = {"csrf_token": token, button: "1", "file": (io.BytesIO(content), "contracts.csv"), **form}
    return client.post("/staff/contracts/import", data=data, content_type="multipart/form-data")


def test_a_file_is_checked_then_imported_from_what_the_page_kept(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    anton = sign_in(cast.anton)
    rows = ",".join(COLUMNS) + "\nNW-7001,Example Garden,macro-studio,2026-11-01,,,Gwen,gwen@garden.example.org,,\n"
    checked = upload(anton, b"\xef\xbb\xbf" + rows.encode(), "check")
    assert "1 contract would be added; 0 of its numbers are known" in text_of(checked)
    assert anton.get("/staff/contracts/NW-7001/").status_code == 404
    kept = checked.text.partition("<textarea")[2].partition(">")[2].partition("</textarea>")[0].lstrip("\r\n")
    assert kept == rows
    done = send(anton, "/staff/contracts/import", text=kept.replace("\n", "\r\n"), **{"import": "1"})
    assert done.location == "/staff/contracts/"
    assert "1 contract is added; 0 were there already." in anton.get("/staff/contracts/").text
    assert mails(app) == [("invitation", "gwen@garden.example.org")]
    with app.app_context():
        made = sa.select(AuditEvent.action, AuditEvent.actor).where(AuditEvent.at >= NOW, AuditEvent.source == "web")
        who = {event.action: event.actor for event in db.session.execute(made)}
        db.session.remove()
    for action in ("organization.created", "contract.created", "contact.named", "contact.invited"):
        assert who[action] == "Anton Example"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "Choose a file, or paste its rows."),
        (b"\xff\xfe", "not UTF-8"),
        (b"number\n", "must name the columns"),
        (",".join(COLUMNS).encode() + b"\n" + b"NW-1,,,,,,,,,\n" * 501, "The file has 501 rows; here 500 are the most."),
        (
            ",".join(COLUMNS).encode() + b"\nNW-7001,Example Garden,nothing,2026-11-01,,,,,,\nNW-7002,,macro-studio,soon,,,,,,\n",
            "Row 3, starts_on",
        ),
    ],
)
@pytest.mark.parametrize("button", ["check", "import"])
def test_a_file_that_is_wrong_is_explained_and_changes_nothing(
    app: Flask, cast: Cast, sign_in: SignIn, content: bytes, said: str, button: str
) -> None:
    anton = sign_in(cast.anton)
    answer = upload(anton, content, button)
    assert answer.status_code == 200
    assert said in text_of(answer)
    assert "Nothing was imported." in text_of(answer)
    assert anton.get("/staff/contracts/NW-7001/").status_code == 404


@pytest.mark.parametrize("path", ["import", "export.csv", "NW-2041/facts", "NW-2041/terms/1"])
def test_only_those_who_keep_contracts_open_these_pages(cast: Cast, sign_in: SignIn, path: str) -> None:
    for name in (cast.alice, cast.petra, cast.paula):
        assert sign_in(name).get(f"/staff/contracts/{path}").status_code == 404
    assert sign_in(cast.ada).get(f"/staff/contracts/{path}").status_code == 200
