"""Withdrawing by the form, and what is left for readers."""

from collections.abc import Callable

from flask import Flask
from flask.testing import FlaskClient

from portal.releases.models import Channel
from tests.builds import publish_release
from tests.cast import Cast
from tests.conftest import NOW
from tests.web.releases.helpers import DRAFT, STAFF, send

SignIn = Callable[[str], FlaskClient]


def publish(app: Flask, version: str, channel: Channel = Channel.BETA) -> str:
    with app.app_context():
        return str(publish_release(version, channel, NOW, files={"studio.msi": version.encode()}))


def test_the_newest_sensible_version_is_chosen_and_named_on_the_tombstone(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    publish(app, "15.2", Channel.STABLE)
    publish(app, "15.3b2")
    newer = publish(app, "15.3b3")
    paula, alice = sign_in(cast.paula), sign_in(cast.alice)
    assert f'<option selected value="{newer}">' in paula.get(f"{DRAFT}withdraw").get_data(as_text=True)
    page = send(paula, f"{DRAFT}withdraw", reason="It removes macros.").get_data(as_text=True)
    assert "15.3b2 is withdrawn" in page
    assert 'href="/staff/releases/macro-studio/15.3b3/"' in page
    tombstone = alice.get("/beta/macro-studio/15.3b2/")
    assert tombstone.status_code == 410
    assert "It removes macros." in tombstone.get_data(as_text=True)
    assert 'href="/beta/macro-studio/15.3b3/"' in tombstone.get_data(as_text=True)
    assert alice.get("/beta/macro-studio/15.3b2/download/studio.msi").status_code == 410


def test_another_version_or_none_may_be_chosen(app: Flask, cast: Cast, sign_in: SignIn, client: FlaskClient) -> None:
    published = {version: publish(app, version, Channel.STABLE) for version in ("15.0", "15.1", "15.2", "15.3")}
    paula = sign_in(cast.paula)
    send(paula, f"{STAFF}/macro-studio/15.2/withdraw", reason="Bad.", safe=published["15.1"])
    send(paula, f"{STAFF}/macro-studio/15.3/withdraw", reason="Worse.", safe="")
    assert 'move to <a href="/releases/macro-studio/15.1/">' in client.get("/releases/macro-studio/15.2/").get_data(as_text=True)
    assert "move to" not in client.get("/releases/macro-studio/15.3/").get_data(as_text=True)


def test_what_cannot_be_chosen_is_refused_with_everything_typed_kept(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    publish(app, "15.2", Channel.STABLE)
    beta = publish(app, "15.3b2")
    paula = sign_in(cast.paula)
    for safe in (beta, "999", "nonsense"):
        answer = paula_sends(paula, safe)
        assert answer[0] == 400
        assert "It removes macros." in answer[1]
    assert paula.get("/releases/macro-studio/15.2/").status_code == 200


def paula_sends(paula: FlaskClient, safe: str) -> tuple[int, str]:
    answer = send(paula, f"{STAFF}/macro-studio/15.2/withdraw", reason="It removes macros.", safe=safe)
    return answer.status_code, answer.get_data(as_text=True)
