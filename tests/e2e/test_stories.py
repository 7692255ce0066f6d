"""The main job, walked through as its people do, in a real browser against the running demo."""

import hashlib
import re
import subprocess
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import Demo, link_in, text_of

SignIn = Callable[[Page, str], None]
PASSWORD = "four unlikely words together"


def make_draft(page: Page, demo: Demo, version: str, *, stable: bool = False) -> None:
    """Make a draft of Macro Studio by the form, and stay on its page."""
    page.goto(f"{demo.url}/staff/releases/new")
    page.get_by_label("Product").select_option("Macro Studio")
    page.get_by_role("textbox", name="Version").fill(version)
    page.get_by_label("Stable", exact=True).check() if stable else page.get_by_label("Beta, for priority subscribers").check()
    page.get_by_label("Summary").fill(f"What {version} is about.")
    page.get_by_label("Release notes").fill(f"* **New.** Something in {version}.")
    page.get_by_label("What to test").fill("1. Try the new thing.")
    page.get_by_role("button", name="Save the draft").click()
    page.wait_for_url(re.compile(rf"/staff/releases/macro-studio/{version}/$"))


def upload(page: Page, path: Path) -> None:
    page.get_by_label("File", exact=True).set_input_files(path)
    page.get_by_role("button", name="Add the build").click()
    expect(page.get_by_text(hashlib.sha256(path.read_bytes()).hexdigest())).to_be_visible()


