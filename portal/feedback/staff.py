"""Product staff at work: the inbox and one item of it."""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal import clock
from portal.database import transaction
from portal.feedback import board, triage
from portal.feedback.forms import AnswerForm, NoteForm, read_choice, save
from portal.feedback.models import Status
from portal.feedback.paging import Place
from portal.feedback.views import me, read_search
from portal.products.catalog import all_products
from portal.web.guards import protect, staff

blueprint = Blueprint("feedback_staff", __name__, url_prefix="/staff/feedback")
protect(blueprint, staff("product"))


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """List the inbox, unread first."""
    now = clock.now()
    products = all_products()
    slug = request.args.get("product")
    wanted = triage.InboxFilter(
        search=read_search(),
        product_id=next((product.id for product in products if product.slug == slug), None),
        status=request.args.get("status", type=Status),
        unread=request.args.get("unread") == "1",
        sort=request.args.get("sort", board.Sort.NEWEST, type=board.Sort),
    )
    page = triage.inbox(wanted, Place(request.args.get("after"), request.args.get("before")), now=now)
    kept: dict[str, Any] = {name: request.args[name] for name in ("q", "product", "status", "unread", "sort") if request.args.get(name)}
    return render_template(
        "feedback/staff_index.html",
        products=products,
        wanted=wanted,
        page=page,
        unread=triage.count_unread(),
        newer_url=url_for(".index", **kept, before=page.newer) if page.newer else None,
        older_url=url_for(".index", **kept, after=page.older) if page.older else None,
    )


@blueprint.get("/<int:item_id>/")
def item(item_id: int) -> ResponseReturnValue:
    """Show one item, which is read from now on."""
    case = triage.open_case(item_id, now=clock.now())
    if case.item.read_at is None:
        with transaction():
            triage.mark_read(item_id, read=True, now=clock.now())
    return _show(item_id)


def _show(
    item_id: int, answer_form: AnswerForm | None = None, note_form: NoteForm | None = None, overtaken: bool = False
) -> ResponseReturnValue:
    case = triage.open_case(item_id, now=clock.now())
    if answer_form is None:
        answer_form = AnswerForm(
            formdata=None,
            revision=case.item.revision,
            status=case.item.status.value,
            release=case.item.status_release_id or 0,
            version="" if case.item.status_release_id else case.item.status_version,
            reason=case.reason,
            response=case.item.response,
        )
    answer_form.offer(triage.releases_to_choose(case.item))
    if overtaken:  # the next save is made knowing what is there now
        answer_form.revision.raw_data = None
        answer_form.revision.data = case.item.revision
    failed = answer_form.is_submitted() or note_form is not None
    page = render_template(
        "feedback/staff_item.html",
        case=case,
        item=case.item,
        answer_form=answer_form,
        note_form=note_form or NoteForm(formdata=None),
        overtaken=overtaken,
    )
    return page, 409 if overtaken else 400 if failed else 200


@blueprint.post("/<int:item_id>/answer")
def answer(item_id: int) -> ResponseReturnValue:
    """Set status and official response, as one save and one mail."""
    person, form = me(), AnswerForm()
    form.offer(triage.releases_to_choose(triage.open_case(item_id, now=clock.now()).item))
    changed: list[bool] = []

    def act() -> None:
        now = clock.now()
        status = read_choice(Status, form.status.data, "status")
        with transaction():
            changed.append(
                triage.answer(
                    item_id,
                    revision=form.revision.data if form.revision.data is not None else 0,
                    status=status,
                    release_id=form.release.data or None,
                    version=form.version.data or "",
                    reason=form.reason.data or "",
                    response=form.response.data or "",
                    actor=person,
                    now=now,
                )
            )

    if not save(form, act):
        return _show(item_id, answer_form=form, overtaken=bool(form.form_errors))
    if changed[0]:
        flash("Saved. The author gets one email about it.", "success")
    else:
        flash("Nothing was changed, so nothing was saved and nobody mailed.", "info")
    return redirect(url_for(".item", item_id=item_id))


@blueprint.post("/<int:item_id>/notes")
def note(item_id: int) -> ResponseReturnValue:
    """Add a note for staff alone, or a comment in the product team's name."""
    person, form = me(), NoteForm()

    def act() -> None:
        now = clock.now()
        with transaction():
            triage.add_note(item_id, form.body.data or "", staff_only=form.audience.data != "all", actor=person, now=now)

    if not save(form, act):
        return _show(item_id, note_form=form)
    flash("Noted for staff alone." if form.audience.data != "all" else "Your comment is on the page.", "success")
    return redirect(url_for(".item", item_id=item_id, _anchor="talk"))


@blueprint.post("/<int:item_id>/unread")
def unread(item_id: int) -> ResponseReturnValue:
    """Put an item back into the inbox."""
    with transaction():
        triage.mark_read(item_id, read=False, now=clock.now())
    flash("Back among the unread.", "info")
    return redirect(url_for(".index"))
