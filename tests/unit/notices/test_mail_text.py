"""Markdown in mails: safe HTML with inline styles, and plain text that reads well."""

from jinja2 import Environment

from portal.notices import mail_text

MARKDOWN = """
# News

Faster *start*, see [the notes](/releases/15.3.0) or <https://example.org/>. This sentence is long enough to need a second line.

* Schedules no longer run twice on the night the clocks change, which is a long item that needs a second line.
* See [idea 187](https://portal.example.org/feedback/187)
  1. nested

1. one
2. two

> A quoted word

    code  stays

<script>alert(1)</script>

[bad](javascript:alert(1))
"""


def render(template: str, text: str) -> str:
    environment = Environment(autoescape=False)
    environment.filters.update(mail_html=mail_text.mail_html, mail_plain=mail_text.mail_plain, wrapped=mail_text.wrapped)
    return environment.from_string(template).render(text=text, portal_url="https://portal.example.org")


def test_html_carries_its_styles_and_whole_links() -> None:
    html = render("{{ text|mail_html }}", MARKDOWN)
    assert '<p class="ink" style="margin:0 0 16px;color:#12181d;">Faster <em>start</em>' in html
    assert '<a class="lnk" style="color:#0b5f73;" href="https://portal.example.org/releases/15.3.0"' in html
    assert '<li style="margin:0 0 6px;">' in html
    assert '<h2 class="ink"' in html
    assert "<script" not in html
    assert "javascript:" not in html.partition("[bad]")[0]
    assert 'href="javascript' not in html


def test_plain_text_is_wrapped_and_keeps_addresses_whole() -> None:
    text = render("{{ text|mail_plain }}", MARKDOWN)
    assert max(len(line) for line in text.split("\n")) <= 72
    assert text.startswith("NEWS\n\nFaster start, see the notes (https://portal.example.org/releases/15.3.0)\nor https://example.org/.")
    assert (
        "* Schedules no longer run twice on the night the clocks change, which is\n  a long item that needs a second line.\n"
        "* See idea 187 (https://portal.example.org/feedback/187)\n  1. nested" in text
    )
    assert "1. one\n2. two" in text
    assert "> A quoted word" in text
    assert "    code  stays" in text
    assert "<script>alert(1)</script>" in text


def test_prose_is_wrapped_by_paragraphs() -> None:
    text = render("{{ text|wrapped }}", f"{'word ' * 30}\n\nhttps://example.org/{'a' * 90}")
    first, second = text.split("\n\n")
    assert all(len(line) <= 72 for line in first.split("\n"))
    assert "\n" not in second


def test_a_heading_stands_in_capitals_but_the_address_of_its_link_does_not() -> None:
    text = render("{{ text|mail_plain }}", "## Read *all* of [the Notes](https://example.org/Notes?Id=aB)")
    assert text == "READ ALL OF the Notes (https://example.org/Notes?Id=aB)"