def publish(page: Page) -> None:
    page.get_by_role("button", name=re.compile("^Publish to")).click()
    expect(page.get_by_role("heading", name=re.compile("^Notice for"))).to_be_visible()


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A file of two megabytes to be released."""
    path = tmp_path / "MacroStudio-next-x64.zip"
    path.write_bytes(b"PK\x03\x04" + hashlib.sha256(b"seed").digest() * 65_536)
    return path


def test_a_contract_brings_its_two_contacts_to_their_home_page_and_one_hands_over(
    demo: Demo, quiet_page: Page, browser: Browser, sign_in: SignIn
) -> None:
    page = quiet_page
    sign_in(page, "accounts")
    page.goto(f"{demo.url}/staff/contracts/new")
    page.get_by_label("Contract number").fill("NW-7001")
    page.get_by_label("Organisation").fill("Example Harbour")
    page.get_by_label("Product").select_option("Macro Studio")
    page.get_by_label("First day").fill(date.today().isoformat())  # noqa: DTZ011 - the clerk's own calendar
    first, second = page.get_by_role("group", name="First contact"), page.get_by_role("group", name="Second contact")
    first.get_by_label("Name").fill("Crane control")
    first.get_by_label("Email address").fill("cranes@harbour.example.org")
    second.get_by_label("Name").fill("Harbour IT")
    second.get_by_label("Email address").fill("it@harbour.example.org")
    page.get_by_role("button", name="Make the contract").click()
    expect(page.get_by_role("heading", name="Contract NW-7001")).to_be_visible()
    expect(page.get_by_text("2 of 2 seats taken")).to_be_visible()

    contacts = {address: accept_invitation(demo, browser, address) for address in ("cranes@harbour.example.org", "it@harbour.example.org")}
    for contact in contacts.values():
        expect(contact.get_by_text("NW-7001").first).to_be_visible()

    cranes = contacts["cranes@harbour.example.org"]
    cranes.goto(f"{demo.url}/account/contracts/NW-7001/")
    cranes.get_by_role("link", name="Replace Crane control").click()
    dialog = cranes.get_by_role("dialog")
    dialog.get_by_label("Name or role of the new contact").fill("Quay control")
    dialog.get_by_label("Work email of the new contact").fill("quays@harbour.example.org")
    dialog.get_by_role("button", name="Replace and invite").click()
    expect(cranes.get_by_text("Your own seat goes to Quay control, quays@harbour.example.org.").first).to_be_visible()
    cranes.get_by_label("I hand over my own seat, and lose access at once").check()
    cranes.get_by_role("button", name="Replace and invite").click()
    expect(cranes.get_by_text("Your seat went to Quay control. You are signed out.")).to_be_visible()
    expect(accept_invitation(demo, browser, "quays@harbour.example.org").get_by_text("NW-7001").first).to_be_visible()
    colleague = contacts["it@harbour.example.org"]
    colleague.goto(f"{demo.url}/account/contracts/NW-7001/")
    expect(colleague.get_by_text("Crane control was released from seat 1")).to_be_visible()
    demo.wait_for_mail(
        lambda message: "it@harbour.example.org" in str(message["To"]) and "Quay control is now a contact" in str(message["Subject"]),
        "the other contact's notice",
    )


def accept_invitation(demo: Demo, browser: Browser, address: str) -> Page:
    """Open the link of the invitation to this address in a new window, choose a password, and return the window at home."""
    mail = demo.wait_for_mail(
        lambda message: address in str(message["To"]) and "/account/invitations/" in text_of(message), f"an invitation for {address}"
    )
    contact = browser.new_context().new_page()
    contact.goto(link_in(mail, "/account/invitations/"))
    contact.get_by_label("Password", exact=False).first.fill(PASSWORD)
    contact.get_by_role("button", name="Open my account").click()
    expect(contact.get_by_role("heading", name="Example Harbour", level=1)).to_be_visible()
    return contact


def test_a_beta_is_published_once_and_reaches_its_testers(
    demo: Demo, quiet_page: Page, browser: Browser, sign_in: SignIn, build: Path, tmp_path: Path
) -> None:
    page = quiet_page
    sign_in(page, "publisher")
    make_draft(page, demo, "15.4b1")
    upload(page, build)
    expect(page.frame_locator("iframe").get_by_role("heading", name="Macro Studio 15.4 beta 1 is ready to test")).to_be_visible()
    page.get_by_role("button", name="Send a test to myself").click()
    test_mail = demo.wait_for_mail(
        lambda message: "15.4b1" in message["Subject"] and "release-manager" in message["To"], "the test to the release manager"
    )
    assert "[Test]" in test_mail["Subject"]

    page.get_by_role("button", name=re.compile("^Publish to")).dblclick()
    expect(page.get_by_role("heading", name=re.compile("^Notice for 15.4b1"))).to_be_visible()
    subscriber = demo.accounts["subscriber"]["email"]
    mail = demo.wait_for_mail(lambda message: "15.4b1" in message["Subject"] and subscriber in message["To"], "the beta's notice")
    expect(page.locator(".tallies")).to_contain_text("Sent", timeout=15_000)
    notices = [message for message in demo.mails() if "15.4b1" in message["Subject"] and "[Test]" not in message["Subject"]]
    recipients = [str(message["To"]) for message in notices]
    assert len(recipients) == len(set(recipients)), "somebody was mailed twice"
    assert not any(demo.accounts[role]["email"] in to for role in ("lapsed", "customer") for to in recipients)

    reader = browser.new_context(viewport={"width": 390, "height": 844}).new_page()
    sign_in(reader, "subscriber")
    reader.goto(link_in(mail, "/beta/macro-studio/15.4b1/"))
    expect(reader.get_by_role("heading", name="Macro Studio 15.4 beta 1")).to_be_visible()
    with reader.expect_download() as started:
        reader.get_by_role("link", name=re.compile("^Download")).first.click()
    downloaded = tmp_path / "downloaded.zip"
    started.value.save_as(downloaded)
    assert downloaded.read_bytes() == build.read_bytes()
    assert started.value.suggested_filename == build.name

    resume_by_curl(demo, reader, build, tmp_path)
    unsubscribe(reader, link_in(mail, "/notices/unsubscribe/"))
    reader.context.close()


def resume_by_curl(demo: Demo, reader: Page, build: Path, tmp_path: Path) -> None:
    """Make a personal token on the account page, and let curl continue a download that broke off."""
    reader.goto(f"{demo.url}/account/security/")
    reader.get_by_label("What it is for").fill("build server")
    reader.get_by_role("button", name="Make a download token").click()
    token = reader.locator(".hash code").first.inner_text()
    half = tmp_path / "half.zip"
    half.write_bytes(build.read_bytes()[:700_000])
    url = f"{demo.url}/beta/macro-studio/15.4b1/download/{build.name}"
    curl = ["curl", "--silent", "--show-error", "--fail", "-C", "-", "-o", str(half), "-H", f"Authorization: Bearer {token}", url]
    result = subprocess.run(curl, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert half.read_bytes() == build.read_bytes()


def unsubscribe(reader: Page, link: str) -> None:
    """Opening the mail's link changes nothing; its one button does."""
    reader.context.clear_cookies()
    reader.goto(link)
    reader.get_by_role("button", name=re.compile("^Unsubscribe|^Stop")).click()
    expect(reader.get_by_role("heading", level=1)).to_contain_text(re.compile("unsubscribed|no longer|stopped|off", re.IGNORECASE))


