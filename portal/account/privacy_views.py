"""What a person may ask for about their own data, and how staff erase somebody who asked for it."""

from datetime import datetime
from tempfile import TemporaryFile

from flask import Blueprint, flash, redirect, render_template, send_file, url_for
from flask.typing import ResponseReturnValue

from portal import clock
from portal.account import privacy
from portal.account.privacy_forms import EraseForm
from portal.account.views import ID, person
from portal.config import current_settings
from portal.database import transaction
from portal.errors import Invalid, PortalError
from portal.web.forms import refuse
from portal.web.freshness import needs_fresh_sign_in
from portal.web.guards import protect, signed_in, staff

blueprint = Blueprint("privacy", __name__, url_prefix="/account/data")
protect(blueprint, signed_in)
staff_blueprint = Blueprint("privacy_staff", __name__, url_prefix="/staff/customers")
protect(staff_blueprint, staff("accounts"))


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """Say what there is to ask for."""
    return render_template("account/data.html", kept=current_settings())


@blueprint.post("/copy")
@needs_fresh_sign_in
def copy() -> ResponseReturnValue:
    """Everything kept about the person, as one file."""
    now = clock.now()
    with transaction():
        privacy.note_copy(person(), actor=person(), now=now)
    return _archive(now)


def _archive(now: datetime) -> ResponseReturnValue:
    spool = TemporaryFile()  # noqa: SIM115 - it is closed with the answer
    privacy.write_copy(person(), spool, now=now)
    spool.seek(0)
    answer = send_file(spool, "application/zip", as_attachment=True, download_name=f"my-data-{now:%Y-%m-%d}.zip", max_age=0)
    answer.headers["Cache-Control"] = "private, no-store"
    return answer


@staff_blueprint.route(f"/<{ID}:person_id>/erase", methods=["GET", "POST"])
@needs_fresh_sign_in
def erase(person_id: int) -> ResponseReturnValue:
    """Say what erasing a person means; erase them once their address was typed in."""
    erasure = privacy.look(person_id)
    form = EraseForm()
    if form.validate_on_submit():
        try:
            if (form.address.data or "").strip().lower() != erasure.person.email:
                raise Invalid("That is not the address of this person. Type it as it stands above.", "address")
            with transaction():
                privacy.erase(person_id, actor=person(), now=clock.now())
        except PortalError as error:
            refuse(form, error)
        else:
            flash("The person is erased. Their name and address are gone; what their organisation wrote stays.", "success")
            return redirect(url_for("customers_staff.index"), 303)
    return render_template("account/staff/erase.html", erasure=erasure, form=form), 400 if form.errors or form.form_errors else 200
