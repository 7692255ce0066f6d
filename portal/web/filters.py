"""Template filters: instants and dates in the reader's zone as `<time>`, sizes, versions, Markdown."""

from datetime import date, datetime

from flask import Flask, g
from flask_login import current_user
from markupsafe import Markup

from portal import clock
from portal.config import Settings
from portal.markdown import render_markdown
from portal.web import formatting


def init_app(app: Flask, settings: Settings) -> None:
    def zone() -> str:
        """The zone the reader chose, else the portal's. Asked once a request: a page shows many dates."""
        if "portal_zone" not in g:
            g.portal_zone = getattr(current_user, "time_zone", None) or settings.default_time_zone
        found: str = g.portal_zone
        return found

    def _time(machine: str, text: str) -> Markup:
        return Markup(f'<time datetime="{machine}">{text}</time>')  # nosec B704 # noqa: S704 - digits and the names of months

    def show_date(value: date | datetime) -> Markup:
        if isinstance(value, datetime):
            return _time(formatting.machine_time(value), formatting.long_date(clock.civil_date(value, zone())))
        return _time(value.isoformat(), formatting.long_date(value))

    def show_datetime(value: datetime) -> Markup:
        day = formatting.long_date(clock.civil_date(value, zone()))
        return _time(formatting.machine_time(value), f"{day}, {formatting.clock_time(value, zone())}")

    def show_time(value: datetime) -> Markup:
        return _time(formatting.machine_time(value), formatting.clock_time(value, zone()))

    def show_days(value: date | datetime) -> str:
        today = clock.civil_date(clock.now(), zone())
        day = clock.civil_date(value, zone()) if isinstance(value, datetime) else value
        return formatting.days_phrase((day - today).days)

    app.jinja_env.filters.update(
        date=show_date,
        datetime=show_datetime,
        time_only=show_time,
        ago_days=show_days,
        filesize=formatting.file_size,
        kind_version=formatting.kind_version,
        markdown=render_markdown,
        counted=formatting.count,
        money=formatting.money,
    )
