"""The board."""

from flask import Blueprint
from flask.typing import ResponseReturnValue

from portal.web.guards import protect, signed_in

blueprint = Blueprint("feedback", __name__, url_prefix="/feedback")
protect(blueprint, signed_in)


@blueprint.get("/")
def index() -> ResponseReturnValue:
    return "not built yet"
