"""Announcements as publishers write them: drafts, what is mailed to whom, sent once."""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from portal import audit, clock
from portal.config import current_settings
from portal.database import transaction
from portal.errors import Conflict, NotFound, PortalError
from portal.notices import announcements, audiences, progress
from portal.notices.announcement_forms import ALWAYS, AnnouncementForm, SendForm, as_revision
from portal.notices.models import Announcement
from portal.notices.rendering import Preview, Recipient
from portal.notices.topics import WORDS
from portal.products.catalog import all_products, find_product
from portal.web.formatting import count
from portal.web.forms import refuse
from portal.web.freshness import needs_fresh_sign_in
from portal.web.guards import protect, staff
from portal.web.headers import MAIL_PREVIEW_POLICY

blueprint = Blueprint("announcements_staff", __name__, url_prefix="/staff/notices/announcements")
protect(blueprint, staff("publisher"))

PAGE = 50


def me() -> audit.Actor:
    """The signed-in person."""
    found: audit.Actor = current_user._get_current_object()
    return found


def to_page(announcement_id: int) -> ResponseReturnValue:
    return redirect(url_for("announcements_staff.show", announcement_id=announcement_id), 303)


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """Show all drafts, and what was sent, newest first, a page at a time (`before` an announcement)."""
    before = as_revision(request.args.get("before")) or None
    sent = announcements.sent(before_id=before, limit=PAGE + 1)
    older = url_for("announcements_staff.index", before=sent[PAGE - 1].announcement.id) if len(sent) > PAGE else None
    return render_template(
        "notices_pages/announcement_index.html",
        drafts=announcements.drafts() if before is None else None,
        sent=sent[:PAGE],
        newer_url=url_for("announcements_staff.index") if before is not None else None,
        older_url=older,
        has_products=bool(all_products()),
        audience_of=audiences.in_words,
        words=WORDS,
    )


# Words -------------------------------------------------------------------------------------------------------------------------


@blueprint.route("/new", methods=["GET", "POST"])
def new() -> ResponseReturnValue:
    form = AnnouncementForm(product=request.args.get("product"))
    form.offer(all_products())
    if "preview" not in request.form and form.validate_on_submit():
        try:
            with transaction():
                announcement = announcements.create(form.words(find_product(form.product.data)), actor=me(), now=clock.now())
        except PortalError as error:
            refuse(form, error)
        else:
            flash("The draft is saved. Look at the mail and at who gets it, then send it.", "success")
            return to_page(announcement.id)
    return _editor(form, None)


@blueprint.route("/<int:announcement_id>/edit", methods=["GET", "POST"])
def edit(announcement_id: int) -> ResponseReturnValue:
    """Change a draft. Whatever became of it meanwhile, what was typed stays in the form."""
    try:
        announcement = announcements.find(announcement_id)
    except NotFound:
        if request.method == "POST":
            return _discarded_meanwhile(AnnouncementForm())
        raise
    if request.method == "GET" and announcement.sent_at is not None:
        return to_page(announcement.id)
    form = AnnouncementForm(**_typed(announcement))
    form.offer(all_products())
    overtaken = False
    if "preview" not in request.form and form.validate_on_submit():
        revision = form.read_revision()
        try:
            with transaction():
                words = form.words(find_product(form.product.data))
                announcements.edit(announcement_id, words, revision=revision, actor=me(), now=clock.now())
        except NotFound:
            return _discarded_meanwhile(form)
        except PortalError as error:
            refuse(form, error)
            overtaken = isinstance(error, Conflict) and announcement.sent_at is None
        else:
            flash("The draft is saved.", "success")
            return to_page(announcement_id)
    return _editor(form, announcement, overtaken)


def _typed(announcement: Announcement) -> dict[str, Any]:
    """An announcement as the form has it."""
    return {
        "revision": announcement.revision,
        "product": announcements.product_of(announcement).slug,
        "audience": announcement.audience,
        "topic": announcement.topic.value if announcement.topic else ALWAYS,
        "subject": announcement.subject,
        "body": announcement.body,
    }


def _discarded_meanwhile(form: AnnouncementForm) -> ResponseReturnValue:
    form.offer(all_products())
    form.form_errors.append("Somebody discarded this draft while you were writing. What you typed is still here; save it as a new draft.")
    return _editor(form, None)


def _editor(form: AnnouncementForm, announcement: Announcement | None, overtaken: bool = False) -> ResponseReturnValue:
    if overtaken and announcement:  # the next save is made knowing what is there now
        form.revision.raw_data, form.revision.data = None, str(announcement.revision)
    page = render_template(
        "notices_pages/announcement_edit.html",
        form=form,
        announcement=announcement,
        overtaken=overtaken,
        audiences={one.name: one for one in audiences.known()},
        always=ALWAYS,
        **(_described(announcement) if announcement else {}),
    )
    was_sent = announcement is not None and announcement.sent_at is not None
    return page, 409 if overtaken or was_sent else 400 if form.errors else 200


@blueprint.post("/preview")
def preview() -> ResponseReturnValue:
    """Return the text of an editor's form as it will look: a part of a page, for the script beside the form."""
    return render_template("notices_pages/announcement_text.html", body=AnnouncementForm().body.data)


# One announcement ----------------------------------------------------------------------------------------------------------------


