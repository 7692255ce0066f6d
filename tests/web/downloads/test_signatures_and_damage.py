"""Signatures pass the same gate as their builds; a damaged build is handed out to nobody."""

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from portal.account import access_tokens
from portal.config import Settings
from portal.database import db, transaction
from portal.products.catalog import find_product
from portal.releases.models import Build, Channel, Download
from tests.builds import CONTENT, find_seat, find_user, publish_release
from tests.cast import Cast
from tests.conftest import NOW
from tests.integration.releases.helpers import mailed
from tests.signing import Signer, new_signer

SignIn = Callable[[str], FlaskClient]
STABLE = "/releases/macro-studio/15.2.1/"
BETA = "/beta/macro-studio/15.3b1/"


@pytest.fixture
def signer(app: Flask, cast: Cast, tmp_path: Path) -> Signer:
    """The key of the product, whose stable build and beta build are signed, and published."""
    signer = new_signer(tmp_path)
    (tmp_path / "studio.msi").write_bytes(CONTENT)
    text = signer.sign(tmp_path / "studio.msi").read_text()
    with app.app_context():
        publish_release("15.2.1", Channel.STABLE, NOW)
        publish_release("15.3b1", Channel.BETA, NOW)
        with transaction():
            find_product("macro-studio").signing_key = signer.key
            db.session.execute(sa.update(Build).values(signature=text))
    return signer


@pytest.mark.parametrize("page", [STABLE, BETA])
def test_build_and_signature_are_downloaded_and_minisign_accepts_them(
    cast: Cast, signer: Signer, sign_in: SignIn, tmp_path: Path, page: str, app: Flask
) -> None:
    alice = sign_in(cast.alice)
    assert f'href="{page}download/studio.msi.minisig"' in alice.get(page).get_data(as_text=True)
    answer = alice.get(f"{page}download/studio.msi.minisig")
    assert (answer.status_code, answer.mimetype) == (200, "text/plain")
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="studio.msi.minisig"')
    assert answer.headers["Cache-Control"] == "private, no-store"
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "studio.msi").write_bytes(alice.get(f"{page}download/studio.msi").data)
    (tmp_path / "taken" / "studio.msi.minisig").write_bytes(answer.data)
    assert signer.accepts(tmp_path / "taken" / "studio.msi")
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Download)) == 1


@pytest.mark.parametrize("page", [STABLE, BETA])
@pytest.mark.parametrize("who", [None, "alice", "carol", "dave", "erin", "frank", "paula"])
def test_whoever_may_not_have_a_build_may_not_have_its_signature(
    app: Flask, cast: Cast, signer: Signer, sign_in: SignIn, page: str, who: str | None
) -> None:
    client = sign_in(getattr(cast, who)) if who else app.test_client()
    build, signature = client.get(f"{page}download/studio.msi"), client.get(f"{page}download/studio.msi.minisig")
    assert build.status_code == signature.status_code
    if build.status_code != 200:
        assert b"trusted comment" not in signature.data


def test_an_unsigned_build_has_no_signature(app: Flask, cast: Cast, signer: Signer, sign_in: SignIn) -> None:
    with app.app_context(), transaction():
        db.session.execute(sa.update(Build).values(signature=None))
    alice = sign_in(cast.alice)
    assert alice.get(f"{STABLE}download/studio.msi.minisig").status_code == 404
    assert alice.get(f"{STABLE}download/none.minisig").status_code == 404
    assert alice.get(f"{STABLE}download/.minisig").status_code == 404
    assert "minisig" not in alice.get(STABLE).get_data(as_text=True)


# Damage ------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def damaged(app: Flask, signer: Signer) -> None:
    with app.app_context(), transaction():
        db.session.execute(sa.update(Build).values(damaged_at=NOW))


@pytest.mark.parametrize("page", [STABLE, BETA])
@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-9"}, {"If-None-Match": "*"}])
def test_a_damaged_build_is_refused_with_whom_to_ask(
    app: Flask, cast: Cast, damaged: None, sign_in: SignIn, page: str, headers: dict[str, str]
) -> None:
    alice = sign_in(cast.alice)
    answer = alice.get(f"{page}download/studio.msi", headers=headers)
    text = answer.get_data(as_text=True)
    assert answer.status_code == 503
    assert "This file is damaged in our storage" in text
    assert "support@example.org" in text
    assert CONTENT[:10] not in answer.data
    shown = alice.get(page).get_data(as_text=True)
    assert "marked as damaged" in shown
    assert f'href="{page}download/studio.msi"' not in shown
    with app.app_context():
        assert db.session.scalars(sa.select(Download)).all() == []


def test_a_program_is_told_in_plain_text(app: Flask, cast: Cast, damaged: None) -> None:
    with app.app_context(), transaction():
        token = access_tokens.create(find_seat(cast.alice).id, "curl", actor=find_user(cast.alice), now=NOW)
    answer = app.test_client().get(f"{BETA}download/studio.msi", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.mimetype) == (503, "text/plain")
    assert "damaged" in answer.get_data(as_text=True)


def test_a_file_that_is_missing_is_refused_with_a_reason_and_staff_are_told_once(
    app: Flask, cast: Cast, signer: Signer, sign_in: SignIn, settings: Settings
) -> None:  # fmt: skip
    with app.app_context():
        digest = db.session.scalars(sa.select(Build.sha256)).first() or ""
    (settings.builds_dir / digest[:2] / digest[2:4] / digest).unlink()
    alice = sign_in(cast.alice)
    for _ in range(2):
        answer = alice.get(f"{STABLE}download/studio.msi")
        assert answer.status_code == 503
        assert "This file is damaged in our storage" in answer.get_data(as_text=True)
    assert "marked as damaged" in alice.get(STABLE).get_data(as_text=True)
    with app.app_context():
        assert mailed("build_damaged") == [cast.ada, cast.paula]


def test_staff_see_the_damage_at_home_and_on_the_release(cast: Cast, damaged: None, sign_in: SignIn) -> None:
    paula = sign_in(cast.paula)
    home = paula.get("/staff/").get_data(as_text=True)
    assert "Builds are damaged in storage" in home
    assert "/staff/releases/macro-studio/15.2.1/#builds-h" in home
    page = paula.get("/staff/releases/macro-studio/15.2.1/").get_data(as_text=True)
    assert "Damaged in storage" in page
    assert "portal release verify" in page
    assert "damaged" not in sign_in(cast.petra).get("/staff/").get_data(as_text=True)
