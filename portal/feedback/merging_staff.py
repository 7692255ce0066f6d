"""Two items side by side: merge them, tell them apart again, or say that they are not the same."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal import clock
from portal.database import transaction
from portal.errors import Conflict, NotFound
from portal.feedback import merging
from portal.feedback.access import LARGEST_ID
from portal.feedback.forms import save
from portal.feedback.staff_forms import MergeForm
from portal.feedback.views import me
from portal.web.guards import protect, staff

blueprint = Blueprint("feedback_merging_staff", __name__, url_prefix="/staff/feedback")
protect(blueprint, staff("product"))


@blueprint.get("/<int:item_id>/merge")
def choose(item_id: int) -> ResponseReturnValue:
    """Lead to the comparison with the item whose number was typed; any text around the number is fine ("Idea 12", an address)."""
    digits = "".join(
        character if character.isdecimal() and character.isascii() else " " for character in request.args.get("into", "")
    ).split()
    other = int(digits[-1]) if digits and len(digits[-1]) <= len(str(LARGEST_ID)) else 0
    try:
        merging.compare(item_id, other, now=clock.now())
    except NotFound:
        flash("There is no feedback with that number. It stands in the entry's address, and above its title.", "warning")
        return redirect(url_for("feedback_staff.item", item_id=item_id, _anchor="merge"))
    return redirect(url_for(".compare", item_id=item_id, target_id=other))


@blueprint.get("/<int:item_id>/merge/<int:target_id>")
def compare(item_id: int, target_id: int) -> ResponseReturnValue:
    """Show what merging an item into another one would bring."""
    return _compare(item_id, target_id, MergeForm(formdata=None))


def _compare(item_id: int, target_id: int, form: MergeForm, code: int = 200) -> ResponseReturnValue:
    comparison = merging.compare(item_id, target_id, now=clock.now())
    for field, item in ((form.item_revision, comparison.item), (form.target_revision, comparison.target)):
        field.raw_data, field.data = None, item.revision  # what the reader of this page knows
    reverse = merging.compare(target_id, item_id, now=clock.now())
    return render_template("feedback/staff_merge.html", comparison=comparison, reverse=reverse, form=form), code


@blueprint.post("/<int:item_id>/merge/<int:target_id>")
def merge(item_id: int, target_id: int) -> ResponseReturnValue:
    """Merge an item into another one."""
    person, form = me(), MergeForm()

    def act() -> None:
        known = (form.item_revision.data or 0, form.target_revision.data or 0)
        with transaction():
            merging.merge(item_id, target_id, revisions=known, actor=person, now=clock.now())

    if not save(form, act):
        return _compare(item_id, target_id, form, 409)
    flash("Merged. Its address leads here now, and its votes count here. You can tell the two apart again.", "success")
    return redirect(url_for("feedback_staff.item", item_id=target_id))


@blueprint.post("/<int:item_id>/unmerge")
def unmerge(item_id: int) -> ResponseReturnValue:
    """Tell an item apart again from the one it was merged into."""
    person = me()
    try:
        with transaction():
            merging.unmerge(item_id, actor=person, now=clock.now())
    except Conflict as error:
        flash(str(error), "warning")
    else:
        flash("Told apart. Each has its own votes and comments again.", "success")
    return redirect(url_for("feedback_staff.item", item_id=item_id))


@blueprint.post("/<int:item_id>/not-alike")
def not_alike(item_id: int) -> ResponseReturnValue:
    """Stop proposing another item for this one."""
    person = me()
    other = request.form.get("other", 0, type=int)
    with transaction():
        merging.not_alike(item_id, other, actor=person, now=clock.now())
    return redirect(url_for("feedback_staff.item", item_id=item_id, _anchor="merge"))
