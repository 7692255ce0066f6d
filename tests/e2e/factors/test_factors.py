"""Second factors in Chromium, with the virtual authenticator of its DevTools in place of a finger on a key."""

import base64
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from portal import clock
from portal.app import create_app
from portal.database import db
from tests.authenticators import code_at
from tests.cast import PASSWORD, Cast, assemble
from tests.conftest import make_settings
from tests.e2e.conftest import assert_accessible
from tests.e2e.downloads.conftest import gunicorn

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 360, "height": 800}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[str]:
    """The address of a portal in which staff must have a second factor."""
    data_dir = tmp_path_factory.mktemp("factors")
    shutil.copyfile(sqlite_template, data_dir / "portal.db")
    app = create_app(make_settings(data_dir))
    with app.app_context():
        assemble(clock.now())
        db.session.remove()
        db.engine.dispose()
    with gunicorn(data_dir, STAFF_SECOND_FACTOR="required") as port:
        yield f"http://localhost:{port}"


class Authenticator:
    """A passkey built into the computer of a page."""

    def __init__(self, page: Page) -> None:
        self._devtools = page.context.new_cdp_session(page)
        self._devtools.send("WebAuthn.enable")
        kind = {
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True, "isUserVerified": True,
            "automaticPresenceSimulation": False,
        }  # fmt: skip
        self.id = self._devtools.send("WebAuthn.addVirtualAuthenticator", {"options": kind})["authenticatorId"]

    def count(self) -> int:
        return len(self._devtools.send("WebAuthn.getCredentials", {"authenticatorId": self.id})["credentials"])

    def set_present(self, present: bool) -> None:
        self._devtools.send("WebAuthn.setAutomaticPresenceSimulation", {"authenticatorId": self.id, "enabled": present})

    @contextmanager
    def touched(self) -> Iterator[None]:
        """Somebody touches it as soon as it asks. Otherwise it waits, as it does where a field only suggests it."""
        self.set_present(True)
        yield
        self.set_present(False)

    def set_verified(self, verified: bool) -> None:
        """Whether the finger laid on it is the right one."""
        self._devtools.send("WebAuthn.setUserVerified", {"authenticatorId": self.id, "isUserVerified": verified})


def give_password(page: Page, url: str, email: str, path: str = "/sign-in") -> None:
    page.goto(f"{url}{path}")
    page.get_by_label("Email address").fill(email)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


def sign_out(page: Page) -> None:
    page.locator("details.account summary").click()
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.wait_for_url(lambda address: "/sign-out" not in address)


def look(page: Page) -> None:
    """Nothing for axe to find, wide and narrow, light and dark."""
    for size, scheme in ((WIDE, "light"), (NARROW, "dark")):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        assert_accessible(page)
    page.set_viewport_size(WIDE)  # type: ignore[arg-type]
    page.emulate_media(color_scheme="light")


def test_staff_set_up_a_passkey_and_sign_in_with_it(quiet_page: Page, url: str) -> None:
    page, key = quiet_page, Authenticator(quiet_page)
    give_password(page, url, Cast.ada)
    page.goto(f"{url}/staff/audit/")
    expect(page.get_by_role("heading", name="Set up a second factor")).to_be_visible()
    look(page)
    page.get_by_role("link", name="Add a passkey").click()
    expect(page.get_by_label("Name of the passkey")).to_have_value("Chrome on Linux")
    look(page)
    page.get_by_label("Name of the passkey").fill("Laptop")
    with key.touched():
        page.get_by_role("button", name="Add a passkey").click()
        expect(page.get_by_role("list", name="Recovery codes").get_by_role("listitem")).to_have_count(10)
    assert key.count() == 1
    look(page)
    page.get_by_role("link", name="I have kept them").click()
    expect(page.get_by_text("Laptop")).to_be_visible()
    look(page)

    sign_out(page)
    give_password(page, url, Cast.ada, "/sign-in?next=/staff/%3Fx=1")
    expect(page.get_by_role("heading", name="Confirm that it is you")).to_be_visible()
    look(page)
    with key.touched():
        page.get_by_role("button", name="Use a passkey").click()
        page.wait_for_url(f"{url}/staff/?x=1")

    sign_out(page)
    page.goto(f"{url}/sign-in?next=/staff/")
    look(page)
    with key.touched():
        page.get_by_role("button", name="Sign in with a passkey").press("Enter")
        page.wait_for_url(f"{url}/staff/")

    page.goto(f"{url}/account/security/passkeys/new")
    with key.touched():
        page.get_by_role("button", name="Add a passkey").click()
        expect(page.get_by_role("alert")).to_have_text("This device or key is registered already.")

    sign_out(page)
    with key.touched():  # what the field of the address suggests is chosen
        page.goto(f"{url}/sign-in?next=/staff/audit/")
        page.wait_for_url(f"{url}/staff/audit/")


