"""Betas, behind the gate."""

from flask import Blueprint
from flask.typing import ResponseReturnValue

from portal.web.guards import protect, signed_in

blueprint = Blueprint("beta", __name__, url_prefix="/beta")
protect(blueprint, signed_in)


@blueprint.get("/")
def index() -> ResponseReturnValue:
    return "not built yet"
