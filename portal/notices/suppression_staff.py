"""The addresses no mail goes to: looked up, added by hand, let go. For those who send notices and those who know the customers."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from portal import clock
from portal.database import transaction
from portal.errors import NotFound, PortalError
from portal.notices import suppression
from portal.notices.forms import SuppressForm
from portal.notices.progress import label_of, title_of
from portal.web.forms import refuse
from portal.web.guards import guarded_by, holds_role, protect, staff

blueprint = Blueprint("suppression_staff", __name__, url_prefix="/staff/notices/suppressed")
protect(blueprint, staff("publisher", "accounts"))

LARGEST_ID = 2**31 - 1
LONGEST_QUERY = 254


@blueprint.context_processor
def _whose_pages() -> dict[str, object]:
    """What the templates of these pages show by role, and how they name a notice."""
    may = {"sees_notices": holds_role("publisher")(), "may_write": holds_role("publisher", "accounts")()}
    return {**may, "label_of": label_of, "title_of": title_of}


@blueprint.get("/")
@guarded_by(staff("publisher", "accounts", "support"))
def index() -> ResponseReturnValue:
    """List them, latest first; by address, if one or a part of one is asked for."""
    query = " ".join(request.args.get("q", "").replace("\x00", " ").split())[:LONGEST_QUERY]
    before = request.args.get("before", "")
    before_id = min(int(before), LARGEST_ID) if before.isascii() and before.isdigit() else None
    page = suppression.page(query, before_id)
    return render_template("notices_pages/suppressed.html", page=page, query=query, is_first=before_id is None)


@blueprint.route("/new", methods=["GET", "POST"])
def new() -> ResponseReturnValue:
    """Suppress an address by hand."""
    form = SuppressForm()
    if form.validate_on_submit():
        try:
            with transaction():
                address = suppression.add_by_hand(form.address.data or "", form.reason.data or "", actor=current_user, now=clock.now())
        except PortalError as error:
            refuse(form, error)
        else:
            flash(f"No more mail goes to {address}.", "success")
            return redirect(url_for("suppression_staff.index"), 303)
    return render_template("notices_pages/suppressed_new.html", form=form), 400 if form.errors else 200


@blueprint.route("/<int:suppression_id>/lift", methods=["GET", "POST"])
def lift(suppression_id: int) -> ResponseReturnValue:
    """Ask, then let mail go to an address again."""
    suppression_id = min(suppression_id, LARGEST_ID)
    if request.method == "GET":
        return render_template("notices_pages/suppressed_lift.html", listed=suppression.get(suppression_id))
    try:
        with transaction():
            address = suppression.get(suppression_id).suppression.address
            suppression.lift(address, actor=current_user, now=clock.now())
    except NotFound as error:  # pressed twice, or a colleague was faster
        flash(str(error), "info")
        return redirect(url_for("suppression_staff.index"), 303)
    flash(f"Mail goes to {address} again. What was left out meanwhile is not sent again by itself.", "success")
    return redirect(url_for("suppression_staff.index"), 303)
