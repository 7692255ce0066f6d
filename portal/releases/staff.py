"""Release managers at work."""

from flask import Blueprint
from flask.typing import ResponseReturnValue

from portal.web.guards import protect, staff

blueprint = Blueprint("releases_staff", __name__, url_prefix="/staff/releases")
protect(blueprint, staff("publisher"))


@blueprint.get("/")
def index() -> ResponseReturnValue:
    return "not built yet"
