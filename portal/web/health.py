"""Is the portal alive, and can it work: for load balancers and monitoring."""

from flask import Blueprint
from flask.typing import ResponseReturnValue

from portal.web.guards import protect, public

blueprint = Blueprint("health", __name__)
protect(blueprint, public)


@blueprint.get("/healthz")
def alive() -> ResponseReturnValue:
    """Say that this process answers."""
    return {"status": "ok"}
