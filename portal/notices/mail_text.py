"""Markdown for mails: HTML with inline styles, which mail programs ask for, and plain text wrapped at 72 characters."""

import re
import textwrap
from collections.abc import Iterator

from jinja2 import pass_context
from jinja2.runtime import Context
from markdown_it.tree import SyntaxTreeNode
from markupsafe import Markup

from portal.markdown import parse_markdown, render_markdown

WIDTH = 72
INK = "color:#12181d;"
STYLES = {
    "p": ("ink", f"margin:0 0 16px;{INK}"),
    "ul": ("ink", f"margin:0 0 16px;padding:0 0 0 20px;{INK}"),
    "ol": ("ink", f"margin:0 0 16px;padding:0 0 0 24px;{INK}"),
    "li": ("", "margin:0 0 6px;"),
    "a": ("lnk", "color:#0b5f73;"),
    "h2": ("ink", f"margin:0 0 8px;font-size:18px;line-height:24px;font-weight:700;{INK}"),
    "h3": ("ink", f"margin:0 0 8px;font-size:16px;line-height:24px;font-weight:700;{INK}"),
    "blockquote": ("rule", "margin:0 0 16px;padding:0 0 0 14px;border-left:3px solid #dce1e5;"),
    "pre": ("ink", f"margin:0 0 16px;white-space:pre-wrap;font-family:Consolas,Menlo,monospace;font-size:14px;line-height:20px;{INK}"),
    "code": ("", "font-family:Consolas,Menlo,monospace;font-size:14px;"),
    "table": ("ink", f"margin:0 0 16px;border-collapse:collapse;{INK}"),
    "th": ("rule", "padding:4px 12px 4px 0;text-align:left;border-bottom:1px solid #dce1e5;"),
    "td": ("rule", "padding:4px 12px 4px 0;vertical-align:top;border-bottom:1px solid #dce1e5;"),
}  # fmt: skip
STYLES |= {"h4": STYLES["h3"], "h5": STYLES["h3"], "h6": STYLES["h3"]}
_TAG = re.compile(rf"<({'|'.join(sorted(STYLES, key=len, reverse=True))})(?=[\s>])")


def _styled(match: re.Match[str]) -> str:
    css_class, style = STYLES[match[1]]
    named = f' class="{css_class}"' if css_class else ""
    return f'<{match[1]}{named} style="{style}"'


@pass_context
def mail_html(context: Context, text: str) -> Markup:
    """Return Markdown as HTML for a mail. Headings begin at h2, and links to paths of the portal become whole addresses.

    The HTML was cleaned before, so a "<" in it is always the beginning of an allowed tag.
    """
    html = _TAG.sub(_styled, str(render_markdown(text, heading_shift=1)))
    portal = Markup.escape(context.get("portal_url", ""))
    return Markup(html.replace('href="/', f'href="{portal}/'))  # nosec B704 # noqa: S704 - cleaned by render_markdown


@pass_context
def mail_plain(context: Context, text: str) -> str:
    """Return Markdown as plain text that reads well: wrapped, lists with bullets, addresses of links behind their text."""
    root = SyntaxTreeNode(parse_markdown(text))
    return "\n\n".join(_blocks(root, context.get("portal_url", "")))


def wrapped(text: str) -> str:
    """Return prose wrapped at 72 characters, its paragraphs kept apart. A long address stays whole."""
    paragraphs = re.split(r"\n\s*\n", text.strip())
    return "\n\n".join(_fill(" ".join(paragraph.split())) for paragraph in paragraphs)


def _fill(text: str, width: int = WIDTH) -> str:
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)


def _blocks(node: SyntaxTreeNode, portal_url: str, width: int = WIDTH) -> Iterator[str]:
    for child in node.children:
        if child.type == "heading":
            yield _inline(child, portal_url, capitals=True)
        elif child.type == "paragraph":
            yield "\n".join(_fill(line, width) for line in _inline(child, portal_url).split("\n"))
        elif child.type in {"fence", "code_block"}:
            yield textwrap.indent(child.content.rstrip("\n"), "    ")
        elif child.type == "hr":
            yield "-" * 8
        elif child.type == "blockquote":
            yield textwrap.indent("\n\n".join(_blocks(child, portal_url, width - 2)), "> ", lambda line: True)
        elif child.type in {"bullet_list", "ordered_list"}:
            yield "\n".join(_items(child, portal_url, width))
        elif child.type == "table":
            yield "\n".join(_rows(child, portal_url))
        else:
            yield from _blocks(child, portal_url, width)


def _items(node: SyntaxTreeNode, portal_url: str, width: int) -> Iterator[str]:
    number = int(node.attrs.get("start", 1))
    for index, item in enumerate(node.children):
        mark = "* " if node.type == "bullet_list" else f"{number + index}. "
        text = "\n".join(_blocks(item, portal_url, width - len(mark)))
        yield mark + textwrap.indent(text, " " * len(mark)).lstrip()


def _rows(node: SyntaxTreeNode, portal_url: str) -> Iterator[str]:
    for part in node.children:
        for row in part.children:
            yield " | ".join(_inline(cell, portal_url) for cell in row.children)


def _inline(node: SyntaxTreeNode, portal_url: str, *, capitals: bool = False) -> str:
    """The text of a line. In `capitals` links stay as they are: their addresses tell the case of letters."""
    parts: list[str] = []
    for child in node.children:
        if child.type in {"text", "code_inline"}:
            parts.append(child.content.upper() if capitals else child.content)
        elif child.type == "softbreak":
            parts.append(" ")
        elif child.type == "hardbreak":
            parts.append("\n")
        elif child.type == "link":
            parts.append(_link(_inline(child, portal_url), str(child.attrs.get("href", "")), portal_url))
        else:
            parts.append(_inline(child, portal_url, capitals=capitals))
    return "".join(parts)


def _link(text: str, target: str, portal_url: str) -> str:
    address = portal_url + target if target.startswith("/") else target.removeprefix("mailto:")
    return address if text in {target, address} or not text else f"{text} ({address})"
