"""The other forms of feedback, staff's and verdicts: what somebody typed into one whose session had ended, to be sent once more.

Such a form is not read before its sender is known, so it cannot come back in its own page. It waits as a draft, and is shown on one
page for all of them after signing in: the long texts to be looked at, the rest as it was chosen.
"""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import TooManyRequests, Unauthorized

from portal import clock
from portal.account.session_cookie import current_token
from portal.database import transaction
from portal.feedback import drafts
from portal.feedback.keeping_views import allow_stranger, tokens_kept, with_draft
from portal.feedback.views import me
from portal.feedback.writing_models import DraftPurpose
from portal.web.guards import protect, signed_in

blueprint = Blueprint("feedback_kept", __name__, url_prefix="/feedback/kept")
protect(blueprint, signed_in)

ADDRESS = "form address"  # no field of a form is called so
NOT_KEPT = {"csrf_token", "next"}
# A value of some words, or so long, is a text that somebody would miss.
LONG = 40
LABELS = {"response": "Official response", "reason": "Reason", "body": "Text", "words": "In their words"}


def keep(error: Unauthorized) -> ResponseReturnValue:
    """Keep what a form brought that the guard did not let in, and lead through signing in to it."""
    typed = {name: value for name, value in request.form.items() if name not in NOT_KEPT}
    if request.method != "POST" or not any(is_text(value) for value in typed.values()):
        return redirect(url_for("security.login", next=request.full_path.rstrip("?") if request.method == "GET" else None))
    if not allow_stranger():
        raise TooManyRequests
    now = clock.now()
    with transaction():
        person = drafts.author_by_session(current_token(), now)
        token, _ = drafts.keep(
            DraftPurpose.FORM, None, {ADDRESS: request.path, **typed}, person.id if person else None, now=now
        )  # fmt: skip
    flash("You are signed out, so nothing was sent yet. What you wrote is kept: sign in, look at it once more, and send it.", "info")
    return with_draft(redirect(url_for("security.login", next=url_for("feedback_kept.show")), 303), token)


def is_text(value: str) -> bool:
    return len(value.split()) > 1 or len(value) >= LONG


def keep_forms_of(blueprint: Blueprint) -> None:
    """Keep what is typed into the forms of a blueprint."""
    blueprint.register_error_handler(Unauthorized, keep)


@blueprint.get("/")
def show() -> ResponseReturnValue:
    """Show the form that was kept last, with what was typed."""
    person, now = me(), clock.now()
    found = (drafts.open_draft(token, DraftPurpose.FORM, person, None, now) for token in tokens_kept())
    draft = next((one for one in found if one is not None), None)
    fields = dict(draft.fields) if draft is not None else {}
    address = fields.pop(ADDRESS, None)
    texts = {name: value for name, value in fields.items() if is_text(value)}
    rest = {name: value for name, value in fields.items() if name not in texts}
    return render_template("feedback/kept.html", address=address, texts=texts, rest=rest, labels=LABELS)
