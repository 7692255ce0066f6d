"""Scheduling by the form."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.database import transaction
from portal.releases import catalog
from portal.releases.models import ReleaseState
from tests.builds import find_user
from tests.cast import Cast
from tests.conftest import csrf_token
from tests.integration.releases.helpers import make_draft
from tests.web.releases.helpers import DRAFT, STAFF, send

SignIn = Callable[[str], FlaskClient]
FORM = f"{DRAFT}schedule"


@pytest.fixture
def paula(app: Flask, cast: Cast, sign_in: SignIn) -> FlaskClient:
    """A release manager in New York, with a draft."""
    with app.app_context():
        make_draft()
        with transaction():
            find_user(cast.paula).time_zone = "America/New_York"
    return sign_in(cast.paula)


def fill(client: FlaskClient, publish_at: str, follow: bool = True, **changed: str) -> tuple[int, str]:
    page = client.get(FORM).get_data(as_text=True)
    revision = page.partition('name="revision" type="hidden" value="')[2].partition('"')[0]
    data = {"csrf_token": csrf_token(page), "revision": revision, "publish_at": publish_at, **changed}
    answer = client.post(FORM, data=data, follow_redirects=follow)
    return answer.status_code, answer.get_data(as_text=True)


def state(app: Flask) -> tuple[ReleaseState, datetime | None]:
    with app.app_context():
        release = catalog.find_release("macro-studio", "15.3b2")
        return release.state, release.scheduled_for


def test_a_draft_is_scheduled_on_the_managers_own_clocks_and_taken_back(app: Flask, paula: FlaskClient) -> None:
    assert f'href="{FORM}"' in paula.get(DRAFT).get_data(as_text=True)
    page = paula.get(FORM).get_data(as_text=True)
    assert 'type="datetime-local"' in page
    assert "America/New_York" in page
    status, page = fill(paula, "2026-12-01T09:00")
    assert status == 200
    assert state(app) == (ReleaseState.SCHEDULED, datetime(2026, 12, 1, 14, 0, tzinfo=UTC))
    assert "1 December 2026, 09:00" in page
    assert "Make it a draft again" in page
    assert "Publish to" not in page
    assert "publishes itself" in paula.get(f"{STAFF}/").get_data(as_text=True)
    assert paula.get(FORM).status_code == 303
    assert "Make it a draft again to change it." in paula.get(f"{DRAFT}edit", follow_redirects=True).get_data(as_text=True)
    page = send(paula, f"{DRAFT}unschedule", page=DRAFT).get_data(as_text=True)
    assert "is a draft again" in page
    assert state(app) == (ReleaseState.DRAFT, None)
    assert "is not scheduled" in send(paula, f"{DRAFT}unschedule", page=DRAFT).get_data(as_text=True)


@pytest.mark.parametrize(
    ("publish_at", "reason"),
    [
        ("", "Choose date and time."), ("soon", "Enter a date and a time"), ("2026-11-24T03:59", "This time has passed."),
        ("2028-01-01T09:00", "more than a year ahead"), ("2027-03-14T02:30", "put forward"),
    ],
)  # fmt: skip
def test_bad_times_are_explained_and_stay_in_the_form(app: Flask, paula: FlaskClient, publish_at: str, reason: str) -> None:
    status, page = fill(paula, publish_at)
    assert status == 400
    assert reason in page
    assert f'value="{publish_at}"' in page
    assert state(app)[0] is ReleaseState.DRAFT


def test_a_draft_that_changed_meanwhile_is_not_scheduled(app: Flask, paula: FlaskClient) -> None:
    status, page = fill(paula, "2026-12-01T09:00", revision="0")
    assert status == 400
    assert "changed after you opened it" in page
    assert state(app)[0] is ReleaseState.DRAFT


@pytest.mark.parametrize("who", ["petra", "anton", "alice"])
def test_only_release_managers_schedule(paula: FlaskClient, cast: Cast, sign_in: SignIn, who: str) -> None:
    client = sign_in(getattr(cast, who))
    assert client.get(FORM).status_code == 404
    token = csrf_token(client.get("/account/").get_data(as_text=True))
    assert client.post(f"{DRAFT}unschedule", data={"csrf_token": token}).status_code == 404
