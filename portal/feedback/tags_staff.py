"""Tags on an item, and the page of all tags."""

from flask import Blueprint, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from portal import clock
from portal.database import transaction
from portal.feedback import tags
from portal.feedback.forms import save
from portal.feedback.staff import show
from portal.feedback.staff_forms import RenameForm, TagForm
from portal.feedback.views import me
from portal.web.guards import protect, staff

blueprint = Blueprint("feedback_tags_staff", __name__, url_prefix="/staff/feedback")
protect(blueprint, staff("product"))


@blueprint.post("/<int:item_id>/tags")
def add(item_id: int) -> ResponseReturnValue:
    """Put a tag on an item; a new name makes a new tag."""
    person, form = me(), TagForm()

    def act() -> None:
        with transaction():
            tags.add_tag(item_id, form.tag.data or "", actor=person, now=clock.now())

    if not save(form, act):
        return show(item_id, tag_form=form)
    return redirect(url_for("feedback_staff.item", item_id=item_id, _anchor="sorting"))


@blueprint.post("/<int:item_id>/tags/<int:tag_id>/remove")
def remove(item_id: int, tag_id: int) -> ResponseReturnValue:
    """Take a tag off an item."""
    person = me()
    with transaction():
        tags.remove_tag(item_id, tag_id, actor=person, now=clock.now())
    return redirect(url_for("feedback_staff.item", item_id=item_id, _anchor="sorting"))


@blueprint.get("/tags/")
def index() -> ResponseReturnValue:
    """List all tags."""
    return render_template("feedback/staff_tags.html", uses=tags.all_tags())


@blueprint.get("/tags/<int:tag_id>/")
def edit(tag_id: int) -> ResponseReturnValue:
    """Show what can be done with a tag."""
    tag = tags.find_tag(tag_id)
    return _edit(tag_id, RenameForm(formdata=None, name=tag.name, seen=tag.name))


def _edit(tag_id: int, form: RenameForm, code: int = 200) -> ResponseReturnValue:
    use = next((use for use in tags.all_tags() if use.tag.id == tag_id), None)
    return render_template("feedback/staff_tag.html", use=use, tag=tags.find_tag(tag_id), form=form), code


@blueprint.post("/tags/<int:tag_id>/")
def rename(tag_id: int) -> ResponseReturnValue:
    """Give a tag another name."""
    person, form = me(), RenameForm()

    def act() -> None:
        with transaction():
            tags.rename_tag(tag_id, form.name.data or "", seen=form.seen.data or "", actor=person, now=clock.now())

    if not save(form, act):
        form.seen.raw_data, form.seen.data = None, tags.find_tag(tag_id).name  # the next save is made knowing that one
        return _edit(tag_id, form, 409 if form.form_errors else 400)
    flash("Renamed, on all feedback that bears it.", "success")
    return redirect(url_for(".index"))


@blueprint.post("/tags/<int:tag_id>/remove")
def delete(tag_id: int) -> ResponseReturnValue:
    """Remove a tag altogether."""
    person = me()
    with transaction():
        number = tags.delete_tag(tag_id, actor=person, now=clock.now())
    flash(f"Removed. {number or 'No'} {'entry' if number == 1 else 'entries'} bore it.", "success")
    return redirect(url_for(".index"))
