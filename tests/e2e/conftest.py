"""The real thing: `portal demo` with gunicorn, worker and mail catcher, and Debian's Chromium in front of it."""

import email
import email.policy
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from playwright.sync_api import Page

from portal import clock

CHROMIUM = "/usr/bin/chromium"
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WAIT_SECONDS = 30


@dataclass(frozen=True)
class Demo:
    """A running demo: where it answers, where its mails lie, and who can sign in."""

    url: str
    data_dir: Path
    process: subprocess.Popen[str]
    accounts: dict[str, dict[str, str]]

    def mails(self) -> list[EmailMessage]:
        """Every mail caught so far, oldest first."""
        paths = sorted((self.data_dir / "mail").glob("*.eml"))
        return [email.message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in paths]

    def wait_for_mail(self, wanted: Callable[[EmailMessage], bool], what: str) -> EmailMessage:
        """Return the first mail that is wanted, waiting for it. Fails after WAIT_SECONDS."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            for message in self.mails():
                if wanted(message):
                    return message
            time.sleep(0.2)
        subjects = [f"{message['To']}: {message['Subject']}" for message in self.mails()]
        raise AssertionError(f"no mail: {what}; there were {subjects}")

    def portal(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the running demo."""
        return subprocess.run(
            [sys.executable, "-m", "portal", *arguments],
            env={"DATA_DIR": str(self.data_dir), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )


def text_of(message: EmailMessage) -> str:
    """The plain text of a mail."""
    body = message.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def link_in(message: EmailMessage, pattern: str) -> str:
    """The first address in a mail's text that matches."""
    found = re.search(rf"https?://\S*{pattern}\S*", text_of(message))
    assert found is not None, f"no {pattern} in {text_of(message)}"
    return found[0]


@pytest.fixture(autouse=True)
def today() -> datetime:
    """The processes under test have the real clock, so their tests have it too."""
    return clock.now()


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    data_dir = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "portal", "demo", "--port", "0", "--data", str(data_dir), "--json"]
    with (data_dir / "log.txt").open("w") as log, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (data_dir / "log.txt").read_text()
        said = json.loads(line)
        try:
            yield Demo(said["url"], data_dir, process, {account["role"]: account for account in said["accounts"]})
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    return {"executable_path": CHROMIUM, "args": QUIET}


@pytest.fixture(scope="session")
def browser_context_args() -> dict[str, Any]:
    return {"viewport": {"width": 1280, "height": 900}, "locale": "en-GB"}


@pytest.fixture
def quiet_page(page: Page) -> Iterator[Page]:
    """A page whose console must stay free of errors: no script fails, and the security policy blocks nothing of ours."""
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    ours = [text for text in errors if "status of 4" not in text]  # an answer of 403 or 404 is logged by the browser itself
    assert ours == []


@pytest.fixture
def sign_in(demo: Demo) -> Callable[[Page, str], None]:
    """Return a function that signs a page in as one of the demo's accounts, by the form."""

    def do(page: Page, role: str) -> None:
        account = demo.accounts[role]
        page.context.clear_cookies()
        page.goto(f"{demo.url}/sign-in")
        page.get_by_label("Email address").fill(account["email"])
        page.locator("#password").fill(account["password"])
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.wait_for_url(lambda url: "/sign-in" not in url)

    return do


def assert_accessible(page: Page) -> None:
    """No violation of axe's rules (WCAG 2.2 A and AA among them), and nothing wider than the window."""
    if not page.evaluate("'axe' in window"):  # half a megabyte of script, read once for all looks of a page
        page.evaluate(AXE_SCRIPT)
    found = page.evaluate("axe.run({resultTypes: ['violations']}).then(({url, violations}) => ({url, violations}))")
    results = AxeResults(found)
    assert results.violations_count == 0, results.generate_report()
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0, f"{page.url} is {overflow} px wider than the window"
