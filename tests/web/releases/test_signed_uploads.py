"""What a build is, its signature, and what it begins with: asked, checked and shown where release managers upload."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal.config import Settings
from portal.database import transaction
from portal.products.catalog import find_product
from portal.releases import catalog
from portal.releases.models import Build, BuildKind
from tests.cast import Cast
from tests.conftest import csrf_token
from tests.signing import Signer, new_signer
from tests.web.releases.helpers import DRAFT, MSI, STAFF, ZIP, send, upload
from tests.web.releases.test_manager_story import make_draft

SignIn = Callable[[str], FlaskClient]
PAGE = b"<!doctype html><title>404 Not Found</title>" * 5_000


@pytest.fixture
def paula(cast: Cast, sign_in: SignIn) -> FlaskClient:
    client = sign_in(cast.paula)
    make_draft(client)
    return client


@pytest.fixture
def signer(tmp_path: Path, app: Flask, cast: Cast) -> Signer:
    """The key of the product."""
    signer = new_signer(tmp_path)
    with app.app_context(), transaction():
        find_product("macro-studio").signing_key = signer.key
    return signer


def sign(signer: Signer, tmp_path: Path, content: bytes = MSI, name: str = "studio.msi") -> bytes:
    (tmp_path / name).write_bytes(content)
    return signer.sign(tmp_path / name).read_bytes()


def only_build(app: Flask) -> Build:
    with app.app_context():
        (build,) = catalog.find_release("macro-studio", "15.3b2").builds
        return build


def has_nothing(app: Flask, settings: Settings) -> bool:
    with app.app_context():
        builds = catalog.find_release("macro-studio", "15.3b2").builds
    return not builds and not [path for path in settings.builds_dir.rglob("*") if path.is_file()]


def both(client: FlaskClient, signature: bytes, *, signature_first: bool = False, **fields: Any) -> TestResponse:
    """Send a build and its signature in one form."""
    files: dict[str, Any] = {"file": (BytesIO(MSI), "studio.msi"), "signature": (BytesIO(signature), "studio.msi.minisig")}
    if signature_first:
        files = dict(reversed(files.items()))
    return send(client, f"{DRAFT}builds", page=f"{STAFF}/new", **files, **fields)


def test_the_form_asks_what_a_build_is_and_pages_show_it(app: Flask, paula: FlaskClient) -> None:
    upload(paula, b"text", "symbols.txt", kind="symbols")
    upload(paula, ZIP, "studio.zip", kind="portable", platform="Windows", architecture="ARM64")
    page = upload(paula, kind="installer", platform="Windows", architecture="x64").get_data(as_text=True)
    assert page.index("studio.msi</strong>") < page.index("studio.zip</strong>") < page.index("symbols.txt</strong>")
    assert "Portable, 4" in page
    assert "Windows, ARM64" in page
    with app.app_context():
        found = {build.filename: build.kind for build in catalog.find_release("macro-studio", "15.3b2").builds}
    assert found == {"symbols.txt": BuildKind.SYMBOLS, "studio.zip": BuildKind.PORTABLE, "studio.msi": BuildKind.INSTALLER}
    text = paula.get(f"{DRAFT}mail.txt").get_data(as_text=True)
    assert "* studio.msi (17\u00a0bytes, Windows, x64)\n* studio.zip (4\u00a0bytes, portable, Windows, ARM64)\n* symbols.txt" in text


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"kind": "virus"}, "Choose what the file is."), ({"architecture": "x" * 41}, "40 is the most"), ({"platform": "a\tb"}, "control")],
)
def test_what_a_build_cannot_be_is_refused_at_its_field(paula: FlaskClient, fields: dict[str, Any], reason: str) -> None:
    answer = upload(paula, **fields)
    assert answer.status_code == 400
    page = answer.get_data(as_text=True)
    (name,) = fields
    assert reason in page.partition(f'id="{name}-error"')[2][:400]


@pytest.mark.parametrize("name", ["setup.exe", "studio.msi", "studio.zip", "manual.pdf"])
@pytest.mark.parametrize("content", [PAGE, PAGE[:100]])
def test_a_page_saved_as_an_installer_is_refused_and_nothing_is_kept(
    app: Flask, paula: FlaskClient, settings: Settings, name: str, content: bytes
) -> None:
    answer = upload(paula, content, name, platform="Windows 64-bit", kind="portable")
    assert answer.status_code == 400
    page = answer.get_data(as_text=True)
    assert f"{name} is no {name[-3:]} file: it does not begin like one." in page
    assert 'value="Windows 64-bit"' in page
    assert '<option selected value="portable">' in page
    assert has_nothing(app, settings)


@pytest.mark.parametrize("signature_first", [False, True])
def test_a_signature_comes_with_its_build(app: Flask, paula: FlaskClient, signer: Signer, tmp_path: Path, signature_first: bool) -> None:
    page = both(paula, sign(signer, tmp_path), signature_first=signature_first).get_data(as_text=True)
    assert "studio.msi is uploaded." in page
    assert "Signature checked" in page
    assert "Each build signed" in page
    (tmp_path / "studio.msi.minisig").write_text(only_build(app).signature or "")
    assert signer.accepts(tmp_path / "studio.msi")


def test_a_wrong_signature_is_refused_with_the_reason_and_nothing_is_kept(
    app: Flask, paula: FlaskClient, signer: Signer, tmp_path: Path, settings: Settings
) -> None:
    for signature, reason in [
        (sign(new_signer(tmp_path, "other"), tmp_path), "was made with another key"),
        (sign(signer, tmp_path, MSI + b"x"), "does not belong to these bytes of studio.msi"),
        (b"nonsense", "This is no signature of minisign."),
        (b"x" * 50_000, "This is no signature of minisign."),
        (b"", "This is no signature of minisign."),
    ]:
        answer = both(paula, signature, platform="Windows 64-bit")
        assert answer.status_code == 400
        page = answer.get_data(as_text=True)
        assert reason in page.partition('id="signature-error"')[2]
        assert 'value="Windows 64-bit"' in page
        assert has_nothing(app, settings)


def test_a_script_is_told_which_file_was_wrong(paula: FlaskClient, signer: Signer) -> None:
    headers = {"Accept": "application/json", "X-CSRFToken": csrf_token(paula.get(DRAFT).get_data(as_text=True))}
    data = {"file": (BytesIO(MSI), "studio.msi"), "signature": (BytesIO(b"x"), "studio.msi.minisig")}
    answer = paula.post(f"{DRAFT}builds", data=data, headers=headers)
    assert (answer.status_code, answer.get_json()["field"]) == (400, "signature")
    answer = paula.post(f"{DRAFT}builds", data={"file": (BytesIO(b"x"), "studio.msi")}, headers=headers)
    assert (answer.status_code, answer.get_json()["field"]) == (400, "file")


def test_a_signature_alone_is_no_build(app: Flask, paula: FlaskClient, signer: Signer, settings: Settings) -> None:
    assert "Choose a file." in upload(paula, b"x", "studio.msi.minisig").get_data(as_text=True)
    data: dict[str, Any] = {"file": (BytesIO(b"x"), "a.minisig"), "signature": (BytesIO(b"x"), "b.minisig")}
    assert "are for signatures" in send(paula, f"{DRAFT}builds", page=f"{STAFF}/new", **data).get_data(as_text=True)
    assert has_nothing(app, settings)


def test_without_a_key_of_the_product_a_signature_is_refused_with_the_way_out(app: Flask, paula: FlaskClient, settings: Settings) -> None:
    answer = both(paula, b"x")
    assert answer.status_code == 400
    assert has_nothing(app, settings)


def test_a_signature_follows_later(app: Flask, paula: FlaskClient, signer: Signer, tmp_path: Path) -> None:
    page = upload(paula).get_data(as_text=True)
    assert "Not signed" in page
    assert "must be signed. Without a signature: studio.msi." in page
    url = f"{DRAFT}builds/{only_build(app).id}/signature"
    answer = send(paula, url, page=DRAFT)
    assert (answer.status_code, "Choose the signature" in answer.get_data(as_text=True)) == (400, True)
    wrong = sign(new_signer(tmp_path, "other"), tmp_path)
    answer = send(paula, url, page=DRAFT, signature=(BytesIO(wrong), "studio.msi.minisig"))
    assert (answer.status_code, "made with another key" in answer.get_data(as_text=True)) == (400, True)
    right = sign(signer, tmp_path)
    page = send(paula, url, page=DRAFT, signature=(BytesIO(right), "studio.msi.minisig")).get_data(as_text=True)
    assert "the signature is right" in page
    assert "Signature checked" in page
    assert 'id="pub-why">Emails' in page


@pytest.mark.parametrize("email", ["alice", "petra"])
def test_nobody_else_signs(app: Flask, cast: Cast, paula: FlaskClient, signer: Signer, sign_in: SignIn, email: str) -> None:
    upload(paula)
    other = sign_in(getattr(cast, email))
    answer = send(other, f"{DRAFT}builds/{only_build(app).id}/signature", page="/account/", signature=(BytesIO(b"x"), "x.minisig"))
    assert answer.status_code == 404


def test_signing_what_is_not_there_is_not_found(paula: FlaskClient, signer: Signer, tmp_path: Path) -> None:
    answer = send(paula, f"{DRAFT}builds/999/signature", page=DRAFT, signature=(BytesIO(sign(signer, tmp_path)), "x.minisig"))
    assert answer.status_code == 404


def test_publishing_is_refused_with_the_names_also_to_who_sends_the_form(paula: FlaskClient, signer: Signer) -> None:
    page = upload(paula).get_data(as_text=True)
    revision = page.partition('name="revision" value="')[2].partition('"')[0]
    page = send(paula, f"{DRAFT}publish", page=DRAFT, revision=revision).get_data(as_text=True)
    assert "Without a signature: studio.msi." in page
    assert "Draft" in page
