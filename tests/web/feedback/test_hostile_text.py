"""Text that wants to run: in every field it comes out as text."""

from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.board import answer, comment, write
from tests.cast import Cast
from tests.hostile import CORPUS
from tests.web.feedback.pages import text

SignIn = Callable[[str], FlaskClient]
NEVER = {"iframe", "style", "object", "embed", "base", "math", "audio", "video"}


class _Tags(HTMLParser):
    """Collects what on a page would run, load from elsewhere, or send elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.active: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: (value or "").strip().lower() for name, value in attrs}
        own = given.get("src", given.get("action", "/")).startswith("/")
        bad_link = given.get("href", "/").partition(":")[0] in {"javascript", "data", "vbscript"}
        handler = any(name.startswith("on") or name in {"style", "srcdoc", "formaction"} for name in given)
        if tag in NEVER or not own or bad_link or handler or (tag == "script" and "src" not in given):
            self.active.append(f"<{tag} {given}>")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_field_lets_markup_through(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        for hostile in CORPUS[:-1]:  # the last one is refused, for it turns the direction of writing
            item_id = write(cast.alice, " ".join(hostile.split()), body=hostile)
            comment(cast.carol, item_id, hostile)
            answer(item_id, response=hostile, reason=hostile)
    alice, petra = sign_in(cast.alice), sign_in(cast.petra)
    pages = ["/feedback/", "/feedback/?q=%22%3E%3Cscript%3E", "/feedback/new?title=%22%3E%3Cscript%3Ealert(1)"]
    for client, address in (
        *((alice, address) for address in pages),
        *((alice, f"/feedback/{number}/") for number in range(1, len(CORPUS))),
        (petra, "/staff/feedback/"),
        *((petra, f"/staff/feedback/{number}/") for number in range(1, len(CORPUS))),
    ):
        page = text(client, address)
        tags = _Tags()
        tags.feed(page)
        assert tags.active == [], address
        assert "1337" not in page  # 7 * 191: no template was made of it
