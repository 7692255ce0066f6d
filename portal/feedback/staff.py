"""Product staff at work."""

from flask import Blueprint
from flask.typing import ResponseReturnValue

from portal.web.guards import protect, staff

blueprint = Blueprint("feedback_staff", __name__, url_prefix="/staff/feedback")
protect(blueprint, staff("product"))


@blueprint.get("/")
def index() -> ResponseReturnValue:
    return "not built yet"