def test_notes_are_corrected_without_mailing_anybody_again(demo: Demo, quiet_page: Page, sign_in: SignIn, build: Path) -> None:
    page = quiet_page
    sign_in(page, "publisher")
    make_draft(page, demo, "15.2.2", stable=True)
    upload(page, build)
    publish(page)
    demo.wait_for_mail(lambda message: "15.2.2" in message["Subject"], "the point release's notice")
    page.get_by_role("link", name="Correct the texts").click()
    page.get_by_label("Release notes").fill("* **New.** Something in 15.2.2, said better.")
    page.get_by_role("button", name=re.compile("^Save")).click()
    page.goto(f"{demo.url}/releases/macro-studio/15.2.2/")
    expect(page.get_by_text("said better")).to_be_visible()
    expect(page.get_by_text("Corrected", exact=True)).to_be_visible()
    assert demo.portal("notices", "drain").returncode == 0
    recipients = [str(message["To"]) for message in demo.mails() if "15.2.2" in message["Subject"]]
    assert len(recipients) == len(set(recipients)), "the correction was mailed"


def test_feedback_is_asked_voted_for_answered_and_comes_back_by_mail(
    demo: Demo, quiet_page: Page, browser: Browser, sign_in: SignIn
) -> None:
    page = quiet_page
    title = "Let a macro wait for a file"
    sign_in(page, "subscriber")
    page.goto(f"{demo.url}/beta/macro-studio/15.3b2/")
    page.get_by_role("link", name=re.compile("^Write feedback")).click()
    page.get_by_label("Title").fill(title)
    page.get_by_label("Description").fill("Our scanner drops a file. The macro should **wait** for it.")
    page.get_by_role("button", name="Send to the product team").click()
    expect(page.get_by_role("heading", name=title)).to_be_visible()
    address = page.url.split("?")[0]

    sign_in(page, "colleague")
    page.goto(address)
    expect(page.get_by_text("Your organisation voted").first).to_be_visible()
    page.get_by_label("Add a comment").fill("The night shift needs it as well.")
    page.get_by_role("button", name="Add comment").click()
    expect(page.get_by_text("The night shift needs it as well.")).to_be_visible()

    staff = browser.new_context().new_page()
    sign_in(staff, "product")
    staff.goto(f"{demo.url}/staff/feedback/")
    staff.get_by_role("link", name=title).click()
    staff.get_by_role("combobox", name="Status").select_option("Planned")
    staff.get_by_label("Or a version in words").fill("15.4")
    staff.get_by_label("Official response").fill("A step that waits for a file comes with 15.4.")
    staff.get_by_role("button", name="Save and tell the author").click()
    author = demo.accounts["subscriber"]["email"]
    mail = demo.wait_for_mail(lambda message: f"planned for 15.4: {title}" in message["Subject"] and author in message["To"], "the answer")
    assert title in mail["Subject"]
    assert "waits for a file comes with 15.4" in " ".join(text_of(mail).split())
    staff.context.close()

    page.goto(address)
    expect(page.get_by_text("A step that waits for a file comes with 15.4.")).to_be_visible()
    expect(page.get_by_text("Planned for 15.4").first).to_be_visible()


def test_times_are_shown_in_the_zone_a_person_chose(demo: Demo, quiet_page: Page, sign_in: SignIn) -> None:
    page = quiet_page
    sign_in(page, "colleague")
    page.goto(f"{demo.url}/account/")
    page.get_by_label("Time zone").select_option("Pacific/Auckland")
    page.get_by_role("button", name=re.compile("^Save")).click()
    page.goto(f"{demo.url}/account/contracts/NW-2041/")
    expect(page.locator("footer")).to_contain_text("Pacific/Auckland")


def test_the_lapsed_are_told_why_and_see_nothing_of_a_beta(demo: Demo, quiet_page: Page, sign_in: SignIn) -> None:
    page = quiet_page
    sign_in(page, "lapsed")
    for path in ("/", "/beta/", "/beta/macro-studio/15.3b2/", "/feedback/", "/releases/macro-studio/"):
        page.goto(f"{demo.url}{path}")
        text = page.locator("body").inner_text()
        assert "15.3" not in text, path
        assert "database connections open" not in text, path
    page.goto(f"{demo.url}/beta/")
    expect(page.get_by_text(re.compile("contract has ended"))).to_be_visible()
