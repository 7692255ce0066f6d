"""The vendor's own people at work: who has which role, and the tokens by which programs act for them."""

from datetime import datetime

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal import clock
from portal.account import people, security_mail, staff_tokens, team
from portal.account.forms import OneButton
from portal.account.models import StaffToken
from portal.account.team_forms import ROLES, NewMemberForm, RolesForm, StaffTokenForm
from portal.account.views import ID, person
from portal.database import transaction
from portal.errors import PortalError
from portal.web.bearer import Bearer
from portal.web.forms import refuse
from portal.web.freshness import needs_fresh_sign_in
from portal.web.guards import STAFF_ROLES, holds_role, protect, staff

team_blueprint = Blueprint("team_staff", __name__, url_prefix="/staff/team")
protect(team_blueprint, staff("admin"))
tokens_blueprint = Blueprint("tokens_staff", __name__, url_prefix="/staff/tokens")
protect(tokens_blueprint, staff())


# The team ------------------------------------------------------------------------------------------------------------------------


@team_blueprint.get("/")
def index() -> ResponseReturnValue:
    """List everybody with a role."""
    return render_template("account/staff/team.html", members=team.members(clock.now()), roles=ROLES)


@team_blueprint.route("/new", methods=["GET", "POST"])
@needs_fresh_sign_in
def new() -> ResponseReturnValue:
    """Make somebody a member of staff, and mail them a link to choose a password if they have none."""
    form = NewMemberForm()
    if form.validate_on_submit():
        try:
            with transaction():
                now = clock.now()
                added = people.add_staff(form.email.data or "", form.name.data or "", form.roles.data or [], actor=person(), now=now)
                if added.password is None:
                    security_mail.enqueue(security_mail.STAFF_INVITATION, added.id, now=now)
                label = added.label
        except PortalError as error:
            refuse(form, error)
        else:
            flash(f"{label} is a member of staff. A link to choose a password is on its way, if one was needed.", "success")
            return redirect(url_for("team_staff.index"), 303)
    return render_template("account/staff/team_new.html", form=form), 400 if form.errors else 200


@team_blueprint.route(f"/<{ID}:person_id>/", methods=["GET", "POST"])
@needs_fresh_sign_in
def member(person_id: int) -> ResponseReturnValue:
    """Show one member of staff, and give or take roles."""
    found = team.find(person_id)
    form = RolesForm(data={"roles": sorted(found.role_names)} if request.method == "GET" else None)
    if form.validate_on_submit():
        try:
            with transaction():
                team.set_roles(team.find(person_id), form.roles.data or [], STAFF_ROLES, actor=person(), now=clock.now())
                left = bool(form.roles.data)
        except PortalError as error:
            refuse(form, error)
        else:
            flash(
                "The roles are saved. Lost roles end with the next click." if left else "They are no longer a member of staff.", "success"
            )
            return redirect(url_for("team_staff.member", person_id=person_id) if left else url_for("team_staff.index"), 303)
    page = render_template(
        "account/staff/team_member.html",
        member=found,
        form=form,
        one_button=OneButton(),
        tokens=staff_tokens.alive_tokens(found, clock.now()),
        scopes=staff_tokens.SCOPES,
    )
    return page, 400 if form.errors or form.form_errors else 200


@team_blueprint.post(f"/<{ID}:person_id>/close")
@needs_fresh_sign_in
def close(person_id: int) -> ResponseReturnValue:
    """Close the account of a member of staff."""
    return _turn(person_id, close=True)


@team_blueprint.post(f"/<{ID}:person_id>/reopen")
@needs_fresh_sign_in
def reopen(person_id: int) -> ResponseReturnValue:
    """Open a closed account again."""
    return _turn(person_id, close=False)


def _turn(person_id: int, *, close: bool) -> ResponseReturnValue:
    try:
        with transaction():
            found = team.find(person_id)
            if close:
                team.close(found, actor=person(), now=clock.now())
            else:
                team.reopen(found, actor=person(), now=clock.now())
    except PortalError as error:
        flash(str(error), "error")
    else:
        flash("The account is closed." if close else "The account is open again.", "success")
    return redirect(url_for("team_staff.member", person_id=person_id), 303)


# Tokens --------------------------------------------------------------------------------------------------------------------------


@tokens_blueprint.get("/")
def index_tokens() -> ResponseReturnValue:
    """List one's own tokens; an admin sees everybody's."""
    return _tokens_page(_token_form())


@tokens_blueprint.post("/")
@needs_fresh_sign_in
def create_token() -> ResponseReturnValue:
    """Make a token, and show it on the very answer: it can never be shown again."""
    form = _token_form()
    if form.validate_on_submit():
        try:
            with transaction():
                made = staff_tokens.create(
                    form.label.data or "", form.scopes.data or [], form.days.data, actor=person(), now=clock.now()
                )  # fmt: skip
                what = f"A staff token was made in your name: {form.label.data}, for {form.days.data} days."
                security_mail.tell(person().id, "A staff token was made", what, now=clock.now())
        except PortalError as error:
            refuse(form, error)
        else:
            form.label.data, form.scopes.data = "", []
            return _tokens_page(form, made)
    return _tokens_page(form), 400


def _token_form() -> StaffTokenForm:
    form = StaffTokenForm()
    form.scopes.choices = {scope.name: f"{scope.label} ({scope.name})" for scope in staff_tokens.scopes_open_to(person())}
    return form


def _tokens_page(form: StaffTokenForm, made: str | None = None) -> str:
    return render_template(
        "account/staff/tokens.html",
        form=form,
        made=made,
        tokens=staff_tokens.alive_tokens(None if _sees_all() else person(), clock.now()),
        sees_all=_sees_all(),
        scopes=staff_tokens.SCOPES,
        is_alive=staff_tokens.may,
    )


@tokens_blueprint.post(f"/<{ID}:token_id>/revoke")
def revoke_token(token_id: int) -> ResponseReturnValue:
    """Make a token worthless."""
    with transaction():
        label = staff_tokens.revoke(token_id, actor=person(), now=clock.now()).label
    flash(f"The token {label} is revoked. Nothing can be done with it any more.", "success")
    return redirect(url_for("tokens_staff.index_tokens"), 303)


_sees_all = holds_role("admin")


def authenticate(token: str, scope: str, instant: datetime) -> Bearer | None:
    """Say whom a staff token speaks for, and note its use. For `portal.web.bearer`."""
    found = staff_tokens.authenticate(token, instant)
    if found is None:
        return None
    allowed, token_id = staff_tokens.may(found, scope), found.id
    if staff_tokens.is_touch_due(found, instant):
        with transaction():
            staff_tokens.touch(token_id, now=instant)
    return _bearer(found, allowed=allowed)


def _bearer(token: StaffToken, *, allowed: bool) -> Bearer:
    return Bearer(token.user, token.label, allowed)
