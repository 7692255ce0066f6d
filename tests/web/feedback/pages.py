"""Reading pages and sending their forms the way a browser without JavaScript does."""

import re
from html import unescape
from html.parser import HTMLParser

from flask.testing import FlaskClient
from werkzeug.test import TestResponse


class _Forms(HTMLParser):
    """Collects each form's address and what it would send if nothing were typed."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: dict[str, dict[str, str]] = {}
        self._fields: dict[str, str] = {}
        self._select = self._area = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        name = given.get("name", "")
        if tag == "form":
            self._fields = self.forms.setdefault(given.get("action", ""), {})
        elif tag == "input" and name and (given.get("type") not in {"radio", "checkbox"} or "checked" in given):
            self._fields[name] = given.get("value", "")
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select and ("selected" in given or self._select not in self._fields):
            self._fields[self._select] = given.get("value", "")
        elif tag == "textarea":
            self._area = name
            self._fields[name] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self._select = ""
        elif tag == "textarea":
            self._area = ""

    def handle_data(self, data: str) -> None:
        if self._area:
            self._fields[self._area] += data.removeprefix("\r\n").removeprefix("\n")


def text(client: FlaskClient, address: str, code: int = 200) -> str:
    """Return the page at `address`, which must answer with `code`."""
    answer = client.get(address)
    assert answer.status_code == code, f"{address} answered {answer.status_code}"
    return answer.get_data(as_text=True)


def forms(page: str) -> dict[str, dict[str, str]]:
    reader = _Forms()
    reader.feed(page)
    return reader.forms


def send(client: FlaskClient, page_address: str, form: str, **typed: str) -> TestResponse:
    """Open a page, fill in its form that goes to `form`, and send it with everything the page put there."""
    filled = forms(text(client, page_address))[form]
    return client.post(form, data={**filled, **typed})


def words(page: str) -> str:
    """What a person reads of a page's main part."""
    main = page.partition("<main")[2].partition("</main>")[0]
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", main)))
