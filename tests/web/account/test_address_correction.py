"""Staff correct the address of a customer whose mailbox is gone: told to both, with a reason, and no way into staff's accounts."""

import pytest
import sqlalchemy as sa
from flask import Flask

from portal.account import people
from portal.audit import AuditEvent
from portal.database import db, transaction
from tests.cast import PASSWORD, Cast
from tests.conftest import NOW
from tests.web.account.factors import at_the_door, give_authenticator
from tests.web.account.pages import SignIn, change_user, invite_somebody, link_in_newest, mails, read_user, send, text_of, try_password

NEW = "alice.new@logistics.example.org"
WHY = "The old provider closed; called back on the number of the order"


def page_for(app: Flask, email: str) -> str:
    return f"/staff/customers/{read_user(app, email).id}/address"


def test_it_ends_what_the_old_address_opened_and_tells_both(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    anton, alice = sign_in(cast.anton), sign_in(cast.alice)
    send(alice, "/account/email/", email="alice@elsewhere.example.org")
    change = link_in_newest(app, "email_change_new", "confirm_url")
    send(app.test_client(), "/account/password/reset", email=cast.alice)
    reset = link_in_newest(app, "password_reset", "reset_url")
    page = page_for(app, cast.alice)
    assert page in anton.get("/staff/customers/?q=alice").text
    answer = send(anton, page, email=NEW, reason=WHY)
    assert answer.location == f"/staff/customers/?q={NEW}"
    assert alice.get("/account/").status_code == 302
    assert app.test_client().get(change).status_code == 410
    assert "no longer works" in app.test_client().get(reset, follow_redirects=True).text
    assert try_password(app.test_client(), cast.alice, PASSWORD).status_code == 200
    assert try_password(app.test_client(), NEW, PASSWORD).status_code == 302
    assert [address for kind, address in mails(app) if kind == "security_event"] == [cast.alice, NEW]
    with app.app_context():
        event = db.session.scalars(sa.select(AuditEvent).where(AuditEvent.action == "email.changed")).one()
        assert event.actor_id == read_user(app, cast.anton).id
        assert event.details == {"before": cast.alice, "after": NEW, "reason": WHY}


def test_the_second_factor_is_still_asked_for(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    give_authenticator(app, cast.alice)
    send(sign_in(cast.anton), page_for(app, cast.alice), email=NEW, reason=WHY)
    assert at_the_door(app, NEW).get("/account/").status_code == 302


@pytest.mark.parametrize("by", ["anton", "ada"])
def test_no_colleague_is_reached_and_nobody_by_another_role(app: Flask, cast: Cast, sign_in: SignIn, by: str) -> None:
    reader = sign_in(getattr(cast, by))
    for colleague in (cast.paula, cast.ada, cast.anton):
        page = page_for(app, colleague)
        assert reader.get(page).status_code == 404
        assert send(reader, page, page_for(app, cast.alice), email="taken@over.example.org", reason=WHY).status_code == 404
        assert read_user(app, colleague).email == colleague
    assert sign_in(cast.sue).get(page_for(app, cast.alice)).status_code == 404


def test_somebody_made_staff_meanwhile_is_not_reached(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    anton, page = sign_in(cast.anton), page_for(app, cast.erin)
    anton.get(page)
    with app.app_context(), transaction():
        people.add_staff(cast.erin, "Erin", ["admin"], actor=None, now=NOW)
    assert send(anton, page, page_for(app, cast.alice), email="erin@over.example.org", reason=WHY).status_code == 404
    assert read_user(app, cast.erin).email == cast.erin


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ({"reason": ""}, "Say why"),
        ({"reason": "called\nback"}, "line breaks"),
        ({"email": "alice"}, "no email address"),
        ({"email": Cast.alice}, "already"),
        ({"email": Cast.bob}, "somebody else"),
        ({"email": Cast.ada, "other_domain": "y"}, "somebody else"),
        ({"email": "alice@unlike.example.net"}, "tick the box"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(app: Flask, cast: Cast, sign_in: SignIn, typed: dict[str, str], says: str) -> None:
    answer = send(sign_in(cast.anton), page_for(app, cast.alice), **({"email": NEW, "reason": WHY} | typed))
    assert says in text_of(answer)
    assert read_user(app, cast.alice).email == cast.alice


def test_an_invitation_that_waits_is_corrected_where_it_is_sent_anew(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    invite_somebody(app, cast.lapsed_contract, "nina@lapsed.example.org")
    answer = send(
        sign_in(cast.anton), page_for(app, "nina@lapsed.example.org"), email="nina@right.example.org", reason=WHY, other_domain="y"
    )
    assert "on the contract's page" in text_of(answer)


def test_a_closed_account_is_not_there(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    change_user(app, cast.dave, active=False)
    assert sign_in(cast.anton).get(page_for(app, cast.dave)).status_code == 404
