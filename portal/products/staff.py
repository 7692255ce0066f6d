"""Products, for administrators."""

from flask import Blueprint
from flask.typing import ResponseReturnValue

from portal.web.guards import protect, staff

blueprint = Blueprint("products_staff", __name__, url_prefix="/staff/products")
protect(blueprint, staff("admin"))


@blueprint.get("/")
def index() -> ResponseReturnValue:
    return "not built yet"
