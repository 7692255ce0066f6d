"""A person's own account."""

from flask import Blueprint
from flask.typing import ResponseReturnValue

from portal.web.guards import protect, signed_in

blueprint = Blueprint("account", __name__, url_prefix="/account")
protect(blueprint, signed_in)


@blueprint.get("/")
def profile() -> ResponseReturnValue:
    return "not built yet"


@blueprint.get("/security/")
def security() -> ResponseReturnValue:
    return "not built yet"


@blueprint.get("/contracts/")
def contracts() -> ResponseReturnValue:
    return "not built yet"
