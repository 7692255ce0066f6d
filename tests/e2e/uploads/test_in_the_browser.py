"""Uploading in Chromium: progress, cancelling, trying again with the same file, and without JavaScript."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from playwright.sync_api import Browser, Page, expect

from portal import clock
from portal.app import create_app
from portal.database import db, transaction
from portal.products.catalog import find_product
from portal.releases import drafts
from portal.releases.models import Build, Channel
from tests.cast import PASSWORD, Cast, assemble
from tests.conftest import make_settings
from tests.e2e.conftest import assert_accessible
from tests.e2e.downloads.conftest import gunicorn
from tests.signing import Signer, new_signer

MSI = bytes.fromhex("D0CF11E0A1B11AE1")
SLOW_BYTES_PER_SECOND = 2_000_000


@dataclass(frozen=True)
class Site:
    """A running portal with one draft, of a product with a key."""

    url: str
    app: Flask
    cast: Cast
    signer: Signer
    builds_dir: Path

    @property
    def draft(self) -> str:
        return f"{self.url}/staff/releases/macro-studio/15.3b2/"

    def names(self) -> list[str]:
        with self.app.app_context():
            found = sorted(db.session.scalars(sa.select(Build.filename)))
            db.session.remove()
        return found

    def files(self) -> list[Path]:
        return [path for path in self.builds_dir.rglob("*") if path.is_file()]


@pytest.fixture
def site(tmp_path: Path, sqlite_template: Path) -> Iterator[Site]:
    settings = make_settings(tmp_path)
    shutil.copyfile(sqlite_template, tmp_path / "portal.db")
    app, signer = create_app(settings), new_signer(tmp_path)
    with app.app_context():
        now = clock.now()
        cast = assemble(now)
        with transaction():
            product = find_product(cast.product)
            product.signing_key = signer.key
            drafts.create_release(product, "15.3b2", Channel.BETA, notes="New", actor=None, now=now)
        db.session.remove()
    with gunicorn(settings.data_dir) as port:
        yield Site(f"http://127.0.0.1:{port}", app, cast, signer, settings.builds_dir)


def open_draft(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/sign-in")
    page.get_by_label("Email").fill(site.cast.paula)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/staff/|/$"))
    page.goto(site.draft)


class Network:
    """How a page is connected."""

    def __init__(self, page: Page) -> None:
        self._devtools = page.context.new_cdp_session(page)
        self._devtools.send("Network.enable")

    def set_speed(self, upload: int) -> None:
        """`upload`: bytes per second; -1: as fast as it goes."""
        conditions = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": upload}
        self._devtools.send("Network.emulateNetworkConditions", conditions)


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "MacroStudio-15.3.msi"
    path.write_bytes(MSI + b"x" * 30_000_000)
    return path


def test_an_upload_is_cancelled_and_tried_again_with_the_keyboard_alone(page: Page, site: Site, big: Path) -> None:
    open_draft(page, site)
    network = Network(page)
    network.set_speed(SLOW_BYTES_PER_SECOND)
    page.get_by_label("File", exact=True).set_input_files(big)
    page.get_by_role("button", name="Add the build").press("Enter")
    expect(page.get_by_role("progressbar", name=big.name)).to_be_visible()
    expect(page.locator("[data-upload-count]")).to_contain_text("of 30.0")
    cancel = page.get_by_role("button", name="Cancel upload")
    expect(cancel).to_be_focused()
    assert_accessible(page)

    cancel.press("Enter")
    again = page.get_by_role("button", name="Try again with the same file")
    expect(again).to_be_focused()
    expect(page.get_by_role("alert").filter(has_text="You cancelled the upload. Nothing was saved.")).to_be_visible()
    assert_accessible(page)
    page.wait_for_timeout(1_000)  # the server learns a moment later that nothing more comes
    assert site.names() == []
    assert site.files() == []

    network.set_speed(-1)
    again.press("Enter")
    expect(page.get_by_text(f"{big.name} is uploaded.")).to_be_visible()
    assert site.names() == [big.name]


def test_a_broken_connection_can_be_tried_again(page: Page, site: Site, big: Path) -> None:
    open_draft(page, site)
    page.route("**/builds", lambda route: route.abort("connectionreset"))
    page.get_by_label("File", exact=True).set_input_files(big)
    page.get_by_role("button", name="Add the build").click()
    expect(page.get_by_role("alert").filter(has_text="Nothing was half saved.")).to_be_visible()
    page.unroute("**/builds")
    page.get_by_role("button", name="Try again with the same file").click()
    expect(page.get_by_text(f"{big.name} is uploaded.")).to_be_visible()
    assert site.names() == [big.name]


def test_a_refusal_stands_at_its_field_and_is_not_tried_again(page: Page, site: Site, big: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.exe"
    wrong.write_bytes(b"<!doctype html>")
    open_draft(page, site)
    page.get_by_label("File", exact=True).set_input_files(wrong)
    page.get_by_role("button", name="Add the build").click()
    field = page.get_by_label("File", exact=True)
    expect(field).to_be_focused()
    expect(field).to_have_accessible_description(re.compile("wrong.exe is no exe file"))
    expect(page.get_by_role("button", name="Try again with the same file")).to_be_hidden()

    signature = new_signer(tmp_path, "other").sign(big)
    field.set_input_files(big)
    page.get_by_label("Signature (may follow later)").set_input_files(signature)
    page.get_by_role("button", name="Add the build").click()
    expect(page.get_by_label("Signature (may follow later)")).to_have_accessible_description(re.compile("was made with another key"))
    assert_accessible(page)
    assert site.names() == []
    assert site.files() == []


def test_a_signed_build_is_uploaded_without_javascript(browser: Browser, site: Site, big: Path) -> None:
    signature = site.signer.sign(big)
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        open_draft(page, site)
        page.get_by_label("File", exact=True).set_input_files(big)
        page.get_by_label("Kind").select_option("portable")
        page.get_by_label("Architecture").fill("ARM64")
        page.get_by_label("Signature (may follow later)").set_input_files(signature)
        page.get_by_role("button", name="Add the build").click()
        expect(page.get_by_text(f"{big.name} is uploaded.")).to_be_visible()
        expect(page.get_by_text("Signature checked")).to_be_visible()
        expect(page.get_by_text("Portable, 30.0\u00a0MB, ARM64")).to_be_visible()