def test_the_wrong_finger_is_told_and_a_code_helps(quiet_page: Page, url: str) -> None:
    page, key = quiet_page, Authenticator(quiet_page)
    give_password(page, url, Cast.bob)
    page.wait_for_url(f"{url}/")
    page.goto(f"{url}/account/security/passkeys/new")
    shown = page.get_by_role("list", name="Recovery codes").get_by_role("listitem")
    with key.touched():
        page.get_by_role("button", name="Add a passkey").click()
        expect(shown).to_have_count(10)
    codes = shown.all_inner_texts()
    page.get_by_role("link", name="I have kept them").click()
    sign_out(page)
    key.set_verified(False)
    page.goto(f"{url}/sign-in")
    with key.touched():
        page.get_by_role("button", name="Sign in with a passkey").click()
        expect(page.get_by_role("alert")).to_contain_text("No passkey was used")
    assert_accessible(page)
    give_password(page, url, Cast.bob)
    page.get_by_role("link", name="Use a recovery code").click()
    look(page)
    page.get_by_label("Recovery code").fill(codes[0])
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(f"{url}/")
    page.goto(f"{url}/account/security/")
    expect(page.get_by_text("9 codes left")).to_be_visible()


def test_an_authenticator_app_is_set_up_asked_for_and_removed(quiet_page: Page, url: str) -> None:
    page = quiet_page
    give_password(page, url, Cast.alice)
    page.wait_for_url(f"{url}/")
    page.goto(f"{url}/account/security/")
    look(page)
    page.get_by_role("link", name="Set up an authenticator app").click()
    page.get_by_text("Cannot scan?").click()
    look(page)
    secret = base64.b32decode(page.locator("details .hash code").inner_text().replace(" ", ""))
    page.get_by_label("Code", exact=True).fill("000000")
    page.get_by_role("button", name="Set up the app").click()
    expect(page.get_by_role("alert")).to_contain_text("not the code that the app shows")
    look(page)
    page.get_by_label("Code", exact=True).fill(code(secret))
    page.get_by_role("button", name="Set up the app").click()
    expect(page.get_by_role("heading", name="Your recovery codes")).to_be_visible()
    page.get_by_role("link", name="I have kept them").click()
    sign_out(page)
    give_password(page, url, Cast.alice)
    expect(page.get_by_label("Code", exact=True)).to_be_focused()
    look(page)
    page.get_by_label("Code", exact=True).fill(code(secret, steps=-4))
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("does not match")
    look(page)
    page.get_by_label("Code", exact=True).fill(code(secret, steps=1))
    page.keyboard.press("Enter")
    page.wait_for_url(f"{url}/")
    page.goto(f"{url}/account/security/")
    page.get_by_role("link", name="Remove the authenticator app").click()
    look(page)
    page.get_by_role("button", name="Remove it").click()
    expect(page.get_by_text("The authenticator app is removed.")).to_be_visible()
    sign_out(page)
    give_password(page, url, Cast.alice)
    page.wait_for_url(f"{url}/")


def test_without_scripts_the_password_and_the_app_are_there(browser: Browser, url: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{url}/sign-in")
    expect(page.get_by_role("button", name="Sign in with a passkey")).to_be_hidden()
    give_password(page, url, Cast.carol)
    page.wait_for_url(f"{url}/")
    page.goto(f"{url}/account/security/passkeys/new")
    expect(page.get_by_role("button", name="Add a passkey")).to_be_hidden()
    expect(page.get_by_text("Passkeys need JavaScript")).to_be_visible()
    page.get_by_role("link", name="Set up an authenticator app").click()
    expect(page.get_by_role("img", name=re.compile("QR code"))).to_be_visible()
    context.close()


def code(secret: bytes, steps: int = 0) -> str:
    """What the app shows now, or so many steps of 30 seconds later."""
    return code_at(secret, datetime.now(UTC) + timedelta(seconds=30 * steps))
