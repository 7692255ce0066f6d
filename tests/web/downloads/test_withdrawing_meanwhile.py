"""A release that is withdrawn while a download of it begins: who gets the bytes is told, and nobody else gets any."""

import io
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from portal.config import Settings
from portal.database import db, transaction
from portal.releases import publishing
from portal.releases.models import Channel, Download
from portal.storage.disk import DiskStore
from tests.builds import CONTENT, publish_release
from tests.cast import Cast
from tests.conftest import NOW
from tests.integration.releases.helpers import mailed

FILES = {Channel.BETA: "/beta/macro-studio/15.3b2/download/studio.msi", Channel.STABLE: "/releases/macro-studio/15.3/download/studio.msi"}


class SlowStore(DiskStore):
    """A store that takes so long to open a file that something happens meanwhile."""

    meanwhile: Callable[[], None]

    def open(self, sha256: str, first: int = 0, last: int | None = None) -> io.FileIO:
        self.meanwhile()
        return super().open(sha256, first, last)


@pytest.mark.parametrize("channel", list(Channel))
def test_no_byte_is_sent_of_what_was_withdrawn_while_storage_was_asked(
    app: Flask, cast: Cast, sign_in: Callable[[str], FlaskClient], settings: Settings, channel: Channel
) -> None:
    with app.app_context():
        release_id = publish_release("15.3b2" if channel is Channel.BETA else "15.3", channel, NOW)

    def withdraw() -> None:
        with app.app_context(), transaction():
            publishing.withdraw(release_id, "It can lose macros.", actor=None, now=NOW)

    alice = sign_in(cast.alice)
    store = app.extensions["portal.storage"] = SlowStore(settings.builds_dir)
    store.meanwhile = withdraw
    answer = alice.get(FILES[channel])
    assert answer.status_code == 410
    assert "It can lose macros." in answer.get_data(as_text=True)
    assert CONTENT[:10] not in answer.data
    with app.app_context():
        assert db.session.scalars(sa.select(Download)).all() == []
        assert mailed("release_withdrawn") == []
