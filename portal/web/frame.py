"""What every page shows around its content: brand, navigation, account menu, time zone."""

from collections.abc import Callable
from dataclasses import dataclass, field

from flask import Flask, g, request
from flask_login import current_user

from portal.config import Settings
from portal.web.urls import url_for


@dataclass(frozen=True)
class Entry:
    """A place in the navigation. `shown` says for whom it is there, `also` names other blueprints that belong to it."""

    label: str
    endpoint: str
    staff: bool = False
    shown: Callable[[], bool] = lambda: True
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Link:
    label: str
    url: str
    current: bool = False


@dataclass
class Frame:
    vendor_name: str
    portal_name: str
    support_email: str
    home_url: str
    time_zone: str
    time_zone_url: str
    signed_in: bool
    staff: bool
    account_label: str | None = None
    account_email: str | None = None
    account_links: list[Link] = field(default_factory=list)
    nav: list[Link] = field(default_factory=list)


def without_links() -> None:
    """Show this request's page without navigation: its reader can go nowhere else yet. The way out stays."""
    g.portal_without_links = True


def init_app(app: Flask, settings: Settings, entries: tuple[Entry, ...], account_entries: tuple[Entry, ...]) -> None:
    """Give every template a `frame`, with the `entries` that the reader may follow, in the order they are given."""

    @app.context_processor
    def add_frame() -> dict[str, Frame]:
        person = current_user._get_current_object()  # the proxy looks the person up on each use
        signed_in = bool(person.is_authenticated)
        staff = signed_in and person.is_staff
        frame = Frame(
            vendor_name=settings.vendor_name,
            portal_name=settings.portal_name,
            support_email=settings.support_email,
            home_url=url_for("home.index"),
            time_zone=(signed_in and person.time_zone) or settings.default_time_zone,
            time_zone_url="" if g.get("portal_without_links") else url_for("account.profile"),
            signed_in=signed_in,
            staff=staff,
        )
        if signed_in:
            organization = person.organization
            frame.account_label = organization.name if organization and not staff else person.label
            frame.account_email = person.email
        if signed_in and not g.get("portal_without_links"):
            frame.account_links = [Link(entry.label, url_for(entry.endpoint)) for entry in account_entries if entry.shown()]
            frame.nav = [_link(entry) for entry in entries if entry.staff == staff and entry.shown()]
        return {"frame": frame}


def _link(entry: Entry) -> Link:
    here = (request.endpoint or "").partition(".")[0]
    in_section = here in {entry.endpoint.partition(".")[0], *entry.also}
    return Link(entry.label, url_for(entry.endpoint), current=in_section)
