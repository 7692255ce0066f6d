"""A person's second factors: setting up, removing, recovery codes. Each act needs a fresh sign-in."""

from typing import Any

from flask import Blueprint, Flask, flash, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user
from markupsafe import Markup

from portal import clock
from portal.account import factors, factors_passkeys, factors_totp
from portal.account.devices import describe
from portal.account.factor_forms import NameForm, PasskeyForm, SetUpForm
from portal.account.factor_sign_in_views import ceremony, passkeys_here
from portal.account.factors import Factors
from portal.account.forms import OneButton
from portal.account.models import User
from portal.account.session_cookie import SESSION_KEY, current_token
from portal.config import current_settings
from portal.database import transaction
from portal.errors import Conflict, NotFound, PortalError
from portal.web import frame
from portal.web.forms import refuse
from portal.web.freshness import needs_fresh_sign_in
from portal.web.guards import protect, signed_in

blueprint = Blueprint("factors", __name__, url_prefix="/account/security")
protect(blueprint, signed_in)
# Ids are 32 bits wide in the database; a longer number names nothing.
ID = "int(max=2147483647)"
# What staff without the factor they must have may open: what sets one up, what that needs, and the way out.
BEFORE_SET_UP = frozenset({
    "factors.choose", "factors.authenticator", "factors.new_passkey", "confirming.ask", "security.logout", "security.login",
})  # fmt: skip
NO_PAGE = frozenset({"static", "bootstrap.static", "icons.sprite", "health.alive", "health.ready"})


def init_app(app: Flask) -> None:
    """Keep staff who must have a second factor and have none away from everything but setting one up."""

    @app.before_request
    def set_up_first() -> ResponseReturnValue | None:
        settings = current_settings()
        if not settings.staff_needs_second_factor or request.endpoint in NO_PAGE or SESSION_KEY not in session:
            return None
        if not current_user.is_authenticated or not factors.must_have_one(person(), settings) or factors.has_factor(person().id):
            return None
        if request.endpoint in BEFORE_SET_UP:
            frame.without_links()
            return None
        return redirect(url_for("factors.choose"))


def person() -> User:
    """The signed-in person."""
    found: User = current_user._get_current_object()
    return found


@blueprint.app_template_global("second_factors")
def second_factors() -> dict[str, Any]:
    """What the security page shows of the person's factors."""
    settings = current_settings()
    return {
        "held": factors.factors_of(person().id),
        "required": factors.must_have_one(person(), settings),
        "site": factors_passkeys.site(settings),
        "passkeys_here": passkeys_here(),
    }


@blueprint.get("/second-factor")
def choose() -> ResponseReturnValue:
    """Offer the two ways to somebody who has no second factor yet."""
    if factors.has_factor(person().id):
        return redirect(_panel())
    return render_template("account/factor_choose.html")


@blueprint.route("/authenticator", methods=["GET", "POST"])
@needs_fresh_sign_in
def authenticator() -> ResponseReturnValue:
    """Show a new secret to scan; a POST with the app's first code sets it up."""
    settings = current_settings()
    form = SetUpForm()
    if form.validate_on_submit():
        try:
            with transaction():
                codes = factors.set_up_authenticator(
                    person(), form.sealed.data or "", form.code.data or "", settings, session_token=current_token(), now=clock.now()
                )
        except PortalError as error:
            refuse(form, error)
        else:
            return _done("The authenticator app is set up.", codes)
    secret = factors_totp.unseal(
        form.sealed.data or "", person().id, settings.secret_key, sealed_within=factors_totp.SET_UP_WITHIN, now=clock.now()
    )
    if secret is None:
        secret = factors_totp.make_secret()
        form.sealed.data = factors_totp.seal(secret, person().id, settings.secret_key, now=clock.now())
    form.code.data = ""
    address = factors_totp.address_of(secret, account=person().email, issuer=f"{settings.vendor_name} {settings.portal_name}")
    return render_template(
        "account/factor_authenticator.html",
        form=form,
        typed_secret=factors_totp.typed_secret(secret),
        picture=_draw(address),
        held=factors.factors_of(person().id),
    )


def _draw(address: str) -> Markup:
    """Return the QR code of an address as inline SVG: the page's policy allows no image made by a script, and no other site's."""
    import segno  # only here: web processes need not hold it

    drawing = segno.make(address, error="m", micro=False).svg_inline(scale=4, border=4, dark="#000", light="#fff")
    return Markup(drawing)  # nosec B704 # noqa: S704 - drawn by segno, from numbers alone


