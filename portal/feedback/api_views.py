"""Feedback for programs that hold a staff token: the whole of it, as a file."""

from flask import Blueprint, send_file
from flask.typing import ResponseReturnValue

from portal import audit, clock
from portal.database import end_read, transaction
from portal.feedback import export
from portal.web.bearer import bearer, owner
from portal.web.guards import protect

blueprint = Blueprint("feedback_api", __name__, url_prefix="/staff/api")
protect(blueprint, bearer("feedback:read"))


@blueprint.get("/feedback.<any(csv, json):form>")
def items(form: str) -> ResponseReturnValue:
    """All feedback, as `portal feedback export` writes it."""
    now = clock.now()
    with transaction():
        audit.record("feedback.exported", subject_type="export", subject_id=None, actor=owner(), now=now, form=form)
    whole = export.as_file(form, now)
    end_read()
    return send_file(whole, export.TYPES[form], as_attachment=True, download_name=f"feedback.{form}", max_age=0)
