"""A contract as its two contacts see it: term, seats, history; and naming somebody else to a seat."""

import csv
import io

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal import clock
from portal.account import contacts, contracts, history, invitations, past, renewals
from portal.account.contract_forms import AddressForm, ContactForm, DayForm
from portal.account.models import Contract
from portal.account.views import ID, person
from portal.config import current_settings
from portal.database import transaction
from portal.errors import Conflict, NotFound, PortalError
from portal.text import defuse
from portal.web import limits
from portal.web.formatting import machine_time
from portal.web.forms import refuse
from portal.web.freshness import needs_fresh_sign_in
from portal.web.guards import protect, signed_in

# Addresses that the contacts of one contract may name. A refusal tells that an address is known, so there must be few of them.
NAMINGS = "30 per day"
blueprint = Blueprint("contracts", __name__, url_prefix="/account/contracts")
protect(blueprint, signed_in)


def own_contract(number: str) -> Contract:
    """Return the contract with this number on which the signed-in person holds a seat, lapsed or not. Raises NotFound."""
    found = next((contract for contract in contracts.contracts_of(person()) if contract.number == number), None)
    if found is None:
        raise NotFound("There is no such contract.")
    return found


def count_naming(contract: Contract) -> None:
    """Count an address that is named to a seat, whatever comes of it. Raises Conflict for one more than NAMINGS."""
    if not limits.take("naming", NAMINGS, f"contract {contract.id}"):
        raise Conflict("So many addresses were named for this contract today that we take no more. Try again tomorrow, or write to us.")


def locked_contract(number: str) -> Contract:
    """Return `own_contract`, locked until the transaction ends, and asked for once more under the lock.

    Two contacts who replace each other at once would otherwise both succeed, the second with a seat that is gone. Raises NotFound.
    """
    contracts.lock_contract(own_contract(number).id)
    return own_contract(number)


@blueprint.get("/")
def index() -> ResponseReturnValue:
    own = contracts.contracts_of(person())
    if len(own) == 1:
        return redirect(url_for("contracts.show", number=own[0].number))
    now = clock.now()
    return render_template("account/contracts.html", contracts=[(contract, contracts.standing(contract, now)) for contract in own])


@blueprint.get("/<number>/")
def show(number: str) -> ResponseReturnValue:
    own, contract, now = contracts.contracts_of(person()), own_contract(number), clock.now()
    seats, standing = contacts.live_contacts(contract.id), contracts.standing(contract, now)
    day_form = DayForm(request.args)
    return render_template(
        "account/contract.html",
        others=[other for other in own if other.number != number],
        day_form=day_form,
        day=day_form.look_at(contract),
        day_words=past.describe,
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
        new = renewals.ask(locked_contract(number), actor=person(), now=clock.now())
    if new:
        flash("Your account manager is asked to renew the contract, and writes to you.", "success")
    else:
        flash("Your organisation has asked for renewal already. It is on its way.", "info")
    return redirect(url_for("contracts.show", number=number))


@blueprint.get("/<number>/history.csv")
def download_history(number: str) -> ResponseReturnValue:
    """Send all that happened to the contract. A spreadsheet runs none of it."""
    contract = own_contract(number)
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["at", "what", "by"])
    for event in history.of_contract(contract, for_staff=False, most=None):
        writer.writerow([machine_time(event.at), defuse(event.fact), defuse(event.by or "")])
    name = f"{contract.number}-history.csv"
    return file.getvalue(), {"Content-Type": "text/csv; charset=utf-8", "Content-Disposition": f'attachment; filename="{name}"'}


@blueprint.route("/<number>/contacts/new", methods=["GET", "POST"])
@needs_fresh_sign_in
def name_contact(number: str) -> ResponseReturnValue:
    contract = own_contract(number)
    form = ContactForm()
    if form.validate_on_submit() and form.is_right_for(contract.organization_id, contract.organization.name):
        try:
            count_naming(contract)
            with transaction():
                named = contacts.name_contact(
                    locked_contract(number), name=form.name.data or "", email=form.email.data or "",
                    actor=person(), now=clock.now(), tell=True,
                )  # fmt: skip
                label, address = named.user.label, named.user.email
        except PortalError as error:
            refuse(form, error)
        else:
            flash(f"{label} is named. The invitation is on its way to {address}.", "success")
            return redirect(url_for("contracts.show", number=number))
    return render_template("account/name_contact.html", contract=contract, form=form, invitation_days=current_settings().invitation_days)


@blueprint.route(f"/<number>/contacts/<{ID}:contact_id>/replace", methods=["GET", "POST"])
@needs_fresh_sign_in
def replace_contact(number: str, contact_id: int) -> ResponseReturnValue:
    """Give a seat to somebody else, one's own too: the successor is named first, and stands on the page that asks once more."""
    contract = own_contract(number)
    contact = contacts.find_contact(contract, contact_id)
    own_seat = contact.user_id == person().id
    form = ContactForm()
    if form.validate_on_submit() and _is_meant(form, contract, own_seat):
        try:
            count_naming(contract)
            with transaction():
                contact = contacts.find_contact(locked_contract(number), contact_id)
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
    others = [other for other in contacts.live_contacts(contract.id) if other.id != contact_id]
    return render_template(
        "account/replace_contact.html",
        contract=contract,
        contact=contact,
        own_seat=own_seat,
        alone=not any(other.user.password is not None for other in others),
        form=form,
        invitation_days=current_settings().invitation_days,
    )


def _is_meant(form: ContactForm, contract: Contract, own_seat: bool) -> bool:
    """Whether everything that has to be confirmed was; both questions are asked at once."""
    right = form.is_right_for(contract.organization_id, contract.organization.name)
    return (not own_seat or form.hand_over_is_confirmed()) and right


@blueprint.route(f"/<number>/contacts/<{ID}:contact_id>/address", methods=["GET", "POST"])
@needs_fresh_sign_in
def correct_address(number: str, contact_id: int) -> ResponseReturnValue:
    contract = own_contract(number)
    contact = contacts.find_contact(contract, contact_id)
    form = AddressForm(data={"email": contact.user.email})
    if form.validate_on_submit() and form.is_right_for(contract.organization_id, contract.organization.name):
        try:
            count_naming(contract)
            with transaction():
                contact = contacts.find_contact(locked_contract(number), contact_id)
                address = contacts.correct_address(contact, form.email.data or "", actor=person(), now=clock.now()).user.email
        except PortalError as error:
            refuse(form, error)
        else:
            flash(f"The address is corrected. A new invitation is on its way to {address}; the old link no longer works.", "success")
            return redirect(url_for("contracts.show", number=number))
    return render_template("account/correct_address.html", contract=contract, contact=contact, form=form)


@blueprint.post(f"/<number>/contacts/<{ID}:contact_id>/resend")
def resend_invitation(number: str, contact_id: int) -> ResponseReturnValue:
    with transaction():
        contact = contacts.find_contact(locked_contract(number), contact_id)
        invitations.resend(contact, actor=person(), now=clock.now())
        address = contact.user.email
    flash(f"A new invitation is on its way to {address}. The old link no longer works.", "success")
    return redirect(url_for("contracts.show", number=number))


@blueprint.post(f"/<number>/contacts/<{ID}:contact_id>/withdraw")
def withdraw_invitation(number: str, contact_id: int) -> ResponseReturnValue:
    with transaction():
        contact = contacts.find_contact(locked_contract(number), contact_id)
        invitations.revoke(contact, actor=person(), now=clock.now())
        address = contact.user.email
    flash(f"The invitation to {address} is withdrawn; its link no longer works.", "success")
    return redirect(url_for("contracts.show", number=number))
