"""A beta's page and its final's page lead to each other, for those who may see betas."""

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.releases.models import Channel
from tests.builds import publish_release
from tests.cast import Cast
from tests.conftest import NOW

SignIn = Callable[[str], FlaskClient]
FINAL = "/releases/macro-studio/15.3/"


@pytest.fixture
def final(app: Flask, beta: int) -> None:
    with app.app_context():
        publish_release("15.3", Channel.STABLE, NOW, files={"final.msi": b"final"})


@pytest.mark.usefixtures("final")
def test_the_pages_lead_to_each_other(cast: Cast, sign_in: SignIn) -> None:
    for who in (cast.alice, cast.paula):
        client = sign_in(who)
        page = client.get("/beta/macro-studio/15.3b2/").get_data(as_text=True)
        assert "This beta became 15.3." in page
        assert f'href="{FINAL}"' in page
        page = client.get(FINAL).get_data(as_text=True)
        assert "Betas of this release" in page
        assert 'href="/beta/macro-studio/15.3b2/"' in page


@pytest.mark.usefixtures("final")
def test_staff_find_one_from_the_other(cast: Cast, sign_in: SignIn) -> None:
    paula = sign_in(cast.paula)
    page = paula.get("/staff/releases/macro-studio/15.3b2/").get_data(as_text=True)
    assert '<a href="/staff/releases/macro-studio/15.3/">15.3</a>' in page
    page = paula.get("/staff/releases/macro-studio/15.3/").get_data(as_text=True)
    assert '<a href="/staff/releases/macro-studio/15.3b2/">15.3b2</a>' in page


@pytest.mark.usefixtures("final")
def test_who_may_not_see_betas_does_not_learn_that_there_were_any(client: FlaskClient, cast: Cast, sign_in: SignIn) -> None:
    for reader in (client, *(sign_in(who) for who in (cast.dave, cast.erin, cast.frank, cast.anton))):
        page = reader.get(FINAL).get_data(as_text=True)
        assert "15.3" in page
        assert "15.3b2" not in page
        assert "Betas of this release" not in page


def test_a_beta_without_a_final_says_nothing_of_one(cast: Cast, beta: int, sign_in: SignIn) -> None:
    assert "became" not in sign_in(cast.alice).get("/beta/macro-studio/15.3b2/").get_data(as_text=True)
