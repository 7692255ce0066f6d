"""The pages of a beta and of a release hold lines to copy for each build; they are text, whether scripts run or not."""

import hashlib
import html
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.database import db, transaction
from portal.products.catalog import find_product
from portal.products.models import StableAccess
from portal.releases.models import Build, Channel
from tests.builds import publish_release
from tests.cast import Cast
from tests.conftest import NOW
from tests.signing import Signer, new_signer

SignIn = Callable[[str], FlaskClient]
FILES = {"studio x64.msi": b"one", "it's b.zip": b"two"}


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return new_signer(tmp_path)


@pytest.fixture(params=[(Channel.STABLE, "15.2.1"), (Channel.BETA, "15.3b2")], ids=["release", "beta"])
def path(request: pytest.FixtureRequest, app: Flask, cast: Cast, signer: Signer, tmp_path: Path) -> str:
    channel, version = request.param
    (tmp_path / "one").write_bytes(FILES["studio x64.msi"])
    signature = signer.sign(tmp_path / "one").read_text()
    with app.app_context():
        publish_release(version, channel, NOW, files=FILES)
        with transaction() as session:
            find_product(cast.product).signing_key = signer.key
            build = session.query(Build).filter_by(filename="studio x64.msi").one()
            build.signature, build.blake2b = signature, hashlib.blake2b(FILES[build.filename]).hexdigest()
        db.session.remove()
    return f"/{'beta' if channel is Channel.BETA else 'releases'}/macro-studio/{version}/"


def lines_of(page: str) -> list[str]:
    return [html.unescape(line) for line in re.findall(r"<pre [^>]*>(.*?)</pre>", page, re.DOTALL)]


def test_each_build_has_its_lines_and_a_button_that_copies_the_same(path: str, cast: Cast, sign_in: SignIn, signer: Signer) -> None:
    page = sign_in(cast.alice).get(path).get_data(as_text=True)
    lines = lines_of(page)
    assert [line.split(" ")[0] for line in lines] == ["(Get-FileHash", "echo", "minisign", "curl", "(Get-FileHash", "echo", "curl"]
    assert lines[2] == f"minisign -Vm 'studio x64.msi' -P {signer.key}"
    assert "-LiteralPath 'it''s b.zip'" in lines[4]
    assert lines[3].endswith(f" 'http://127.0.0.1:8000{path}download/studio%20x64.msi'")
    copied = [html.unescape(value) for value in re.findall(r'data-copy="([^"]*)"', page)]
    assert [line for line in lines if line not in copied] == []


def test_a_public_build_needs_no_token(app: Flask, cast: Cast, stable: int) -> None:
    path = "/releases/macro-studio/15.2.1/"
    assert "YOUR-TOKEN" in app.test_client().get(path).get_data(as_text=True)
    with app.app_context(), transaction():
        find_product(cast.product).stable_access = StableAccess.PUBLIC
    page = app.test_client().get(path).get_data(as_text=True)
    assert "YOUR-TOKEN" not in page
    assert lines_of(page)[-1].startswith("curl --fail -C - -o 'studio.msi' 'http://127.0.0.1:8000/releases/")


def test_a_damaged_build_has_no_lines(path: str, app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context(), transaction() as session:
        session.query(Build).filter_by(filename="studio x64.msi").one().damaged_at = NOW
    lines = lines_of(sign_in(cast.alice).get(path).get_data(as_text=True))
    assert len(lines) == 3
    assert all("it" in line for line in lines)


def test_after_a_change_of_the_key_no_line_would_check_with_the_wrong_one(
    path: str, app: Flask, cast: Cast, sign_in: SignIn, tmp_path: Path
) -> None:  # fmt: skip
    with app.app_context(), transaction():
        find_product(cast.product).signing_key = new_signer(tmp_path, "next").key
    page = sign_in(cast.alice).get(path).get_data(as_text=True)
    assert not [line for line in lines_of(page) if line.startswith("minisign")]
    assert "studio%20x64.msi.minisig" in page