@blueprint.route("/authenticator/remove", methods=["GET", "POST"])
@needs_fresh_sign_in
def remove_authenticator() -> ResponseReturnValue:
    held = factors.factors_of(person().id)
    if held.authenticator is None:
        raise NotFound("No authenticator app is set up.")

    def remove() -> str:
        factors.remove_authenticator(person(), current_settings(), session_token=current_token(), now=clock.now())
        return "The authenticator app is removed. All other devices were signed out."

    return _confirm_removal("the authenticator app", held, remove)


@blueprint.route("/passkeys/new", methods=["GET", "POST"])
@needs_fresh_sign_in
def new_passkey() -> ResponseReturnValue:
    """Offer to make a passkey; a POST brings what it answered."""
    settings, now = current_settings(), clock.now()
    form = PasskeyForm()
    if form.validate_on_submit():
        try:
            with transaction():
                codes = factors.add_passkey(
                    person(),
                    form.answer.data or "",
                    form.label.data or "",
                    ceremony(factors_passkeys.REGISTER, person()),
                    settings,
                    session_token=current_token(),
                    now=now,
                )
        except PortalError as error:
            refuse(form, error)
        else:
            return _done("The passkey is added.", codes)
    if not form.label.data and not form.is_submitted():
        form.label.data = describe(request.user_agent.string)
    form.answer.data = ""
    options = None
    if passkeys_here():
        asked = ceremony(factors_passkeys.REGISTER, person())
        options = factors_passkeys.options_to_register(person(), asked, settings, now=now)
    return render_template(
        "account/factor_passkey.html",
        form=form,
        options=options,
        site=factors_passkeys.site(settings),
        held=factors.factors_of(person().id),
    )


@blueprint.route(f"/passkeys/<{ID}:passkey_id>/name", methods=["GET", "POST"])
@needs_fresh_sign_in
def rename_passkey(passkey_id: int) -> ResponseReturnValue:
    """Call a passkey something else."""
    label = _label_of(passkey_id, factors.factors_of(person().id))
    form = NameForm(data={"label": label})
    if form.validate_on_submit():
        try:
            with transaction():
                renamed = factors.rename_passkey(person(), passkey_id, form.label.data or "", now=clock.now())
        except PortalError as error:
            refuse(form, error)
        else:
            flash(f"The passkey is called “{renamed}” now.", "success")
            return redirect(_panel())
    return render_template("account/factor_rename.html", form=form, label=label, panel=_panel())


def _label_of(passkey_id: int, held: Factors) -> str:
    """Return what one of the person's passkeys is called. Raises NotFound."""
    label = next((key.label for key in held.passkeys if key.id == passkey_id), None)
    if label is None:
        raise NotFound("There is no such passkey.")
    return label


@blueprint.route(f"/passkeys/<{ID}:passkey_id>/remove", methods=["GET", "POST"])
@needs_fresh_sign_in
def remove_passkey(passkey_id: int) -> ResponseReturnValue:
    held = factors.factors_of(person().id)
    label = _label_of(passkey_id, held)

    def remove() -> str:
        removed = factors.remove_passkey(
            person(), passkey_id, current_settings(), session_token=current_token(), now=clock.now()
        )  # fmt: skip
        return f"The passkey “{removed}” is removed. All other devices were signed out."

    return _confirm_removal(f"the passkey “{label}”", held, remove)


@blueprint.route("/recovery-codes", methods=["GET", "POST"])
@needs_fresh_sign_in
def recovery_codes() -> ResponseReturnValue:
    """Say what the codes are for; a POST makes new ones, and shows them on the very answer."""
    form = OneButton()
    if form.validate_on_submit():
        with transaction():
            codes = factors.make_recovery_codes(person(), now=clock.now())
        return _done("The new codes are made.", codes)
    held = factors.factors_of(person().id)
    if not held.any:
        raise NotFound("There is no second factor yet.")
    return render_template("account/recovery_codes.html", form=form, held=held, codes=None, done=None, panel=_panel())


def _confirm_removal(name: str, held: Factors, remove: Any) -> ResponseReturnValue:
    """Ask before removing; a POST removes."""
    form = OneButton()
    blocked = held.single and factors.must_have_one(person(), current_settings())
    if form.validate_on_submit():
        try:
            with transaction():
                said = remove()
        except Conflict as error:
            refuse(form, error)
        else:
            flash(said, "success")
            return redirect(_panel())
    return render_template("account/factor_remove.html", form=form, name=name, held=held, blocked=blocked, panel=_panel())


def _done(said: str, codes: list[str]) -> ResponseReturnValue:
    """Lead back, or, where recovery codes were made, show them: they can never be shown again."""
    if codes:
        return render_template("account/recovery_codes.html", codes=codes, done=said, panel=_panel())
    flash(said, "success")
    return redirect(_panel())


def _panel() -> str:
    return url_for("account.security", _anchor="factors")
