"""Watching notices go out, and stepping in."""

from typing import Any

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from portal import clock
from portal.database import transaction
from portal.errors import Conflict
from portal.notices import acts, kinds, people, progress, sent_mail
from portal.notices.mail_templates import Unrenderable
from portal.notices.models import Delivery, DeliveryState, Notice
from portal.notices.progress import Show
from portal.notices.selection import Selection
from portal.notices.sent_mail import SentMail
from portal.web.guards import may_follow, protect, staff
from portal.web.headers import MAIL_PREVIEW_POLICY

blueprint = Blueprint("notices_staff", __name__, url_prefix="/staff/notices")
protect(blueprint, staff("publisher"))

LARGEST_ID = 2**31 - 1
ADDRESS_LENGTH = 254


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """List the notices, newest first: those to many unless another filter is chosen."""
    before, show = _key("before"), _show()
    listed = progress.latest(before_id=before, limit=progress.PAGE + 1, show=show)
    older = listed[progress.PAGE - 1].notice.id if len(listed) > progress.PAGE else None
    return render_template(
        "notices_pages/staff_index.html",
        notices=listed[: progress.PAGE],
        show=show,
        newer_url=url_for("notices_staff.index", show=show) if before is not None else None,
        older_url=url_for("notices_staff.index", show=show, before=older) if older is not None else None,
    )


# One notice --------------------------------------------------------------------------------------------------------------------


@blueprint.get("/<int:notice_id>/")
def show(notice_id: int) -> ResponseReturnValue:
    """Show one notice: how far it has come, the domains, and the people by state."""
    notice, now = _find(notice_id), clock.now()
    return render_template(
        "notices_pages/staff_notice.html",
        notice=notice,
        label=progress.label_of(notice),
        title=progress.title_of(notice),
        product_name=progress.product_of(notice),
        source_path=_source_path(notice),
        progress=progress.progress_now(notice, now),
        domains=people.domains(notice.id, now),
        people=_people(notice),
    )


def _source_path(notice: Notice) -> str | None:
    """Where what the notice tells of is looked after, if the reader may go there."""
    path = kinds.find(notice.kind).staff_path(notice) if kinds.is_known(notice.kind) else None
    return path if path is not None and may_follow(path) else None


@blueprint.get("/<int:notice_id>/progress")
def live(notice_id: int) -> ResponseReturnValue:
    """The numbers of a notice now, as JSON: counts, a sentence, and the same as HTML for the page to put in place."""
    notice = _find(notice_id)
    now = progress.progress_now(notice, clock.now())
    return {
        "counts": {state.value: count for state, count in now.counts.items()},
        "total": now.total,
        "finished": now.finished,
        "stage": progress.stage_of(notice, now),
        "retryable": now.retryable,
        "skipped": now.skipped,
        "pace": now.pace.words if now.pace else None,
        "summary": now.summary,
        "html": render_template("notices_pages/_tallies.html", notice=notice, progress=now),
        "status": render_template("notices_pages/_status.html", notice=notice, progress=now),
    }


@blueprint.get("/<int:notice_id>/people")
def people_part(notice_id: int) -> ResponseReturnValue:
    """The people of a notice as `show` has them: a part of a page, to be put in place while it goes out."""
    notice = _find(notice_id)
    return render_template("notices_pages/_people.html", notice=notice, people=_people(notice))


@blueprint.get("/<int:notice_id>/domains")
def domains_part(notice_id: int) -> ResponseReturnValue:
    """The domains of a notice as `show` has them: a part of a page, to be put in place while it goes out."""
    notice = _find(notice_id)
    return render_template("notices_pages/_domains.html", notice=notice, domains=people.domains(notice.id, clock.now()))


def _people(notice: Notice) -> people.RecipientPage:
    return people.recipients(notice.id, _selection(), _key("after") or 0)


# Stepping in -------------------------------------------------------------------------------------------------------------------


@blueprint.post("/<int:notice_id>/retry")
def retry(notice_id: int) -> ResponseReturnValue:
    """Try again what the filter of the people shows, as far as it can be tried again."""
    among = _selection()
    try:
        with transaction():
            said = acts.retry(_find(notice_id).id, actor=current_user, now=clock.now(), among=among)
    except Conflict as error:
        flash(str(error), "error")
    else:
        flash(said, "success")
    return redirect(_page_of(notice_id, domain=among.domain or None, q=among.search or None), 303)


@blueprint.post("/<int:notice_id>/pause")
def pause(notice_id: int) -> ResponseReturnValue:
    """Hold back what is not sent yet."""
    try:
        with transaction():
            acts.pause(_find(notice_id).id, actor=current_user, now=clock.now())
    except Conflict as error:
        flash(str(error), "info")
    else:
        flash("The notice is paused. What a mail server is just taking still arrives.", "success")
    return redirect(_page_of(notice_id), 303)


