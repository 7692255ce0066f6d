"""Account managers bring contracts in from a file, and take them out as one."""

import io

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal import audit, clock
from portal.account import contract_files, directory
from portal.account.contract_forms import ImportForm
from portal.account.imports import Outcome, Row
from portal.account.staff import wanted
from portal.account.views import person
from portal.config import current_settings
from portal.database import transaction
from portal.errors import Invalid, PortalError
from portal.web.formatting import count
from portal.web.forms import refuse
from portal.web.freshness import needs_fresh_sign_in
from portal.web.guards import protect, staff

# A row takes about 15 ms, and on SQLite nobody else writes meanwhile, for at most as long as they wait (database.BUSY_TIMEOUT_MS).
MOST_ROWS = 500
blueprint = Blueprint("contract_files_staff", __name__, url_prefix="/staff/contracts")
protect(blueprint, staff("accounts"))


class OnlyChecked(Exception):
    """Ends the transaction of an import that was only to be tried."""


@blueprint.get("/export.csv")
def export() -> ResponseReturnValue:
    """Send the contracts that the list shows, all pages of it, as the import reads them."""
    with transaction():
        audit.record("contracts.exported", subject_type="export", subject_id=None, actor=person(), now=clock.now(), form="csv")
    file = io.StringIO()
    contract_files.write(directory.all_contracts(clock.now(), wanted()), file)
    return file.getvalue(), {"Content-Type": "text/csv; charset=utf-8", "Content-Disposition": 'attachment; filename="contracts.csv"'}


@blueprint.route("/import", methods=["GET", "POST"], endpoint="bring_in")
@needs_fresh_sign_in
def import_contracts() -> ResponseReturnValue:
    """Show the form; check what was sent, or import it. What was checked stays in the form."""
    form, outcome = ImportForm(), None
    if form.validate_on_submit():
        try:
            content = form.content()
            rows = contract_files.read(content)
            if len(rows) > MOST_ROWS:
                raise Invalid(f"The file has {len(rows):,} rows; here {MOST_ROWS} are the most. Use the command portal contract import.")
            # Only now: what cannot be read as text says so itself, and has no place in a text field.
            form.text.data = content.decode("utf-8-sig")
            outcome = _run(rows, invite=not form.no_invitations.data, keep="import" in request.form)
        except PortalError as error:
            refuse(form, error)
        else:
            if "import" in request.form:
                flash(f"{count(outcome.added, 'contract is', 'contracts are')} added; {outcome.unchanged} were there already.", "success")
                return redirect(url_for("contracts_staff.index"))
    return render_template(
        "account/staff/import.html",
        form=form,
        outcome=outcome,
        faults=[line for text in form.form_errors for line in text.splitlines()],
        columns=contract_files.COLUMNS,
        optional=contract_files.OPTIONAL,
        most_rows=MOST_ROWS,
    )


def _run(rows: list[tuple[int, Row]], *, invite: bool, keep: bool) -> Outcome:
    outcome = Outcome()
    try:
        with transaction():
            outcome = contract_files.import_contracts(
                rows, default_zone=current_settings().default_time_zone, invite=invite, actor=person(), now=clock.now()
            )
            if not keep:
                raise OnlyChecked
    except OnlyChecked:
        pass
    return outcome
