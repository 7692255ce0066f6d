"""Contracts for programs that hold a staff token: all of them, as a file."""

from io import StringIO

from flask import Blueprint
from flask.typing import ResponseReturnValue

from portal import audit, clock
from portal.account import contract_files, directory
from portal.account.contract_cli import describe
from portal.database import transaction
from portal.web.bearer import bearer, owner
from portal.web.guards import protect

blueprint = Blueprint("contracts_api", __name__, url_prefix="/staff/api")
protect(blueprint, bearer("contracts:read"))


@blueprint.get("/contracts.<any(csv, json):form>")
def contracts(form: str) -> ResponseReturnValue:
    """All contracts with terms and contacts: as CSV, as the import reads them; as JSON, as `portal contract list --json` prints them."""
    now = clock.now()
    with transaction():
        audit.record("contracts.exported", subject_type="export", subject_id=None, actor=owner(), now=now, form=form)
    rows = directory.all_contracts(now)
    if form == "json":
        return [describe(row) for row in rows]
    file = StringIO(newline="")
    contract_files.write(rows, file)
    return file.getvalue(), {"Content-Type": "text/csv; charset=utf-8", "Content-Disposition": 'attachment; filename="contracts.csv"'}