@blueprint.post("/<int:notice_id>/resume")
def resume(notice_id: int) -> ResponseReturnValue:
    """Let it go on."""
    try:
        with transaction():
            acts.resume(_find(notice_id).id, actor=current_user, now=clock.now())
    except Conflict as error:
        flash(str(error), "info")
    else:
        flash("The notice goes on.", "success")
    return redirect(_page_of(notice_id), 303)


@blueprint.route("/<int:notice_id>/stop", methods=["GET", "POST"])
def stop(notice_id: int) -> ResponseReturnValue:
    """Ask, then stop what is not sent yet."""
    notice = _find(notice_id)
    if request.method == "POST":
        try:
            with transaction():
                acts.cancel(notice.id, actor=current_user, now=clock.now())
        except Conflict:
            flash("Nothing is left to stop.", "info")
        else:
            flash("The notice is stopped. What was not sent yet will not be sent.", "success")
        return redirect(_page_of(notice_id), 303)
    reached = progress.progress(notice.id)
    if notice.cancelled_at is not None or reached.finished:
        flash("Nothing is left to stop.", "info")
        return redirect(_page_of(notice_id), 303)
    label, title = progress.label_of(notice), progress.title_of(notice)
    return render_template("notices_pages/stop.html", notice=notice, label=label, title=title, progress=reached)


# The mail a person got ---------------------------------------------------------------------------------------------------------


@blueprint.get("/<int:notice_id>/mails/<int:delivery_id>/")
def mail(notice_id: int, delivery_id: int) -> ResponseReturnValue:
    """Show the exact mail of one person: headers, text, and HTML in a frame."""
    delivery = _find_delivery(notice_id, delivery_id)
    sent, trouble = None, None
    try:
        sent = sent_mail.read(delivery) if sent_mail.was_tried(delivery) else None
    except Unrenderable as error:
        trouble = str(error)
    return render_template(
        "notices_pages/staff_mail.html",
        notice=delivery.notice,
        delivery=delivery,
        label=progress.label_of(delivery.notice),
        mail=sent,
        trouble=trouble,
    )


@blueprint.get("/<int:notice_id>/mails/<int:delivery_id>/mail.html")
def mail_html(notice_id: int, delivery_id: int) -> ResponseReturnValue:
    """The HTML of a mail, for a sandboxed frame."""
    return _sent(notice_id, delivery_id).html, {"Content-Security-Policy": MAIL_PREVIEW_POLICY}


@blueprint.get("/<int:notice_id>/mails/<int:delivery_id>/mail.eml")
def mail_source(notice_id: int, delivery_id: int) -> ResponseReturnValue:
    """The mail as it went over the wire, but for the links that act for its recipient: to be opened in a mail program (RFC 5322)."""
    response = Response(_sent(notice_id, delivery_id).raw, mimetype="message/rfc822")
    response.headers.set("Content-Disposition", "attachment", filename=f"notice-{notice_id}-mail-{delivery_id}.eml")
    return response


def _sent(notice_id: int, delivery_id: int) -> SentMail:
    delivery = _find_delivery(notice_id, delivery_id)
    if not sent_mail.was_tried(delivery):
        raise Conflict(f"There is no mail to {delivery.address} to show yet.")
    try:
        return sent_mail.read(delivery)
    except Unrenderable as error:
        raise Conflict(str(error)) from error


# What the address says ---------------------------------------------------------------------------------------------------------


def _find(notice_id: int) -> Notice:
    return progress.find(min(notice_id, LARGEST_ID))


def _find_delivery(notice_id: int, delivery_id: int) -> Delivery:
    return people.find_delivery(min(notice_id, LARGEST_ID), min(delivery_id, LARGEST_ID))


def _page_of(notice_id: int, **selection: Any) -> str:
    return url_for("notices_staff.show", notice_id=notice_id, **selection, _anchor="people" if any(selection.values()) else None)


def _key(name: str) -> int | None:
    """The id in the address that a page begins at; None for nonsense, which means the first page."""
    text = request.args.get(name, "")
    return min(int(text), LARGEST_ID) if text.isascii() and text.isdigit() else None


def _selection() -> Selection:
    """The filter of the people, from the address of a page or the fields of a button. Nonsense filters nothing."""
    try:
        state = DeliveryState(request.values.get("state", ""))
    except ValueError:
        state = None
    return Selection(state, _text("domain").lower(), _text("q"))


def _text(name: str) -> str:
    return request.values.get(name, "").replace("\0", "").strip()[:ADDRESS_LENGTH]


def _show() -> Show:
    try:
        return Show(request.args.get("show", ""))
    except ValueError:
        return Show.MANY
