"""A customer's pages do not tell who else the vendor knows."""

from collections.abc import Callable

from flask import Flask
from flask.testing import FlaskClient

from tests.cast import Cast
from tests.web.account.pages import change_user, mails, send, text_of

SignIn = Callable[[str], FlaskClient]


def test_customers_staff_and_closed_accounts_are_refused_in_the_same_words(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    change_user(app, cast.dave, active=False)
    carol = sign_in(cast.carol)
    answers = [
        text_of(
            send(carol, f"/account/contracts/{cast.other_contract}/contacts/new", name="Zoe Example", email=email, other_domain="y")
        ).replace(email, "ADDRESS")
        for email in (cast.alice, cast.erin, cast.dave, cast.petra)
    ]
    assert len(set(answers)) == 1
    assert "ADDRESS cannot be named here." in answers[0]
    assert mails(app) == []


def test_where_both_seats_are_taken_no_address_is_looked_up(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    for email in (cast.carol, cast.petra, "nobody@example.org"):
        page = text_of(send(alice, f"/account/contracts/{cast.contract}/contacts/new", name="Zoe", email=email, other_domain="y"))
        assert "Both seats of contract" in page
