"""A contract as its two contacts see it: term, seats, history; and naming somebody else to a seat."""

from flask import Blueprint, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from portal import clock
from portal.account import contacts, contracts, history, invitations, renewals
from portal.account.forms import ContactForm
from portal.account.models import Contact, Contract
from portal.account.views import ID, person
from portal.config import current_settings
from portal.database import transaction
from portal.errors import NotFound, PortalError
from portal.web.forms import refuse
from portal.web.guards import protect, signed_in

blueprint = Blueprint("contracts", __name__, url_prefix="/account/contracts")
protect(blueprint, signed_in)


def own_contract(number: str) -> Contract:
    """Return the contract with this number on which the signed-in person holds a seat, lapsed or not. Raises NotFound."""
    found = next((contract for contract in contracts.contracts_of(person()) if contract.number == number), None)
    if found is None:
        raise NotFound("There is no such contract.")
    return found


@blueprint.get("/")
def index() -> ResponseReturnValue:
    own = contracts.contracts_of(person())
    if len(own) == 1:
        return redirect(url_for("contracts.show", number=own[0].number))
    now = clock.now()
    return render_template("account/contracts.html", contracts=[(contract, contracts.standing(contract, now)) for contract in own])


@blueprint.get("/<number>/")
def show(number: str) -> ResponseReturnValue:
    contract, now = own_contract(number), clock.now()
    seats, standing = contacts.live_contacts(contract.id), contracts.standing(contract, now)
    return render_template(
        "account/contract.html",
        contract=contract,
        standing=standing,
        outlook=renewals.outlook(contract, standing, now),
        stays=renewals.what_stays(contract.product),
        seats=seats,
        states=invitations.seat_states(seats, now),
        me=person(),
        form=ContactForm(formdata=None),
        history=history.of_contract(contract, for_staff=False),
        invitation_days=current_settings().invitation_days,
    )


@blueprint.post("/<number>/renewal")
def ask_renewal(number: str) -> ResponseReturnValue:
    with transaction():
        new = renewals.ask(own_contract(number), actor=person(), now=clock.now())
    if new:
        flash("Your account manager is asked to renew the contract, and writes to you.", "success")
    else:
        flash("Your organisation has asked for renewal already. It is on its way.", "info")
    return redirect(url_for("contracts.show", number=number))


@blueprint.route("/<number>/contacts/new", methods=["GET", "POST"])
def name_contact(number: str) -> ResponseReturnValue:
    contract = own_contract(number)
    form = ContactForm()
    if form.validate_on_submit() and _domain_is_right(form, contract):
        try:
            with transaction():
                named = contacts.name_contact(
                    own_contract(number), name=form.name.data or "", email=form.email.data or "", actor=person(), now=clock.now()
                )
                label, address = named.user.label, named.user.email
        except PortalError as error:
            refuse(form, error)
        else:
            flash(f"{label} is named. The invitation is on its way to {address}.", "success")
            return redirect(url_for("contracts.show", number=number))
    return render_template("account/name_contact.html", contract=contract, form=form, invitation_days=current_settings().invitation_days)


@blueprint.route(f"/<number>/contacts/<{ID}:contact_id>/replace", methods=["GET", "POST"])
def replace_contact(number: str, contact_id: int) -> ResponseReturnValue:
    contract = own_contract(number)
    contact = contacts.find_contact(contract, contact_id)
    own_seat = contact.user_id == person().id
    form = ContactForm()
    if form.validate_on_submit() and _domain_is_right(form, contract):
        try:
            with transaction():
                contact = contacts.find_contact(own_contract(number), contact_id)
                named = contacts.replace_contact(
                    contact, name=form.name.data or "", email=form.email.data or "", actor=person(), now=clock.now()
                )
                label, address = named.user.label, named.user.email
        except PortalError as error:
            refuse(form, error)
        else:
            if own_seat:
                flash(f"Your seat went to {label}. You are signed out.", "success")
                return redirect(url_for("security.login"))
            flash(f"{label} took the seat. The invitation is on its way to {address}.", "success")
            return redirect(url_for("contracts.show", number=number))
    return render_template(
        "account/replace_contact.html",
        contract=contract,
        contact=contact,
        own_seat=own_seat,
        form=form,
        invitation_days=current_settings().invitation_days,
    )


@blueprint.post(f"/<number>/contacts/<{ID}:contact_id>/resend")
def resend_invitation(number: str, contact_id: int) -> ResponseReturnValue:
    with transaction():
        contact = contacts.find_contact(own_contract(number), contact_id)
        invitations.resend(contact, actor=person(), now=clock.now())
        address = contact.user.email
    flash(f"A new invitation is on its way to {address}. The old link no longer works.", "success")
    return redirect(url_for("contracts.show", number=number))


@blueprint.post(f"/<number>/contacts/<{ID}:contact_id>/withdraw")
def withdraw_invitation(number: str, contact_id: int) -> ResponseReturnValue:
    with transaction():
        contact = contacts.find_contact(own_contract(number), contact_id)
        invitations.revoke(contact, actor=person(), now=clock.now())
        address = contact.user.email
    flash(f"The invitation to {address} is withdrawn; its link no longer works.", "success")
    return redirect(url_for("contracts.show", number=number))


def _domain_is_right(form: ContactForm, contract: Contract) -> bool:
    """Ask once more before inviting somebody at a domain that no contact of the contract has: it may be a slip."""
    domain = (form.email.data or "").rpartition("@")[2].strip().lower()
    usual = {_domain(contact) for contact in contacts.live_contacts(contract.id)}
    if domain in usual or not usual or form.other_domain.data:
        return True
    form.other_domain.errors = [
        f"The address is at {domain}; the contacts of this contract are at {' and '.join(sorted(usual))}. "
        "Correct it, or tick the box and send again."
    ]
    return False


def _domain(contact: Contact) -> str:
    return contact.user.email.rpartition("@")[2]
