"""The last minute of a beta, and the first after it."""

from collections.abc import Callable
from datetime import UTC, date, datetime

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient

from portal.account import access_tokens
from portal.database import transaction
from portal.releases.models import Channel
from tests.builds import CONTENT, find_seat, find_user, publish_release
from tests.cast import Cast
from tests.conftest import NOW

PATH = "/beta/macro-studio/15.3b2/download/studio.msi"


@pytest.mark.parametrize("by_token", [False, True], ids=["browser", "token"])
def test_from_midnight_after_the_last_day_no_byte_is_given(
    app: Flask, cast: Cast, sign_in: Callable[[str], FlaskClient], by_token: bool
) -> None:
    """The contract is in Berlin. Also what was begun before is not continued."""
    with app.app_context():
        publish_release("15.3b2", Channel.BETA, NOW, expires_on=date(2026, 11, 24))
        with transaction():
            token = access_tokens.create(find_seat(cast.alice).id, "curl", actor=find_user(cast.alice), now=NOW)
    headers = {"Authorization": f"Bearer {token}"} if by_token else {}
    with time_machine.travel(datetime(2026, 11, 24, 22, 59, 58, tzinfo=UTC), tick=False):
        client = app.test_client() if by_token else sign_in(cast.alice)
        assert client.get(PATH, headers=headers).data == CONTENT
    with time_machine.travel(datetime(2026, 11, 24, 23, 0, 0, tzinfo=UTC), tick=False):
        for wanted in ({}, {"Range": "bytes=1000-"}):
            answer = client.get(PATH, headers={**headers, **wanted})
            assert answer.status_code == 410
            assert "This beta has expired" in answer.get_data(as_text=True)
            assert CONTENT[1000:1064] not in answer.data
