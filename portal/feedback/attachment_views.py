"""Handing out the files that came with feedback: to their own organisation and staff, to be saved and never shown.

Whatever its name says, a file is bytes here: a browser gets it as an attachment, is told not to guess what it is, and would have to
show it without scripts and without our origin (CSP `sandbox`).
"""

from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from portal import clock, storage
from portal.database import release_connection
from portal.errors import Conflict
from portal.feedback import access, attachments
from portal.feedback.views import me
from portal.releases.sending import BLOCK_BYTES, content_disposition
from portal.web.file_part import Blocks, FilePart
from portal.web.guards import protect, signed_in
from portal.web.ranges import Span

blueprint = Blueprint("feedback_attachments", __name__, url_prefix="/feedback")
protect(blueprint, signed_in)

POLICY = "default-src 'none'; sandbox; frame-ancestors 'none'"


@blueprint.get("/<int:item_id>/attachments/<int:attachment_id>/<path:filename>")
def download(item_id: int, attachment_id: int, filename: str) -> ResponseReturnValue:
    """Send a file. Its name in the address is for people; the numbers say which one."""
    viewer = access.viewer_of(me(), clock.now())
    found = attachments.find(viewer, item_id, attachment_id)
    name, sha256, size = found.filename, found.sha256, found.size
    release_connection()
    try:
        source = storage.store().open(sha256, 0, size - 1)
    except storage.Missing:
        raise Conflict("This file is missing from our storage. Write to us, and say which one it is.") from None
    response = Response(content_type="application/octet-stream")
    response.headers["Content-Disposition"] = content_disposition(name)
    response.headers["Content-Length"] = str(size)
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    response.headers["Cache-Control"] = "private, no-store"
    if request.method == "HEAD":
        source.close()
        return response
    part = FilePart(source, Span(0, size - 1))
    response.response = (request.environ.get("wsgi.file_wrapper") or Blocks)(part, BLOCK_BYTES)
    response.direct_passthrough = True
    return response
