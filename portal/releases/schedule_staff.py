"""Giving a draft the time at which it publishes itself, and taking it back."""

from flask import Blueprint, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from portal import clock
from portal.config import current_settings
from portal.database import transaction
from portal.errors import Conflict, PortalError
from portal.releases import audience, catalog, publishing, scheduling
from portal.releases.forms import ScheduleForm
from portal.releases.models import Release, ReleaseState
from portal.web.forms import refuse
from portal.web.freshness import needs_fresh_sign_in
from portal.web.guards import protect, staff

blueprint = Blueprint("schedule_staff", __name__, url_prefix="/staff/releases/<product>/<version>")
protect(blueprint, staff("publisher"))


@blueprint.route("/schedule", methods=["GET", "POST"])
@needs_fresh_sign_in
def schedule(product: str, version: str) -> ResponseReturnValue:
    """Choose date and time, on the clocks of the one who chooses."""
    release = catalog.find_release(product, version)
    if release.state is not ReleaseState.DRAFT:
        return _to_page(release)
    form = ScheduleForm(revision=str(release.revision))
    zone = current_user.time_zone or current_settings().default_time_zone
    if form.validate_on_submit():
        release_id = release.id
        try:
            at = scheduling.read_time(form.publish_at.data or "", zone)
            with transaction():
                scheduling.schedule(release_id, at, revision=form.read_revision(), actor=current_user, now=clock.now())
        except PortalError as error:
            refuse(form, error)
        else:
            flash(f"{release.product.name} {release.version} is scheduled. It publishes itself at that time.", "success")
            return _to_page(release)
    now = clock.now()
    page = render_template(
        "releases/schedule.html",
        release=release,
        form=form,
        zone=zone,
        reach=audience.reach(release, now),
        obstacle=publishing.obstacle_to_publishing(release, now),
    )
    return page, 400 if form.errors else 200


@blueprint.post("/unschedule")
def unschedule(product: str, version: str) -> ResponseReturnValue:
    """Make it a draft again."""
    release = catalog.find_release(product, version)
    release_id = release.id
    try:
        with transaction():
            scheduling.unschedule(release_id, actor=current_user, now=clock.now())
    except Conflict as error:
        flash(str(error), "error")
    else:
        flash(f"{release.product.name} {release.version} is a draft again. Nothing happens until you publish it.", "success")
    return _to_page(release)


def _to_page(release: Release) -> ResponseReturnValue:
    return redirect(url_for("releases_staff.show", product=release.product.slug, version=release.version), 303)
