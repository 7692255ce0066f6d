"""Writing in Chromium: what is similar comes up, a vote is one press, a preview is at hand, and a lost session loses no text."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, FilePayload, Page, expect

from portal.account import sessions
from portal.database import db, transaction
from tests.board import person, write
from tests.cast import PASSWORD
from tests.conftest import NOW
from tests.e2e.conftest import assert_accessible
from tests.e2e.feedback.conftest import Site, Watched, enter

Watch = Callable[[str], Watched]
LOG = FilePayload(name="run.log", mimeType="text/plain", buffer=b"12:01 connection lost\n")


@pytest.fixture(scope="module")
def pause(site: Site) -> int:
    with site.app.app_context():
        item_id = write(site.cast.carol, "Pause a running macro from the tray")
        db.session.remove()
    return item_id


def end_sessions(site: Site, email: str) -> None:
    with site.app.app_context():
        with transaction():
            sessions.end_all(person(email), now=NOW)
        db.session.remove()


def test_similar_entries_come_up_while_somebody_types_and_one_press_votes(site: Site, pause: int, watch: Watch) -> None:
    window = watch(site.cast.alice)
    page = window.page
    page.goto(f"{site.url}/feedback/new")
    page.get_by_label("Description", exact=True).fill("We need it **daily**.")
    page.get_by_label("Title", exact=True).press_sequentially("pause macro", delay=10)
    expect(page.get_by_role("heading", name="1 entry looks similar")).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="1 entry looks similar")).to_have_count(1)
    expect(page.get_by_label("Preview").locator("strong")).to_have_text("daily")
    assert_accessible(page)
    page.get_by_role("button", name="Vote for this instead: Pause a running macro from the tray").click()
    expect(page.get_by_text("2 contracts voted")).to_be_visible()
    expect(page.get_by_label("Add a comment")).to_have_value("We need it **daily**.")
    assert window.found == []


def test_return_in_the_title_sends_and_votes_for_nothing(site: Site, pause: int, watch: Watch) -> None:
    page = watch(site.cast.bob).page
    page.goto(f"{site.url}/feedback/new?title=pause")
    page.get_by_label("Description", exact=True).fill("Sent by Return.")
    page.get_by_label("Title", exact=True).fill("Pause by a key")
    page.get_by_label("Title", exact=True).press("Enter")
    expect(page.get_by_role("heading", name="Pause by a key", level=1)).to_be_visible()


def test_a_session_that_ended_meanwhile_costs_a_sign_in_and_nothing_else(site: Site, watch: Watch) -> None:
    window = watch(site.cast.bob)
    page = window.page
    page.goto(f"{site.url}/feedback/new")
    page.get_by_label("Problem").check()
    page.get_by_label("How bad is it?").select_option("high")
    page.get_by_label("Title", exact=True).fill("An hour of work")
    page.get_by_label("Description", exact=True).fill("All of it.")
    page.get_by_label("Attachments").set_input_files([LOG])
    end_sessions(site, site.cast.bob)
    page.get_by_role("button", name="Send to the product team").click()
    expect(page.get_by_text("What you wrote is kept")).to_be_visible()
    page.get_by_label("Email").fill(site.cast.bob)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_text("This was not sent yet.")).to_be_visible()
    expect(page.get_by_label("Title", exact=True)).to_have_value("An hour of work")
    expect(page.get_by_label("Description", exact=True)).to_have_value("All of it.")
    expect(page.get_by_label("run.log")).to_be_checked()
    assert_accessible(page)
    page.get_by_role("button", name="Send to the product team").click()
    expect(page.get_by_role("heading", name="An hour of work", level=1)).to_be_visible()
    with page.expect_download() as saved:
        page.get_by_role("link", name="run.log").click()
    assert saved.value.path().read_bytes() == LOG["buffer"]
    assert window.found == []


def test_a_file_that_is_too_large_is_named_before_it_is_sent(site: Site, watch: Watch) -> None:
    page = watch(site.cast.alice).page
    page.goto(f"{site.url}/feedback/new")
    chooser = page.get_by_label("Attachments")
    chooser.set_input_files([FilePayload(name="big.log", mimeType="text/plain", buffer=b"x" * 10_000_001)])
    assert "big.log is larger than 10.0" in chooser.evaluate("(input) => input.validationMessage")
    chooser.set_input_files([LOG])
    assert chooser.evaluate("(input) => input.validationMessage") == ""


def test_without_scripts_a_button_previews_and_shows_what_is_similar(site: Site, pause: int, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page: Page = context.new_page()
    enter(page, site, site.cast.carol)
    page.goto(f"{site.url}/feedback/new")
    page.get_by_label("Title", exact=True).fill("Pause a macro")
    page.get_by_label("Description", exact=True).fill("It is **bold**.")
    page.get_by_label("Attachments").set_input_files([LOG])
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_label("Preview").locator("strong")).to_have_text("bold")
    expect(page.get_by_text("looks similar").or_(page.get_by_text("look similar"))).to_be_visible()
    expect(page.get_by_label("run.log")).to_be_checked()
    page.get_by_role("button", name="Send to the product team").click()
    expect(page.get_by_role("heading", name="Pause a macro", level=1)).to_be_visible()
    expect(page.get_by_role("link", name="run.log")).to_be_visible()
    context.close()
