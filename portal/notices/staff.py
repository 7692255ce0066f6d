"""Watching notices go out."""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from portal import audit, clock
from portal.database import transaction
from portal.notices import outbox, progress
from portal.notices.models import DeliveryState, Notice
from portal.web.guards import protect, staff

blueprint = Blueprint("notices_staff", __name__, url_prefix="/staff/notices")
protect(blueprint, staff("publisher"))

LARGEST_ID = 2**31 - 1


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """List the notices, newest first."""
    before = _key("before")
    listed = progress.latest(before_id=before, limit=progress.PAGE + 1)
    older = listed[progress.PAGE - 1].notice.id if len(listed) > progress.PAGE else None
    return render_template(
        "notices_pages/staff_index.html",
        notices=listed[: progress.PAGE],
        newer_url=url_for("notices_staff.index") if before is not None else None,
        older_url=url_for("notices_staff.index", before=older) if older is not None else None,
    )


@blueprint.get("/<int:notice_id>/")
def show(notice_id: int) -> ResponseReturnValue:
    """Show one notice: how far it has come, and the people by state."""
    notice = progress.find(min(notice_id, LARGEST_ID))
    return render_template(
        "notices_pages/staff_notice.html",
        label=progress.label_of(notice),
        title=progress.title_of(notice),
        product_name=progress.product_of(notice),
        **_people(notice),
    )


@blueprint.get("/<int:notice_id>/people")
def people(notice_id: int) -> ResponseReturnValue:
    """The people of a notice as `show` has them: a part of a page, to be put in place while it goes out."""
    return render_template("notices_pages/_people.html", **_people(progress.find(min(notice_id, LARGEST_ID))))


def _people(notice: Notice) -> dict[str, Any]:
    state, after = _state(), _key("after") or 0
    return {
        "notice": notice,
        "progress": progress.progress(notice.id),
        "people": progress.recipients(notice.id, state, after),
        "state": state,
        "after": after,
    }


@blueprint.get("/<int:notice_id>/progress")
def live(notice_id: int) -> ResponseReturnValue:
    """The numbers of a notice now, as JSON: counts, a sentence, and the same as HTML for the page to put in place."""
    notice = progress.find(min(notice_id, LARGEST_ID))
    now = progress.progress(notice.id)
    return {
        "counts": {state.value: count for state, count in now.counts.items()},
        "total": now.total,
        "finished": now.finished,
        "retryable": now.retryable,
        "summary": now.summary,
        "html": render_template("notices_pages/_tallies.html", progress=now),
    }


@blueprint.post("/<int:notice_id>/retry")
def retry(notice_id: int) -> ResponseReturnValue:
    """Try again what can be tried again."""
    now = clock.now()
    with transaction():
        notice = progress.find(min(notice_id, LARGEST_ID))
        count = outbox.retry(notice.id, now=now)
        audit.record("notice.retried", subject_type="notice", subject_id=notice.id, actor=current_user, now=now, deliveries=count)
    flash(f"{count} will be tried again now." if count else "Nothing is left to try again.", "success")
    return redirect(url_for("notices_staff.show", notice_id=notice_id), 303)


@blueprint.route("/<int:notice_id>/stop", methods=["GET", "POST"])
def stop(notice_id: int) -> ResponseReturnValue:
    """Ask, then stop what is not sent yet."""
    notice, now = progress.find(min(notice_id, LARGEST_ID)), clock.now()
    reached = progress.progress(notice.id)
    to_notice = redirect(url_for("notices_staff.show", notice_id=notice.id), 303)
    if notice.cancelled_at is not None or reached.finished:
        flash("Nothing is left to stop.", "info")
        return to_notice
    if request.method == "GET":
        return render_template(
            "notices_pages/stop.html",
            notice=notice,
            label=progress.label_of(notice),
            title=progress.title_of(notice),
            progress=reached,
        )
    with transaction():
        count = outbox.cancel(notice_id, now=now)
        audit.record("notice.stopped", subject_type="notice", subject_id=notice_id, actor=current_user, now=now, deliveries=count)
    flash("The notice is stopped. What was not sent yet will not be sent.", "success")
    return to_notice


def _key(name: str) -> int | None:
    """The id in the address that a page begins at; None for nonsense, which means the first page."""
    text = request.args.get(name, "")
    return min(int(text), LARGEST_ID) if text.isascii() and text.isdigit() else None


def _state() -> DeliveryState | None:
    try:
        return DeliveryState(request.args.get("state", ""))
    except ValueError:
        return None
