"""The staff's page about how a release is taken up, and the nudge from it."""

import csv
import io
import re
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from portal.account.models import Organization
from portal.database import transaction
from portal.notices.models import Delivery, DeliveryState
from tests.builds import find_contract, find_user
from tests.cast import Cast
from tests.conftest import NOW, csrf_token
from tests.integration.releases.helpers import make_draft

SignIn = Callable[[str], FlaskClient]
PAGE = "/staff/releases/macro-studio/15.3b2/adoption/"


@pytest.fixture
def told(app: Flask, beta: int) -> None:
    with app.app_context(), transaction() as session:
        session.execute(sa.update(Delivery).values(state=DeliveryState.SENT, settled_at=NOW, next_attempt_at=None))


@pytest.fixture
def tried(cast: Cast, told: None, sign_in: SignIn) -> None:
    sign_in(cast.alice).get("/beta/macro-studio/15.3b2/download/studio-x64.msi").get_data()


@pytest.mark.parametrize(("who", "status"), [("paula", 200), ("petra", 200), ("ada", 200), ("anton", 404), ("alice", 404)])
def test_publishers_and_the_product_team_read_it(cast: Cast, told: None, sign_in: SignIn, who: str, status: int) -> None:
    client = sign_in(getattr(cast, who))
    assert client.get(PAGE).status_code == status
    assert client.get(f"{PAGE}adoption.csv").status_code == status
    assert client.get(f"{PAGE}nudge").status_code == (404 if who == "petra" else status)


def test_the_page_shows_numbers_a_plot_and_each_person(cast: Cast, tried: None, sign_in: SignIn) -> None:
    page = sign_in(cast.petra).get(PAGE).get_data(as_text=True)
    assert "<b>3 people</b>told by mail" in page
    assert "<b>1 person</b>downloaded it" in page
    assert "1 people" not in page
    assert re.search(r'<svg[^>]* role="img"[^>]* aria-label="Since 24 November 2026: 1 person', page)
    for text in ("Alice Example", "studio-x64.msi", "whole", "Example Foods", "never tried it"):
        assert text in page
    assert "Nudge who never tried it" not in page  # that is for release managers


def test_another_spelling_of_the_version_leads_to_the_page(cast: Cast, told: None, sign_in: SignIn) -> None:
    answer = sign_in(cast.petra).get("/staff/releases/macro-studio/v15.3-beta2/adoption/")
    assert (answer.status_code, answer.location) == (301, PAGE)


def test_what_is_not_published_has_no_adoption(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        make_draft()
    assert sign_in(cast.petra).get(PAGE).status_code == 404


def test_the_csv_is_harmless_in_a_spreadsheet(app: Flask, cast: Cast, tried: None, sign_in: SignIn) -> None:
    with app.app_context(), transaction() as session:
        organization = session.get_one(Organization, find_contract(cast.contract).organization_id)
        organization.name = '=HYPERLINK("http://bad.example.org")'
        find_user(cast.alice).name = "@SUM(1)"
    answer = sign_in(cast.petra).get(f"{PAGE}adoption.csv")
    assert answer.content_type == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="macro-studio-15.3b2-adoption.csv"'
    rows = {row["email"]: row for row in csv.DictReader(io.StringIO(answer.get_data(as_text=True)))}
    assert sorted(rows) == [cast.alice, cast.bob, cast.carol]
    alice = rows[cast.alice]
    assert alice["organization"] == '\'=HYPERLINK("http://bad.example.org")'
    assert (alice["name"], alice["notice"], alice["file"], alice["percent"]) == ("'@SUM(1)", "sent", "studio-x64.msi", "100")
    assert rows[cast.bob]["downloaded_at"] == ""


def test_a_publisher_sees_who_is_nudged_and_nudges_once(cast: Cast, tried: None, sign_in: SignIn) -> None:
    paula = sign_in(cast.paula)
    assert "Nudge who never tried it" in paula.get(PAGE).get_data(as_text=True)
    page = paula.get(f"{PAGE}nudge").get_data(as_text=True)
    assert cast.carol in page
    assert cast.bob not in page
    data = {"csrf_token": csrf_token(page), "organization": re.findall(r'name="organization" value="(\d+)"', page)}
    assert len(data["organization"]) == 1
    answer = paula.post(f"{PAGE}nudge", data=data, follow_redirects=True)
    assert "1 organisation is nudged" in answer.get_data(as_text=True)
    page = paula.post(f"{PAGE}nudge", data=data, follow_redirects=True).get_data(as_text=True)
    assert "Nobody is left to nudge" in page
    assert "Nudged in the last seven days" in page


@pytest.mark.parametrize("organizations", [[], ["x"], ["99999999999999999999"], ["0"], ["²"]])
def test_nonsense_nudges_nobody(cast: Cast, told: None, sign_in: SignIn, organizations: list[str]) -> None:
    paula = sign_in(cast.paula)
    token = csrf_token(paula.get(f"{PAGE}nudge").get_data(as_text=True))
    answer = paula.post(f"{PAGE}nudge", data={"csrf_token": token, "organization": organizations})
    assert answer.status_code == 303


def test_many_organisations_are_offered_some_at_a_time(cast: Cast, told: None, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.beta.nudges.MOST_OFFERED", 1)
    page = sign_in(cast.paula).get(f"{PAGE}nudge").get_data(as_text=True)
    assert page.count('name="organization"') == 1
    assert "1 more organisation will stand here" in page
