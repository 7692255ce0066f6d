"""What the portal is for, once around: asked, linked to a beta, tried and judged, shipped, and the mail says so."""

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import Demo, link_in, text_of
from tests.e2e.test_stories import build, make_draft, publish, upload  # noqa: F401 - a fixture, and the steps of a release manager

SignIn = Callable[[Page, str], None]
TITLE = "Let a macro sound a bell when it is done"


def test_feedback_goes_round_from_question_to_release(
    demo: Demo,
    quiet_page: Page,
    browser: Browser,
    sign_in: SignIn,
    build: Path,  # noqa: F811 - the fixture
) -> None:
    page = quiet_page
    sign_in(page, "subscriber")
    number = ask(page, demo)

    staff = browser.new_context().new_page()
    sign_in(staff, "product")
    staff.goto(f"{demo.url}/staff/feedback/{number}/")
    staff.get_by_label("Link to a release").select_option("15.3b2, beta")
    staff.get_by_role("button", name="Link", exact=True).click()
    expect(staff.get_by_text("In beta 15.3b2").first).to_be_visible()

    give_a_verdict(page, demo, sign_in)
    staff.goto(f"{demo.url}/staff/releases/macro-studio/15.3b2/adoption/")
    verdicts = staff.get_by_role("region", name="Verdicts on what it brings")
    expect(verdicts.get_by_text("1 partly").first).to_be_visible()
    verdicts.get_by_role("listitem").filter(has_text=TITLE).get_by_text("Who said what").click()
    expect(verdicts.get_by_text("It rings, but not over a remote desktop.")).to_be_visible()

    sign_in(staff, "publisher")
    make_draft(staff, demo, "15.2.3", stable=True)
    upload(staff, build)
    staff.get_by_label("Link an item by its number").fill(number)
    staff.get_by_role("button", name="Link", exact=True).click()
    expect(staff.get_by_role("region", name="Feedback it brings").get_by_text(TITLE)).to_be_visible()
    page.goto(f"{demo.url}/feedback/{number}/")
    expect(page.get_by_text("15.2.3")).to_have_count(0)
    publish(staff)
    staff.context.close()

    for role in ("subscriber", "colleague"):
        address = demo.accounts[role]["email"]
        mail = demo.wait_for_mail(lambda message, to=address: "15.2.3" in message["Subject"] and to in message["To"], f"{role}'s notice")  # type: ignore[misc]
        assert mail["Subject"] == "Macro Studio 15.2.3: one thing you asked for is in it"
        assert f"* {TITLE}\n  {demo.url}/feedback/{number}/" in text_of(mail).replace("\r\n", "\n")
    page.goto(link_in(mail, rf"/feedback/{number}/"))
    expect(page.get_by_text("Shipped in 15.2.3").first).to_be_visible()
    again = [
        message["Subject"]
        for message in demo.mails()
        if TITLE in " ".join(str(message["Subject"]).split()) and "shipped" in message["Subject"]
    ]
    assert again == [], "who reads it in the notice is not mailed a second time"


def ask(page: Page, demo: Demo) -> str:
    """Write an idea by the form, and return its number."""
    page.goto(f"{demo.url}/feedback/new?product=macro-studio")
    page.get_by_label("Title").fill(TITLE)
    page.get_by_label("Description").fill("We start a long one and go for coffee.")
    page.get_by_role("button", name="Send to the product team").click()
    expect(page.get_by_role("heading", name=TITLE)).to_be_visible()
    expect(page.get_by_text("You follow this")).to_be_visible()
    found = re.search(r"/feedback/(\d+)/", page.url)
    assert found is not None
    return found[1]


def give_a_verdict(page: Page, demo: Demo, sign_in: SignIn) -> None:
    """The other contact of the contract is asked by mail, opens the beta by its link, and answers there."""
    colleague = demo.accounts["colleague"]["email"]
    mail = demo.wait_for_mail(
        lambda message: (
            "Does Macro Studio 15.3b2 solve it?" in message["Subject"] and TITLE in message["Subject"] and colleague in message["To"]
        ),
        "the question",
    )
    sign_in(page, "colleague")
    page.goto(link_in(mail, "/beta/macro-studio/15.3b2/"))
    question = page.get_by_role("group", name=TITLE)
    question.get_by_text("Partly", exact=True).click()
    question.get_by_label("What is still missing, or works well?").fill("It rings, but not over a remote desktop.")
    page.get_by_role("button", name=re.compile("^Send answer")).click()
    expect(page.get_by_text("Thank you.")).to_be_visible()
    expect(page.get_by_role("group", name=TITLE).get_by_label("Partly")).to_be_checked()