@blueprint.get("/<int:announcement_id>/")
def show(announcement_id: int) -> ResponseReturnValue:
    """Show a draft with its mail and its audience, or what was sent and how it is getting on."""
    announcement = announcements.find(announcement_id)
    return _page("announcement.html", announcement)


def _page(template: str, announcement: Announcement, status: int = 200) -> ResponseReturnValue:
    now = clock.now()
    is_draft = announcement.sent_at is None
    return render_template(
        f"notices_pages/{template}",
        announcement=announcement,
        mail=_mail(announcement),
        sender=f"{current_settings().vendor_name} <{current_settings().mail_from}>",
        reach=audiences.reach(announcements.circle(announcement, now)) if is_draft else None,
        notice=progress.find(announcement.notice_id) if announcement.notice_id else None,
        progress=progress.progress(announcement.notice_id) if announcement.notice_id else None,
        **_described(announcement),
    ), status


def _described(announcement: Announcement) -> dict[str, Any]:
    """The words that pages have for what an announcement says in codes."""
    return {
        "product": announcements.product_of(announcement),
        "audience": audiences.in_words(announcement.audience),
        "topic": WORDS[announcement.topic] if announcement.topic else None,
    }


def _mail(announcement: Announcement) -> Preview:
    return announcements.preview(announcement, recipient=Recipient(current_user.email, current_user.name, current_user.id), now=clock.now())


@blueprint.get("/<int:announcement_id>/audience")
def people(announcement_id: int) -> ResponseReturnValue:
    """List everybody a draft concerns, and who of them would be mailed now, a page at a time (`after` an address)."""
    announcement = announcements.find(announcement_id)
    if announcement.sent_at is not None:
        return to_page(announcement.id)
    after = request.args.get("after", "").replace("\0", "")
    circle = announcements.circle(announcement, clock.now())
    found = audiences.people(circle, after=after, limit=PAGE + 1)
    further = None
    if len(found) > PAGE:
        further = url_for("announcements_staff.people", announcement_id=announcement.id, after=found[PAGE - 1].email)
    return render_template(
        "notices_pages/announcement_audience.html",
        announcement=announcement,
        people=found[:PAGE],
        reach=audiences.reach(circle),
        first_url=url_for("announcements_staff.people", announcement_id=announcement.id) if after else None,
        further_url=further,
        **_described(announcement),
    )


@blueprint.get("/<int:announcement_id>/mail.html")
def mail_html(announcement_id: int) -> ResponseReturnValue:
    """Show the mail as HTML, for a sandboxed frame."""
    return _mail(announcements.find(announcement_id)).html, {"Content-Security-Policy": MAIL_PREVIEW_POLICY}


@blueprint.get("/<int:announcement_id>/mail.txt")
def mail_text(announcement_id: int) -> ResponseReturnValue:
    mail = _mail(announcements.find(announcement_id))
    return f"Subject: {mail.subject}\n\n{mail.text}", {"Content-Type": "text/plain; charset=utf-8"}


# Acts --------------------------------------------------------------------------------------------------------------------------


@blueprint.post("/<int:announcement_id>/test")
def send_test(announcement_id: int) -> ResponseReturnValue:
    with transaction():
        announcements.send_test(announcement_id, actor=me(), now=clock.now())
    flash(f"A test is on its way to {current_user.email}. Nobody else gets it.", "success")
    return to_page(announcement_id)


@blueprint.route("/<int:announcement_id>/send", methods=["GET", "POST"])
@needs_fresh_sign_in
def send(announcement_id: int) -> ResponseReturnValue:
    """Ask once more, then send what was looked at, once, however often the button is pressed."""
    announcement = announcements.find(announcement_id)
    form = SendForm()
    if form.validate_on_submit():
        return _send(announcement, form.read_revision())
    if announcement.sent_at is not None:
        flash("This announcement was sent already.", "info")
        return to_page(announcement.id)
    if "revision" in request.args and as_revision(request.args["revision"]) != announcement.revision:
        flash("Somebody changed this announcement after you opened it. This is how it stands now; nothing was sent.", "warning")
        return to_page(announcement.id)
    return _page("announcement_send.html", announcement)


def _send(announcement: Announcement, revision: int) -> ResponseReturnValue:
    announcement_id = announcement.id
    try:
        with transaction():
            people = announcements.send(announcement_id, revision=revision, actor=me(), now=clock.now())
    except Conflict as error:
        # Whoever pressed twice, or a moment after a colleague, has nothing to do.
        flash(str(error), "info" if announcement.sent_at is not None else "error")
    else:
        on_its_way = f"The announcement is on its way to {count(people, 'person', 'people')}."
        flash(on_its_way if people else "The announcement is kept as sent. It concerned nobody, so nobody is mailed.", "success")
    return to_page(announcement_id)


@blueprint.route("/<int:announcement_id>/discard", methods=["GET", "POST"])
def discard(announcement_id: int) -> ResponseReturnValue:
    announcement = announcements.find(announcement_id)
    if request.method == "GET":
        if announcement.sent_at is not None:
            return to_page(announcement.id)
        return render_template("notices_pages/announcement_discard.html", announcement=announcement)
    with transaction():
        announcements.discard(announcement_id, actor=me(), now=clock.now())
    flash("The draft is discarded. Nobody was mailed.", "success")
    return redirect(url_for("announcements_staff.index"), 303)
