"""The first page after signing in: the subscriber's, and the staff's."""

from flask import Blueprint, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from portal import clock
from portal.home import dashboard, duties
from portal.home.latest import latest_release
from portal.notices import progress
from portal.web.guards import holds_role, protect, signed_in, staff

blueprint = Blueprint("home", __name__)
protect(blueprint, signed_in)
blueprint.add_app_template_global(latest_release)  # the sign-in page asks for it
staff_blueprint = Blueprint("home_staff", __name__, url_prefix="/staff")
protect(staff_blueprint, staff())


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """Answer at a glance what a person came for; staff have a page of their own."""
    if current_user.is_staff:
        return redirect(url_for("home_staff.index"))
    now = clock.now()
    return render_template("home/index.html", home=dashboard.assemble(current_user, now), today=now)


@staff_blueprint.get("/", endpoint="index")
def staff_index() -> ResponseReturnValue:
    """Show what waits for somebody, each line a link to the act that resolves it."""
    now = clock.now()
    return render_template(
        "home/staff.html",
        duties=duties.collect(current_user.role_names, now),
        today=now,
        may_write=holds_role("accounts")(),
        label_of=progress.label_of,
        title_of=progress.title_of,
    )
