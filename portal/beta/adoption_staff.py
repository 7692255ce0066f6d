"""How a release is taken up, for the staff, and a nudge for those who never tried a beta."""

import csv
import io

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user
from markupsafe import Markup

from portal import clock
from portal.beta import nudges, plots
from portal.beta.adoption import Adoption, Tester, adoption_of
from portal.config import current_settings
from portal.database import transaction
from portal.errors import Conflict, NotFound
from portal.releases.catalog import VISIBLE, find_release
from portal.releases.models import Release
from portal.text import defuse
from portal.web.formatting import count, long_date
from portal.web.guards import guarded_by, holds_role, protect, staff

blueprint = Blueprint("adoption_staff", __name__, url_prefix="/staff/releases/<product>/<version>/adoption")
protect(blueprint, staff("publisher", "product"))

PAGE = 50
COLUMNS = ("organization", "name", "email", "notice", "notice_at", "file", "downloaded_at", "completed_at", "percent", "feedback_items")


@blueprint.get("/")
def show(product: str, version: str) -> ResponseReturnValue:
    """Show the numbers, the plot, and the people by organisation, some organisations at a time (`after` a name)."""
    release = _published(product, version)
    if release.version != version:
        return redirect(url_for("adoption_staff.show", product=product, version=release.version), 301)
    now = clock.now()
    adoption = adoption_of(release)
    groups, further = adoption.page(request.args.get("after", ""), PAGE)
    return render_template(
        "beta/staff_adoption.html",
        release=release,
        adoption=adoption,
        groups=groups,
        further=further,
        first="after" not in request.args,
        plot=_plot(release, adoption),
        untried=nudges.untried(adoption),
        may_nudge=holds_role("publisher")() and nudges.obstacle(release, now) is None,
    )


@blueprint.get("/adoption.csv")
def export(product: str, version: str) -> ResponseReturnValue:
    """Send a row for each download, and one for each person without any. A spreadsheet runs none of it."""
    release = _published(product, version)
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for group in adoption_of(release).groups:
        for tester in group.testers:
            writer.writerows([defuse(cell) for cell in row] for row in _rows(group.name, tester))
    name = f"{release.product.slug}-{release.version}-adoption.csv"
    return file.getvalue(), {"Content-Type": "text/csv; charset=utf-8", "Content-Disposition": f'attachment; filename="{name}"'}


@blueprint.route("/nudge", methods=["GET", "POST"])
@guarded_by(staff("publisher"))
def nudge(product: str, version: str) -> ResponseReturnValue:
    """Show who would be nudged, and nudge those organisations that are left ticked."""
    release = _published(product, version)
    if request.method == "POST":
        ids = {int(one) for one in request.form.getlist("organization") if one.isascii() and one.isdecimal() and len(one) < 10}
        release_id = release.id
        try:
            with transaction():
                nudged = nudges.nudge(release_id, ids, actor=current_user, now=clock.now())
        except Conflict as error:
            flash(str(error) if ids else "Tick the organisations that are to be nudged.", "error")
            return redirect(url_for("adoption_staff.nudge", product=product, version=version), 303)
        flash(f"{count(nudged, 'organisation is', 'organisations are')} nudged. The mails are going out.", "success")
        return redirect(url_for("adoption_staff.show", product=product, version=version), 303)
    now = clock.now()
    untried = nudges.untried(adoption_of(release))
    resting = nudges.resting(untried, now)
    waiting = [group for group in untried if group.organization_id not in resting]
    free = waiting[: nudges.MOST_OFFERED]
    people = nudges.people(release, free, now) if nudges.obstacle(release, now) is None else []
    return render_template(
        "beta/staff_nudge.html",
        release=release,
        obstacle=nudges.obstacle(release, now),
        groups=free,
        more=len(waiting) - len(free),
        people={group.name: [one for one in people if one.organization == group.name] for group in free},
        resting=[(group, resting[group.organization_id]) for group in untried if group.organization_id in resting],
    )


def _published(product: str, version: str) -> Release:
    release = find_release(product, version)
    if release.state not in VISIBLE:
        raise NotFound(f"{release.product.name} {release.version} is not published, so nobody was told of it yet.")
    return release


def _plot(release: Release, adoption: Adoption) -> Markup | None:
    """How many people and organisations had downloaded it by each day; None before the first one."""
    zone = current_settings().default_time_zone
    people = [clock.civil_date(instant, zone) for instant in adoption.first_downloads()]
    if not people or release.published_at is None:
        return None
    firsts = [
        min(clock.civil_date(one.started_at, zone) for tester in group.testers for one in tester.downloads)
        for group in adoption.groups
        if group.organization_id and group.tried
    ]
    first, last = min(clock.civil_date(release.published_at, zone), *people), clock.civil_date(clock.now(), zone)
    reached = f"{count(len(people), 'person', 'people')} in {count(len(firsts), 'organisation')}"
    title = f"Since {long_date(first)}: {reached} downloaded it by {long_date(last)}."
    return plots.growth(first, last, {"People": people, "Organisations": firsts}, title)


def _rows(organization: str, tester: Tester) -> list[list[str]]:
    told_at = tester.told_at.isoformat() if tester.told_at else ""
    who = [organization, tester.name, tester.email, tester.told.value if tester.told else "", told_at]
    taken = [
        [one.filename, one.started_at.isoformat(), one.completed_at.isoformat() if one.completed_at else "", str(int(one.share * 100))]
        for one in tester.downloads
    ]
    return [[*who, *one, str(tester.answers)] for one in taken or [["", "", "", ""]]]
