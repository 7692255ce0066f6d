"""Preferences and unsubscribing."""

from flask import Blueprint
from flask.typing import ResponseReturnValue

from portal.web.guards import protect, signed_in

blueprint = Blueprint("notices", __name__, url_prefix="")
protect(blueprint, signed_in)


@blueprint.get("/account/notices/")
def preferences() -> ResponseReturnValue:
    return "not built yet"
