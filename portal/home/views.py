"""The first page after signing in."""

from flask import Blueprint
from flask.typing import ResponseReturnValue

from portal.web.guards import protect, public, staff

blueprint = Blueprint("home", __name__, url_prefix="")
protect(blueprint, public)


@blueprint.get("/")
def index() -> ResponseReturnValue:
    return "not built yet"


staff_blueprint = Blueprint("home_staff", __name__, url_prefix="/staff")
protect(staff_blueprint, staff())


@staff_blueprint.get("/", endpoint="index")
def staff_index() -> ResponseReturnValue:
    return "not built yet"
