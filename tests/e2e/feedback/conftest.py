"""A portal behind gunicorn, with the cast, a beta that runs, and a browser that is watched."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, Dialog, Page

from portal import clock
from portal.app import create_app
from portal.database import db
from portal.releases.models import Channel
from tests.builds import publish_release
from tests.cast import PASSWORD, Cast, assemble
from tests.conftest import make_settings
from tests.e2e.downloads.conftest import gunicorn

WATCH = """
window.watched = {ran: [], violations: []};
window.alert = window.confirm = window.prompt = (text) => { window.watched.ran.push(String(text)); };
document.addEventListener("securitypolicyviolation", (event) => {
  window.watched.violations.push(event.violatedDirective + " " + event.blockedURI + " " + event.sample);
});
"""


@dataclass(frozen=True)
class Site:
    """A running portal; `app` is the same one in this process, for what is put into its database."""

    url: str
    app: Flask
    cast: Cast
    beta: int


@dataclass
class Watched:
    """A browser's window that notes whatever a page runs, is kept from, or asks of other hosts."""

    page: Page
    host: str
    found: list[str] = field(default_factory=list)

    def open(self, address: str) -> None:
        answer = self.page.goto(address)
        assert answer is not None
        assert answer.status < 400, address
        self.look()

    def look(self) -> None:
        watched = self.page.evaluate("window.watched")
        self.found += [f"{self.page.url} ran {text}" for text in watched["ran"]]
        self.found += [f"{self.page.url} violated {text}" for text in watched["violations"]]

    def note(self, what: str) -> None:
        if "status of 4" not in what:  # an answer of 403 or 404 is logged by the browser itself
            self.found.append(f"{self.page.url} {what}")

    def note_dialog(self, dialog: Dialog) -> None:
        self.note(f"opened a dialog: {dialog.message}")
        dialog.dismiss()

    def note_request(self, url: str) -> None:
        if urlsplit(url).netloc != self.host and not url.startswith("data:"):
            self.note(f"asked for {url}")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Site]:
    data_dir = tmp_path_factory.mktemp("site")
    settings = make_settings(data_dir)
    shutil.copyfile(sqlite_template, data_dir / "portal.db")
    app = create_app(settings)
    with app.app_context():
        now = clock.now()
        cast = assemble(now)
        beta = publish_release("15.3b2", Channel.BETA, now)
        db.session.remove()
    with gunicorn(settings.data_dir) as port:
        yield Site(f"http://127.0.0.1:{port}", app, cast, beta)


def enter(page: Page, site: Site, email: str) -> None:
    """Sign in by the form."""
    page.goto(f"{site.url}/sign-in")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/staff/|/$"))


@pytest.fixture
def watch(browser: Browser, site: Site) -> Iterator[Callable[[str], Watched]]:
    """Return a function that opens a watched window, signed in as the person with this address."""
    contexts: list[BrowserContext] = []

    def do(email: str) -> Watched:
        context = browser.new_context()
        contexts.append(context)
        context.add_init_script(WATCH)
        page = context.new_page()
        watched = Watched(page, urlsplit(site.url).netloc)
        page.on("dialog", watched.note_dialog)
        page.on("pageerror", lambda error: watched.note(f"failed {error}"))
        page.on("request", lambda request: watched.note_request(request.url))
        page.on("console", lambda message: watched.note(f"said {message.text}") if message.type == "error" else None)
        enter(page, site, email)
        return watched

    yield do
    for context in contexts:
        context.close()
