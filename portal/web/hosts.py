"""Requests for another host are refused, so that no page, link or cached answer is ever made for a name that somebody made up.

What a request calls its host is the Host header, or what a proxy says, as far as PROXY_HOPS lets it be believed.
"""

from flask import Flask, Response, request

from portal.config import Settings
from portal.web.health import blueprint as health_blueprint

REFUSAL = "This portal does not answer to that host name. If it should, the name belongs into PUBLIC_URL or TRUSTED_HOSTS.\n"


def init_app(app: Flask, settings: Settings) -> None:
    """Ask it first: nothing else looks at a request for another host. Load balancers ask for health by any name they like."""

    @app.before_request
    def refuse_other_hosts() -> Response | None:
        if request.blueprint == health_blueprint.name or host_name(request.host) in settings.hosts:
            return None
        return Response(REFUSAL, 400, content_type="text/plain; charset=utf-8")


def host_name(host: str) -> str:
    """Return a Host header's name in lower case, without port, and without the brackets of an IPv6 address."""
    name, colon, port = host.rpartition(":")
    if not colon or not (port.isdigit() or not port) or host.endswith("]"):
        name = host
    return name.removeprefix("[").removesuffix("]").lower().removesuffix(".")
