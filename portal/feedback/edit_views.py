"""Changing what an item says, and what it said before."""

from flask import Blueprint, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from portal import clock
from portal.account.models import User
from portal.database import transaction
from portal.errors import NotFound
from portal.extensions import csrf
from portal.feedback import access, edits
from portal.feedback.access import ReadOnly, Viewer
from portal.feedback.forms import EditForm, save
from portal.feedback.keeping_views import Desk, receive, sign_in_first
from portal.feedback.views import me, only_reads
from portal.feedback.writing_models import DraftPurpose
from portal.feedback.writing_views import signed_in_person
from portal.web.guards import guarded_by, holds_role, protect, public, signed_in

blueprint = Blueprint("feedback_edits", __name__, url_prefix="/feedback")
protect(blueprint, signed_in)
blueprint.register_error_handler(ReadOnly, only_reads)

EDIT_FIELDS = ("number", "title", "body")


@blueprint.get("/<int:item_id>/edit")
def edit(item_id: int) -> ResponseReturnValue:
    """Show title and body to be changed."""
    person = me()
    item = access.find_item(_editor(person), item_id)
    desk = Desk.returned_to(DraftPurpose.EDIT, item_id, person)
    typed = desk.fields
    number = typed.get("number", "")
    form = EditForm(
        formdata=None,
        number=int(number) if number.isdecimal() and len(number) < 6 else edits.current_number(item_id),
        title=typed.get("title", item.title),
        body=typed.get("body", item.body),
    )
    return _show_edit(item_id, form, person, desk)


@blueprint.post("/<int:item_id>/edit")
@guarded_by(public)
def save_edit(item_id: int) -> ResponseReturnValue:
    """Take the changed title and body, or show them as they would look (`preview`)."""
    received = receive()
    person = signed_in_person()
    if person is None:
        return sign_in_first(DraftPurpose.EDIT, item_id, received, EDIT_FIELDS, url_for(".edit", item_id=item_id, kept=1))
    form = EditForm(formdata=received.fields)
    desk = Desk(DraftPurpose.EDIT, item_id)
    if "preview" in received.fields and received.is_valid:
        return _show_edit(item_id, form, person, desk, previewed=True)
    changed: list[bool] = []

    def act() -> None:
        with transaction():
            changed.append(
                edits.edit(
                    _editor(person),
                    item_id,
                    title=form.title.data or "",
                    body=form.body.data or "",
                    number=form.number.data or 0,
                    now=clock.now(),
                )
            )

    if save(form, act):
        flash("Saved. The edition before is kept." if changed[0] else "Nothing was changed.", "success" if changed[0] else "info")
        return redirect(url_for("feedback.item", item_id=item_id))
    return _show_edit(item_id, form, person, desk, code=409 if form.number.data != edits.current_number(item_id) else 400)


csrf.exempt(save_edit)  # `receive` checks the token; a form with an old one comes back with what was typed


def _editor(person: User) -> Viewer:
    """Return the viewer who edits. Of staff, only the product team does; for others there is no such page."""
    viewer = access.viewer_of(person, clock.now())
    if viewer.staff and not holds_role("product")():
        raise NotFound("There is no such feedback.")
    return viewer


def _show_edit(item_id: int, form: EditForm, person: User, desk: Desk, *, previewed: bool = False, code: int = 200) -> ResponseReturnValue:
    viewer = _editor(person)
    item = access.find_item(viewer, item_id)
    may_edit = edits.may_edit(viewer, item)
    theirs = None
    # The next save is made knowing what is there now, and by whom: who cannot save may be of an organisation that is not to know.
    if may_edit and form.number.data != edits.current_number(item_id):
        theirs = edits.latest(item_id)
        form.number.raw_data, form.number.data = None, edits.current_number(item_id)
    page = render_template(
        "feedback/edit.html",
        item=item,
        form=form,
        desk=desk,
        previewed=previewed,
        theirs=theirs,
        may_edit=may_edit,
        staff=viewer.staff,
    )
    return page, code


@blueprint.get("/<int:item_id>/history")
def history(item_id: int) -> ResponseReturnValue:
    """Show each edition beside the one before."""
    viewer = access.viewer_of(me(), clock.now())
    item = access.find_item(viewer, item_id)
    return render_template("feedback/history.html", item=item, viewer=viewer, changes=edits.history(viewer, item))
