"""Every page, as each kind of person sees it: accessible, quiet in the console, and no wider than a phone."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page

from tests.e2e.conftest import Demo, assert_accessible

WIDE, NARROW, NARROWEST = 1280, 390, 360
SIGNED_OUT = ["/sign-in", "/sign-in?next=/beta/", "/account/password/reset", "/releases/", "/releases/macro-studio/",
              "/releases/macro-studio/15.2.1/", "/releases/macro-studio/subscribe", "/no-such-page", "/notices/unsubscribe/no-such-token",
              "/notices/confirm/no-such-token", "/account/email/confirm/no-such-token"]  # fmt: skip
SUBSCRIBER = ["/", "/beta/", "/beta/macro-studio/15.3b2/", "/beta/macro-studio/terms/1/", "/beta/form-filler/8.1b1/", "/feedback/",
              "/feedback/?status=planned", "/feedback/following/", "/feedback/roadmap/", "/feedback/3/",
              "/feedback/verdicts/macro-studio/15.3b2/",
              "/feedback/?q=nothing-like-this", "/feedback/1/", "/feedback/2/", "/feedback/5/",
              "/feedback/6/", "/feedback/6/edit", "/feedback/6/history", "/feedback/?sort=answered&beta=15.3b2",
              "/feedback/new?title=pause", "/feedback/kept/",
              "/feedback/new?product=macro-studio&version=15.3b2", "/account/", "/account/security/",
              "/account/security/second-factor", "/account/security/authenticator",
              "/account/security/passkeys/new", "/account/password/change", "/account/email/", "/account/verify",
              "/account/notices/", "/account/contracts/NW-2041/", "/account/contracts/NW-2041/contacts/1/replace",
              "/account/contracts/NW-2041/?on=2026-11-01",
              "/releases/macro-studio/15.2.0/"]  # fmt: skip
PAGES = {
    "": SIGNED_OUT,
    "subscriber": SUBSCRIBER,
    "lapsed": ["/", "/beta/", "/beta/macro-studio/15.3b2/", "/feedback/", "/feedback/2/", "/feedback/roadmap/",
               "/account/contracts/NW-1873/"],
    "customer": ["/", "/beta/", "/feedback/", "/account/contracts/", "/account/notices/", "/releases/"],
    "publisher": ["/staff/", "/staff/releases/", "/staff/releases/new", "/staff/releases/macro-studio/",
                  "/staff/releases/macro-studio/15.3b2/", "/staff/releases/macro-studio/15.3b2/edit",
                  "/staff/releases/macro-studio/15.3b2/audience", "/staff/releases/macro-studio/15.3b2/withdraw",
                  "/staff/notices/", "/staff/notices/1/", "/staff/notices/announcements/", "/staff/notices/announcements/new",
                  "/staff/notices/announcements/1/", "/staff/notices/announcements/1/edit", "/staff/notices/announcements/1/audience",
                  "/staff/notices/announcements/1/send", "/staff/notices/announcements/1/discard",
                  "/staff/beta/", "/staff/beta/macro-studio/terms"],
    "product": ["/staff/", "/staff/feedback/", "/staff/feedback/?view=all&sort=value", "/staff/feedback/?view=mine&tag=1",
                "/staff/feedback/1/", "/staff/feedback/3/", "/staff/feedback/5/", "/staff/feedback/8/", "/staff/feedback/6/merge/3",
                "/staff/feedback/6/merge/7", "/staff/feedback/tags/", "/staff/feedback/tags/1/", "/feedback/roadmap/",
                "/staff/feedback/reports/",
                "/staff/releases/macro-studio/15.3b2/adoption/", "/feedback/6/", "/feedback/6/edit"],
    "accounts": ["/staff/", "/staff/contracts/", "/staff/contracts/new", "/staff/contracts/NW-2041/", "/staff/contracts/NW-1873/",
                 "/staff/contracts/?show=asked", "/staff/contracts/NW-1988/",
                 "/staff/contracts/?ending=60", "/staff/contracts/?state=expired", "/staff/contracts/import",
                 "/staff/contracts/NW-2041/?on=2026-11-01", "/staff/contracts/NW-2041/facts", "/staff/contracts/NW-2041/terms/1",
                 "/staff/contracts/NW-2041/renew", "/staff/contracts/NW-2041/cancel",
                 "/staff/contracts/NW-2102/contacts/new", "/staff/customers/", "/staff/customers/new"],
    "admin": ["/staff/", "/staff/products/", "/staff/products/new", "/staff/products/macro-studio/",
              "/staff/audit/", "/staff/audit/?person=nobody", "/staff/audit/?since=yesterday", "/staff/team/", "/staff/team/new",
              "/staff/team/2/", "/staff/tokens/", "/account/data/"],
}  # fmt: skip
LOOKS = [(WIDE, "light"), (WIDE, "dark"), (NARROW, "light"), (NARROW, "dark"), (NARROWEST, "light")]


@pytest.mark.parametrize("role", list(PAGES), ids=lambda role: role or "signed-out")
def test_pages_are_accessible_in_every_look(demo: Demo, browser: Browser, sign_in: Callable[[Page, str], None], role: str) -> None:
    """One window per person, resized and recoloured, so that signing in happens once."""
    context = browser.new_context(reduced_motion="reduce")  # a colour in mid-transition has no contrast of its own
    page = context.new_page()
    errors: list[str] = []
    page.on("console", lambda message: errors.append(f"{page.url}: {message.text}") if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(f"{page.url}: {error}"))
    if role:
        sign_in(page, role)
    for path in PAGES[role]:
        answer = page.goto(f"{demo.url}{path}")
        assert answer is not None
        assert answer.status < 500, path
        for width, scheme in LOOKS:
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            assert_accessible(page)
    context.close()
    assert [error for error in errors if "status of 4" not in error] == []
