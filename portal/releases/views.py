"""Published releases, for everybody."""

from flask import Blueprint
from flask.typing import ResponseReturnValue

from portal.web.guards import protect, public

blueprint = Blueprint("releases", __name__, url_prefix="/releases")
protect(blueprint, public)


@blueprint.get("/")
def index() -> ResponseReturnValue:
    return "not built yet"
