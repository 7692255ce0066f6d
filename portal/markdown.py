"""Markdown written by people, as safe HTML: parsed by markdown-it-py, then cleaned by nh3.

Raw HTML in the source stays text. The allow-list is the second wall, should the first ever leak.
"""

from functools import lru_cache

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

_PARSER = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")
_TAGS = {
    "a", "blockquote", "br", "code", "del", "em", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "s", "strong",
    "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
_ATTRIBUTES = {"a": {"href"}, "ol": {"start"}}


def _lower_headings(tokens: list[Token], by: int) -> None:
    """Give the headings consecutive levels below `by`, whatever levels the writer began with and left out."""
    headings = [token for token in tokens if token.type in {"heading_open", "heading_close"}]
    used = sorted({token.tag for token in headings})
    for token in headings:
        token.tag = f"h{min(6, used.index(token.tag) + 1 + by)}"


def parse_markdown(text: str) -> list[Token]:
    """Return the tokens of `text`, for another rendering than HTML."""
    return _PARSER.parse(text)


@lru_cache(maxsize=256)
def render_markdown(text: str, heading_shift: int = 2) -> Markup:
    """Return `text` as HTML. Its highest headings stand `heading_shift` below h1, so that a page keeps its own outline."""
    tokens = _PARSER.parse(text)
    _lower_headings(tokens, heading_shift)
    html = _PARSER.renderer.render(tokens, _PARSER.options, {})
    return Markup(  # nosec B704 # noqa: S704 - cleaned by nh3 right here
        nh3.clean(html, tags=_TAGS, attributes=_ATTRIBUTES, url_schemes={"http", "https", "mailto"}, link_rel="noopener nofollow")
    )


def list_items(text: str, limit: int) -> list[str]:
    """Return the first `limit` points of the lists in `text`, as plain text without markup."""
    items: list[str] = []
    inside = 0
    for token in _PARSER.parse(text):
        if token.type == "list_item_open":
            inside += 1
        elif token.type == "list_item_close":
            inside -= 1
        elif inside and token.type == "inline":
            items.append("".join(" " if child.type in {"softbreak", "hardbreak"} else child.content for child in token.children or []))
    return items[:limit]
