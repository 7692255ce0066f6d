"""The icon sprite: the few icons we use, cut at run time from the sprite of the installed Bootstrap-Flask package."""

import hashlib
import re
from functools import lru_cache
from importlib.resources import files

from flask import Blueprint, Response, g, url_for
from markupsafe import Markup

from portal.web.guards import protect, public

blueprint = Blueprint("icons", __name__)
protect(blueprint, public)

ICONS: frozenset[str] = frozenset({
    "arrow-down-short", "arrow-left", "arrow-repeat", "arrow-right", "arrow-up-short",
    "bar-chart", "bell", "bell-slash", "box-seam", "bug", "building",
    "calendar3", "chat-left-text", "check-circle", "check-circle-fill", "check-lg", "clipboard", "clock", "clock-history",
    "cloud-slash", "code-slash",
    "dash-circle", "download",
    "envelope", "exclamation-triangle-fill", "eye", "eye-slash",
    "file-earmark", "file-earmark-zip", "filetype-csv", "filetype-json", "fingerprint", "flag", "funnel",
    "gear",
    "hourglass-split", "house",
    "inbox", "info-circle", "intersect",
    "journal-text",
    "key",
    "laptop", "life-preserver", "lightbulb", "link-45deg", "list-check", "lock",
    "megaphone",
    "paperclip", "pause-circle", "pencil", "people", "person", "person-circle", "person-dash", "person-plus", "phone", "play-circle",
    "plus-lg",
    "question-circle",
    "receipt", "rss",
    "search", "send", "send-check", "shield-check", "shield-lock", "slash-circle", "star",
    "tag", "telephone", "trash",
    "unlock", "upload",
    "x-circle", "x-lg", "x-octagon-fill",
})  # fmt: skip
"""Every icon a template may name. Bootstrap Icons' own names."""

_SYMBOL = re.compile(r'<symbol\b[^>]*\bid="([^"]+)"[^>]*>.*?</symbol>', re.DOTALL)
_A_YEAR = "public, max-age=31536000, immutable"


class UnknownIcon(LookupError):
    """A template names an icon that is not in ICONS, or ICONS one that the package doesn't draw."""


@lru_cache(maxsize=1)
def build_sprite() -> bytes:
    """The SVG sprite that holds exactly ICONS.

    Raises UnknownIcon when the installed package lacks one of them.
    """
    source = files("flask_bootstrap").joinpath("static", "bootstrap5", "icons", "bootstrap-icons.svg")
    symbols = {match[1]: match[0] for match in _SYMBOL.finditer(source.read_text("utf-8")) if match[1] in ICONS}
    missing = ICONS - symbols.keys()
    if missing:
        raise UnknownIcon(f"Bootstrap-Flask draws no icon named {', '.join(sorted(missing))}.")
    body = "".join(symbols[name] for name in sorted(symbols))
    return f'<svg xmlns="http://www.w3.org/2000/svg">{body}</svg>'.encode()


@lru_cache(maxsize=1)
def sprite_digest() -> str:
    """Names this version of the sprite in its URL, so that it can be cached for good."""
    return hashlib.sha256(build_sprite()).hexdigest()[:12]


@blueprint.app_template_global("icon")
def icon(name: str) -> Markup:
    """One icon of the sprite, for the eye alone: the text beside it says the same.

    Raises UnknownIcon for a name that is not in ICONS.
    """
    sprite_url = g.get("portal_sprite_url")
    if sprite_url is None:  # a page shows dozens of icons
        sprite_url = g.portal_sprite_url = url_for("icons.sprite", digest=sprite_digest())
    return _draw(sprite_url, name)


@lru_cache(maxsize=1024)
def _draw(sprite_url: str, name: str) -> Markup:
    if name not in ICONS:
        raise UnknownIcon(f"{name!r} is not in portal.web.icons.ICONS; add it there.")
    return Markup('<svg class="icon" aria-hidden="true"><use href="{}#{}"/></svg>').format(sprite_url, name)


@blueprint.get("/icons-<digest>.svg")
def sprite(digest: str) -> Response:
    """Send the sprite. A page made by another version gets ours too, but must not keep it under that name."""
    response = Response(build_sprite(), mimetype="image/svg+xml")
    response.headers["Cache-Control"] = _A_YEAR if digest == sprite_digest() else "no-store"
    return response
