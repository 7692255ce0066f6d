"""Feedback for programs that hold a staff token: the whole of it, as a file."""

from io import StringIO

from flask import Blueprint
from flask.typing import ResponseReturnValue

from portal import audit, clock
from portal.database import transaction
from portal.feedback import export
from portal.web.bearer import bearer, owner
from portal.web.guards import protect

blueprint = Blueprint("feedback_api", __name__, url_prefix="/staff/api")
protect(blueprint, bearer("feedback:read"))
TYPES = {"csv": "text/csv; charset=utf-8", "json": "application/json"}


@blueprint.get("/feedback.<any(csv, json):form>")
def items(form: str) -> ResponseReturnValue:
    """All feedback, as `portal feedback export` writes it."""
    now = clock.now()
    with transaction():
        audit.record("feedback.exported", subject_type="export", subject_id=None, actor=owner(), now=now, form=form)
    file = StringIO(newline="")
    write = export.write_csv if form == "csv" else export.write_json
    write(export.rows(now), file)
    return file.getvalue(), {"Content-Type": TYPES[form], "Content-Disposition": f'attachment; filename="feedback.{form}"'}
