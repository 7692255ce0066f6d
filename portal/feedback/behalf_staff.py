"""Votes that staff note for a caller's contract."""

from flask import Blueprint, flash, redirect, url_for
from flask.typing import ResponseReturnValue

from portal import clock
from portal.database import transaction
from portal.feedback import behalf
from portal.feedback.forms import read_choice, save
from portal.feedback.kept_views import keep_forms_of
from portal.feedback.models import CallChannel
from portal.feedback.staff import show
from portal.feedback.staff_forms import CallForm
from portal.feedback.views import me
from portal.web.guards import protect, staff

blueprint = Blueprint("feedback_behalf_staff", __name__, url_prefix="/staff/feedback")
protect(blueprint, staff("product"))
keep_forms_of(blueprint)


@blueprint.post("/<int:item_id>/votes")
def note(item_id: int) -> ResponseReturnValue:
    """Note a vote for a caller's contract."""
    person, form = me(), CallForm()
    noted: list[str] = []

    def act() -> None:
        channel = read_choice(CallChannel, form.channel.data, "channel")
        with transaction():
            vote = behalf.note_vote(
                item_id, form.contract.data or "", channel=channel, words=form.words.data or "", actor=person, now=clock.now()
            )
            noted.append(vote.contract.organization.name)

    if not save(form, act):
        return show(item_id, call_form=form)
    flash(f"Noted. {noted[0]} reads on the board that you noted this vote for them.", "success")
    return redirect(url_for("feedback_staff.item", item_id=item_id, _anchor="voters"))


@blueprint.post("/<int:item_id>/votes/<int:vote_id>/withdraw")
def withdraw(item_id: int, vote_id: int) -> ResponseReturnValue:
    """Take a noted vote back."""
    person = me()
    with transaction():
        behalf.withdraw_vote(item_id, vote_id, actor=person, now=clock.now())
    flash("The noted vote is withdrawn.", "success")
    return redirect(url_for("feedback_staff.item", item_id=item_id, _anchor="voters"))
