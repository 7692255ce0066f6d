"""Parts of a page that a higher floor knows: a page names the place, and whoever registered for it fills it in.

So the page of a beta shows what people asked for in it, and knows nothing of feedback. A template writes
`{{ section("beta.release", release=release) }}`; nothing stands there if nobody registered.
"""

from collections.abc import Callable
from typing import Any

from flask import Flask
from markupsafe import Markup

# Given what the page says of itself: a part of that page, already escaped. Empty if there is nothing to show.
Provider = Callable[..., str]

_providers: dict[str, Provider] = {}


def register(place: str, provider: Provider) -> None:
    """Register who fills a place. Registering again replaces it, since each app built in a process registers all."""
    _providers[place] = provider


def section(place: str, **facts: Any) -> Markup:
    """Return what stands at a place of a page, for its reader."""
    provider = _providers.get(place)
    return Markup(provider(**facts)) if provider else Markup("")  # nosec B704 # noqa: S704 - rendered by a template, which escapes


def init_app(app: Flask) -> None:
    app.jinja_env.globals["section"] = section
