"""Releases for programs that hold a staff token: a build server puts its files into a draft, and looks whether they are there."""

from http import HTTPStatus

from flask import Blueprint
from flask.typing import ResponseReturnValue

from portal import clock
from portal.database import transaction
from portal.errors import Conflict, PortalError
from portal.extensions import csrf
from portal.releases import builds, catalog
from portal.releases.data import build_data, release_data
from portal.releases.forms import BuildForm
from portal.releases.uploads import receive_build
from portal.storage import Away, TooLarge
from portal.web.bearer import bearer, owner
from portal.web.errors import STORAGE_RETRY_SECONDS
from portal.web.guards import protect

blueprint = Blueprint("releases_api", __name__, url_prefix="/staff/api/releases")
protect(blueprint, bearer("builds:write"))


@blueprint.get("/<product>/<version>/")
def show(product: str, version: str) -> ResponseReturnValue:
    """A release and its files."""
    return release_data(catalog.find_release(product, version))


@blueprint.post("/<product>/<version>/builds")
def upload_build(product: str, version: str) -> ResponseReturnValue:
    """Take in a build of a draft: multipart/form-data with `file`, and if wanted its `.minisig` beside it, `kind`, `platform`,
    `architecture`."""
    release = catalog.find_release(product, version)
    release_id, form = release.id, BuildForm(formdata=None)
    try:
        upload = receive_build(release, from_program=True)
        form.read(upload.fields)
        arrived = upload.arrival()
        with transaction():
            made = builds.add_build(
                release_id, upload.filename, arrived.stored, **form.description(), blake2b=arrived.blake2b,
                signature=arrived.signature, actor=owner(), now=clock.now(),
            )  # fmt: skip
            answer = build_data(made)
    except PortalError as error:
        return _refusal(error)
    return answer, HTTPStatus.CREATED


csrf.exempt(blueprint)  # no cookie opens these doors, so no other site can ride on one


def _refusal(error: PortalError) -> ResponseReturnValue:
    status = HTTPStatus.BAD_REQUEST
    headers = {}
    if isinstance(error, TooLarge):
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    elif isinstance(error, Conflict):
        status = HTTPStatus.CONFLICT
    elif isinstance(error, Away):
        status, headers = HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": str(STORAGE_RETRY_SECONDS)}
    return {"error": str(error), "field": getattr(error, "field", None)}, status, headers
