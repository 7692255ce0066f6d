"""Watching notices go out."""

from flask import Blueprint
from flask.typing import ResponseReturnValue

from portal.web.guards import protect, staff

blueprint = Blueprint("notices_staff", __name__, url_prefix="/staff/notices")
protect(blueprint, staff("publisher"))


@blueprint.get("/")
def index() -> ResponseReturnValue:
    return "not built yet"
