"""Versions in addresses and forms."""

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.releases.models import Channel
from tests.builds import publish_release
from tests.cast import Cast
from tests.conftest import NOW
from tests.web.releases.helpers import STAFF, send

SignIn = Callable[[str], FlaskClient]


@pytest.fixture
def published(app: Flask, cast: Cast) -> None:
    with app.app_context():
        publish_release("15.2", Channel.STABLE, NOW)
        publish_release("15.3b2", Channel.BETA, NOW, files={"beta.msi": b"beta"})


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("spelling", ["v15.2.0", "%2015.2%20", "15.2.0", "V15.2"])
def test_other_spellings_lead_to_the_one_address(cast: Cast, client: FlaskClient, sign_in: SignIn, spelling: str) -> None:
    answer = client.get(f"/releases/macro-studio/{spelling}/")
    assert (answer.status_code, answer.location) == (301, "/releases/macro-studio/15.2/")
    answer = sign_in(cast.paula).get(f"{STAFF}/macro-studio/{spelling}/")
    assert (answer.status_code, answer.location) == (301, f"{STAFF}/macro-studio/15.2/")


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("spelling", ["v15.3-beta.2", "%2015.3b2%20", "15.3.0b2"])
def test_other_spellings_of_a_beta_lead_to_its_page_only_behind_the_gate(cast: Cast, sign_in: SignIn, spelling: str) -> None:
    answer = sign_in(cast.alice).get(f"/beta/macro-studio/{spelling}/")
    assert (answer.status_code, answer.location) == (301, "/beta/macro-studio/15.3b2/")
    assert sign_in(cast.dave).get(f"/beta/macro-studio/{spelling}/").status_code == 403


@pytest.mark.usefixtures("published")
def test_a_lower_version_is_confirmed_in_the_form_and_nothing_typed_is_lost(cast: Cast, sign_in: SignIn) -> None:
    paula = sign_in(cast.paula)
    assert 'name="lower"' not in paula.get(f"{STAFF}/new").get_data(as_text=True)
    typed = {"product": "macro-studio", "version": " v15.1.9 ", "channel": "stable", "kind": "", "notes": "A long text of mine."}
    answer = send(paula, f"{STAFF}/new", follow=False, **typed)
    page = answer.get_data(as_text=True)
    assert answer.status_code == 400
    assert "15.1.9 is lower than 15.2, the newest stable version there is." in page
    assert "A long text of mine." in page
    assert 'type="checkbox"' in page
    answer = send(paula, f"{STAFF}/new", follow=False, **typed, lower="y")
    assert (answer.status_code, answer.location) == (303, f"{STAFF}/macro-studio/15.1.9/")


@pytest.mark.usefixtures("published")
def test_a_final_version_on_the_beta_channel_is_refused_with_the_way_out(cast: Cast, sign_in: SignIn) -> None:
    answer = send(sign_in(cast.paula), f"{STAFF}/new", product="macro-studio", version="15.3", channel="beta", kind="")
    assert answer.status_code == 400
    assert "like 15.3b1" in answer.get_data(as_text=True)
