"""A person's own account: profile, password and sessions, download tokens, private feeds."""

from typing import NamedTuple

from flask import Blueprint, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user
from flask_security.utils import logout_user

from portal import audit, clock
from portal.account import access_tokens, email_changes, people, sessions
from portal.account.devices import describe
from portal.account.forms import FeedForm, ProfileForm, TokenForm
from portal.account.models import TokenPurpose, User
from portal.account.session_cookie import current_session_id, current_token
from portal.config import current_settings
from portal.database import transaction
from portal.errors import PortalError
from portal.web.forms import refuse
from portal.web.freshness import needs_fresh_sign_in
from portal.web.guards import protect, signed_in

blueprint = Blueprint("account", __name__, url_prefix="/account")
protect(blueprint, signed_in)
# Ids are 32 bits wide in the database; a longer number names nothing.
ID = "int(max=2147483647)"
_REVOKED = {
    TokenPurpose.DOWNLOAD: "The token is revoked. Nothing can be downloaded with it any more.",
    TokenPurpose.FEED: "The private feed is revoked. Its address shows nothing any more.",
}


class NewFeed(NamedTuple):
    """A private feed that was just made: whole addresses, each with its secret."""

    product_name: str
    atom: str
    json: str


def person() -> User:
    """The signed-in person."""
    found: User = current_user._get_current_object()
    return found


@blueprint.route("/", methods=["GET", "POST"])
def profile() -> ResponseReturnValue:
    form = ProfileForm(current_settings().default_time_zone, obj=person())
    if form.validate_on_submit():
        try:
            with transaction():
                people.change_profile(person(), name=form.name.data or "", time_zone=form.time_zone.data)
        except PortalError as error:
            refuse(form, error)
        else:
            flash("Your profile is saved.", "success")
            return redirect(url_for("account.profile"))
    return render_template("account/profile.html", form=form, person=person(), now=clock.now())


@blueprint.get("/security/")
def security() -> ResponseReturnValue:
    return _security_page()


def _token_form() -> TokenForm:
    form = TokenForm()
    form.contact_id.choices = _seat_choices()
    return form


def _feed_form() -> FeedForm:
    form = FeedForm(prefix="feed-")
    form.contact_id.choices = _seat_choices()
    return form


def _seat_choices() -> dict[str, str]:
    seats = access_tokens.seats_of(person())
    return {str(seat.id): f"{seat.contract.number}, {seat.contract.product.name}" for seat in seats}


def _security_page(
    *, form: TokenForm | None = None, feed_form: FeedForm | None = None, new_token: str | None = None, new_feed: NewFeed | None = None
) -> str:
    """Show the page, with the forms as they were sent, or one secret that can never be shown again."""
    running = sessions.running(person(), current_settings(), clock.now())
    alive = access_tokens.tokens_of(person())
    return render_template(
        "account/security.html",
        form=form or _token_form(),
        feed_form=feed_form or _feed_form(),
        new_token=new_token,
        new_feed=new_feed,
        sessions=[(session, describe(session.device)) for session in running],
        current_session_id=current_session_id(),
        tokens=[token for token in alive if token.purpose is TokenPurpose.DOWNLOAD],
        feeds=[token for token in alive if token.purpose is TokenPurpose.FEED],
        settings=current_settings(),
        person=person(),
        waiting=email_changes.pending(person(), clock.now()),
    )


@blueprint.post(f"/security/sessions/<{ID}:session_id>/end")
@needs_fresh_sign_in
def end_session(session_id: int) -> ResponseReturnValue:
    with transaction():
        sessions.end_one(person(), session_id, now=clock.now())
        _note_ended("one")
    flash("That device is signed out.", "success")
    return redirect(url_for("account.security"))


def _note_ended(which: str) -> None:
    audit.record("sessions.ended", subject_type="user", subject_id=person().id, actor=person(), now=clock.now(), which=which)


@blueprint.post("/security/sessions/end-all")
@needs_fresh_sign_in
def end_all_sessions() -> ResponseReturnValue:
    with transaction():
        sessions.end_all(person(), now=clock.now())
        _note_ended("all")
    logout_user()
    flash("You are signed out everywhere.", "success")
    return redirect(url_for("security.login"))


@blueprint.post("/security/sessions/end-others")
@needs_fresh_sign_in
def end_other_sessions() -> ResponseReturnValue:
    with transaction():
        ended = sessions.end_others(person(), current_token(), now=clock.now())
        _note_ended("others")
    flash(
        "No other device was signed in." if not ended else f"{ended} other {'device is' if ended == 1 else 'devices are'} signed out.",
        "success",
    )
    return redirect(url_for("account.security"))


@blueprint.post("/security/tokens")
@needs_fresh_sign_in
def create_token() -> ResponseReturnValue:
    """Make a download token, and show it on the very answer: it can never be shown again."""
    form = _token_form()
    if form.validate_on_submit():
        try:
            with transaction():
                token = access_tokens.create(form.contact_id.data, form.label.data or "", actor=person(), now=clock.now())
        except PortalError as error:
            refuse(form, error)
        else:
            form.label.data = ""
            return _security_page(form=form, new_token=token)
    return _security_page(form=form), 422


@blueprint.post("/security/feeds")
@needs_fresh_sign_in
def create_feed() -> ResponseReturnValue:
    """Make a private feed for a seat, and show its addresses on the very answer: they can never be shown again."""
    form = _feed_form()
    if form.validate_on_submit():
        seat_id = form.contact_id.data
        try:
            with transaction():
                token = access_tokens.create(
                    seat_id, form.label.data or "", purpose=TokenPurpose.FEED, actor=person(), now=clock.now()
                )  # fmt: skip
                made = _new_feed(seat_id, token)
        except PortalError as error:
            refuse(form, error)
        else:
            form.label.data = ""
            return _security_page(feed_form=form, new_feed=made)
    return _security_page(feed_form=form), 422


def _new_feed(seat_id: int, token: str) -> NewFeed:
    product = next(seat.contract.product for seat in access_tokens.seats_of(person()) if seat.id == seat_id)
    base = current_settings().base_url
    atom, json = (f"{base}{url_for('feeds.feed', product=product.slug, form=form, token=token)}" for form in ("atom", "json"))
    return NewFeed(product.name, atom, json)


@blueprint.post(f"/security/tokens/<{ID}:token_id>/revoke")
def revoke_token(token_id: int) -> ResponseReturnValue:
    with transaction():
        purpose = access_tokens.revoke(token_id, actor=person(), now=clock.now())
    flash(_REVOKED[purpose], "success")
    return redirect(url_for("account.security"))
