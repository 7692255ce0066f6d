"""Account managers at work: contracts with their terms and seats."""

from collections.abc import Callable
from dataclasses import dataclass

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal import clock
from portal.account import contacts, contracts, directory, history, invitations, opt_in, orders, past, people, renewals
from portal.account.contract_forms import AddressForm, ContactForm, DayForm, NewContractForm, OrderForm, PlaceForm, RenewForm
from portal.account.contracts import ContractState
from portal.account.forms import CustomerForm, OneButton
from portal.account.models import Contract
from portal.account.views import ID, person
from portal.config import current_settings
from portal.database import transaction
from portal.errors import Conflict, PortalError
from portal.notices import suppression
from portal.products import catalog
from portal.web.forms import refuse
from portal.web.freshness import needs_fresh_sign_in
from portal.web.guards import guarded_by, holds_role, protect, staff

contracts_blueprint = Blueprint("contracts_staff", __name__, url_prefix="/staff/contracts")
protect(contracts_blueprint, staff("accounts"))
customers_blueprint = Blueprint("customers_staff", __name__, url_prefix="/staff/customers")
protect(customers_blueprint, staff("accounts"))
# Who may look things up, beside those who change them.
reads = staff("accounts", "support")
_may_write = holds_role("accounts")


@contracts_blueprint.context_processor
@customers_blueprint.context_processor
def _what_the_reader_may() -> dict[str, bool]:
    """Nobody is shown a button that would not let them in."""
    return {"may_write": _may_write()}


LONGEST_QUERY = 100
ENDING_DAYS = (30, 60, 90)


@dataclass(frozen=True)
class Act:
    """Something done to a whole contract, after a confirmation: what the button says, and what it will mean."""

    run: Callable[..., object]
    label: str
    icon: str
    meaning: str
    done: str


ACTS = {
    "renew": Act(
        contracts.renew, "Renew", "arrow-repeat",
        "The next twelve-month term is added. Renewed before the end, or on the day after it, it follows on without a gap and ends on the "
        "same day of the year; renewed later, it starts today and counts from there. Days without a contract are not made up for.",
        "is renewed",
    ),
    "suspend": Act(
        contracts.suspend, "Suspend", "pause-circle",
        "Both contacts lose betas, feedback and notices at once, until it is resumed. The days are not added to the term.",
        "is suspended",
    ),
    "resume": Act(
        contracts.resume, "Resume", "play-circle", "Both contacts get betas, feedback and notices back at once.", "is resumed"
    ),
    "cancel": Act(
        contracts.cancel, "Cancel", "x-circle",
        "The contract ends at once and for good. It can be neither resumed nor renewed.", "is cancelled",
    ),
}  # fmt: skip


def asked() -> tuple[str, str | None]:
    """What the list is searched for, and the key after which its page begins."""
    query = " ".join(request.args.get("q", "").replace("\x00", " ").split())[:LONGEST_QUERY]
    after = request.args.get("after", "").replace("\x00", "")
    return query, after or None


def wanted() -> directory.Wanted:
    """Which contracts the address asks for. What it cannot mean is passed over."""
    query, _ = asked()
    state, ending = request.args.get("state", ""), request.args.get("ending", "")
    return directory.Wanted(
        query=query,
        state=ContractState(state) if state in set(ContractState) else None,
        ending_in=int(ending) if ending in {str(days) for days in ENDING_DAYS} else None,
        asked=request.args.get("show") == "asked",
    )


@contracts_blueprint.get("/")
@guarded_by(reads)
def index() -> ResponseReturnValue:
    listed, (_, after) = wanted(), asked()
    return render_template(
        "account/staff/contracts.html",
        page=directory.contracts_page(listed, after, clock.now()),
        wanted=listed,
        kept={"q": listed.query or None, "state": listed.state, "ending": listed.ending_in, "show": "asked" if listed.asked else None},
        after=after,
        states=list(ContractState),
        ending_days=ENDING_DAYS,
        asked_to_renew=renewals.count_open(),
    )


@contracts_blueprint.route("/new", methods=["GET", "POST"])
@needs_fresh_sign_in
def new() -> ResponseReturnValue:
    form = NewContractForm(
        catalog.all_products(), data={"time_zone": current_settings().default_time_zone} if request.method == "GET" else None
    )
    if request.method == "GET":
        form.propose(orders.usual())
    if form.validate_on_submit() and _domains_are_right(form):
        try:
            with transaction():
                contract = _create(form)
                number = contract.number
        except PortalError as error:
            refuse(form, error)
        else:
            flash(f"Contract {number} is made.", "success")
            return redirect(url_for("contracts_staff.show", number=number))
    return render_template("account/staff/new_contract.html", form=form, organizations=directory.organization_names())


def _domains_are_right(form: NewContractForm) -> bool:
    known = contracts.find_organization((form.organization.data or "").strip())
    return known is None or form.domain_is_right(known.id, known.name, [form.email1.data, form.email2.data])


def _create(form: NewContractForm) -> Contract:
    now, actor = clock.now(), person()
    organization = contracts.find_or_create_organization(form.organization.data or "", actor=actor, now=now)
    assert form.starts_on.data is not None, "the form requires it"
    contract = contracts.create_contract(
        form.number.data or "", organization, catalog.find_product(form.product.data), form.starts_on.data,
        ends_on=form.ends_on.data, time_zone=form.time_zone.data, region=form.region.data, order=form.order(orders.usual()),
        actor=actor, now=now,
    )  # fmt: skip
    for name, email in ((form.name1, form.email1), (form.name2, form.email2)):
        if not (name.data or email.data):
            continue
        try:
            contacts.name_contact(contract, name=name.data or "", email=email.data or "", actor=actor, now=now)
        except PortalError as error:
            at_fault = name if getattr(error, "field", None) == "name" else email
            at_fault.errors = [*at_fault.errors, str(error)]
            raise Conflict("Nothing was saved. Correct the contact, and send the form again.") from None
    return contract


@contracts_blueprint.get("/<number>/")
@guarded_by(reads)
def show(number: str) -> ResponseReturnValue:
    contract, now = contracts.find_contract(number), clock.now()
    seats = contacts.live_contacts(contract.id)
    day_form = DayForm(request.args)
    return render_template(
        "account/staff/contract.html",
        contract=contract,
        standing=contracts.standing(contract, now),
        seats=seats,
        states=invitations.seat_states(seats, now),
        suppressed=suppression.suppressed([contact.user.email for contact in seats]),
        acts=_possible_acts(contract) if _may_write() else {},
        asked=renewals.open_requests([contract.id]).get(contract.id),
        coming=contracts.next_term(contract, now),
        renew_form=_renew_form(contract),
        history=history.of_contract(contract, for_staff=True),
        day_form=day_form,
        day=day_form.look_at(contract),
        day_words=past.describe,
    )


def _renew_form(contract: Contract) -> RenewForm:
    """The form of the dialog that renews, with the last term's price."""
    form = RenewForm(formdata=None)
    form.propose(contracts.next_order(contract))
    return form


@contracts_blueprint.route("/<number>/facts", methods=["GET", "POST"])
def change_place(number: str) -> ResponseReturnValue:
    contract = contracts.find_contract(number)
    form = PlaceForm(contract.region, data={"region": contract.region, "time_zone": contract.time_zone})
    if form.validate_on_submit():
        try:
            with transaction():
                contracts.change_place(
                    contracts.find_contract(number), region=form.region.data, time_zone=form.time_zone.data, actor=person(), now=clock.now()
                )
        except PortalError as error:
            refuse(form, error)
        else:
            flash(f"Region and time zone of contract {number} are saved.", "success")
            return redirect(url_for("contracts_staff.show", number=number))
    return render_template("account/staff/place.html", contract=contract, form=form)


@contracts_blueprint.route(f"/<number>/terms/<{ID}:term_id>", methods=["GET", "POST"])
def change_order(number: str, term_id: int) -> ResponseReturnValue:
    contract = contracts.find_contract(number)
    term = contracts.find_term(contract, term_id)
    form = OrderForm()
    if request.method == "GET":
        form.propose(contracts.order_of(term))
    if form.validate_on_submit():
        try:
            with transaction():
                contract = contracts.find_contract(number)
                order = form.order(contracts.order_of(contracts.find_term(contract, term_id)))
                contracts.change_order(contract, term_id, order, actor=person(), now=clock.now())
        except PortalError as error:
            refuse(form, error)
        else:
            flash("The order is saved.", "success")
            return redirect(url_for("contracts_staff.show", number=number))
    return render_template("account/staff/order.html", contract=contract, term=term, form=form)


def _possible_acts(contract: Contract) -> dict[str, Act]:
    if contract.cancelled_at is not None:
        return {}
    return {name: act for name, act in ACTS.items() if name != ("suspend" if contract.suspended_at else "resume")}


@contracts_blueprint.route("/<number>/<any(renew, suspend, resume, cancel):name>", methods=["GET", "POST"])
@needs_fresh_sign_in
def act(number: str, name: str) -> ResponseReturnValue:
    """Ask, then do: renew, suspend, resume or cancel."""
    chosen, form = ACTS[name], RenewForm() if name == "renew" else OneButton()
    contract = contracts.find_contract(number)
    if form.validate_on_submit():
        try:
            with transaction():
                contract = contracts.find_contract(number)
                shown = _renewal(form, contract) if isinstance(form, RenewForm) else {}
                chosen.run(contract, **shown, actor=person(), now=clock.now())
        except PortalError as error:
            refuse(form, error)
        else:
            flash(f"Contract {number} {chosen.done}.", "success")
            return redirect(url_for("contracts_staff.show", number=number))
    if isinstance(form, RenewForm) and request.method == "GET":
        form.propose(contracts.next_order(contract))
    coming = contracts.next_term(contract, clock.now())
    return render_template("account/staff/act.html", contract=contract, act=chosen, name=name, form=form, coming=coming)


def _renewal(form: RenewForm, contract: Contract) -> dict[str, object]:
    return {"starts_on": form.starts_on.data, "order": form.order(contracts.next_order(contract))}


@contracts_blueprint.route("/<number>/contacts/new", methods=["GET", "POST"])
@needs_fresh_sign_in
def name_contact(number: str) -> ResponseReturnValue:
    contract, form = contracts.find_contract(number), ContactForm()
    if form.validate_on_submit() and form.is_right_for(contract.organization_id, contract.organization.name):
        try:
            with transaction():
                contacts.name_contact(
                    contracts.find_contract(number), name=form.name.data or "", email=form.email.data or "",
                    actor=person(), now=clock.now(), tell=True,
                )  # fmt: skip
        except PortalError as error:
            refuse(form, error)
        else:
            flash("The contact is named, and the invitation is on its way.", "success")
            return redirect(url_for("contracts_staff.show", number=number))
    return render_template("account/staff/contact.html", contract=contract, contact=None, form=form)


@contracts_blueprint.route(f"/<number>/contacts/<{ID}:contact_id>/replace", methods=["GET", "POST"])
@needs_fresh_sign_in
def replace_contact(number: str, contact_id: int) -> ResponseReturnValue:
    contract, form = contracts.find_contract(number), ContactForm()
    contact = contacts.find_contact(contract, contact_id)
    if form.validate_on_submit() and form.is_right_for(contract.organization_id, contract.organization.name):
        try:
            with transaction():
                contact = contacts.find_contact(contracts.find_contract(number), contact_id)
                contacts.replace_contact(contact, name=form.name.data or "", email=form.email.data or "", actor=person(), now=clock.now())
        except PortalError as error:
            refuse(form, error)
        else:
            flash("The seat has a new contact, and everybody concerned is told.", "success")
            return redirect(url_for("contracts_staff.show", number=number))
    return render_template(
        "account/staff/contact.html", contract=contract, contact=contact, form=form, invitation_days=current_settings().invitation_days
    )


@contracts_blueprint.route(f"/<number>/contacts/<{ID}:contact_id>/address", methods=["GET", "POST"])
@needs_fresh_sign_in
def correct_address(number: str, contact_id: int) -> ResponseReturnValue:
    contract = contracts.find_contract(number)
    contact = contacts.find_contact(contract, contact_id)
    form = AddressForm(data={"email": contact.user.email})
    if form.validate_on_submit() and form.is_right_for(contract.organization_id, contract.organization.name):
        try:
            with transaction():
                contact = contacts.find_contact(contracts.find_contract(number), contact_id)
                contacts.correct_address(contact, form.email.data or "", actor=person(), now=clock.now())
        except PortalError as error:
            refuse(form, error)
        else:
            flash("The address is corrected. A new invitation is on its way; the old link no longer works.", "success")
            return redirect(url_for("contracts_staff.show", number=number))
    return render_template("account/staff/address.html", contract=contract, contact=contact, form=form)


@contracts_blueprint.route(f"/<number>/contacts/<{ID}:contact_id>/release", methods=["GET", "POST"])
@needs_fresh_sign_in
def release_contact(number: str, contact_id: int) -> ResponseReturnValue:
    contract, form = contracts.find_contract(number), OneButton()
    contact = contacts.find_contact(contract, contact_id)
    if form.validate_on_submit():
        with transaction():
            contact = contacts.find_contact(contracts.find_contract(number), contact_id)
            label = contact.user.label
            contacts.release_contact(contact, actor=person(), now=clock.now())
        flash(f"{label} no longer holds the seat, and everybody concerned is told.", "success")
        return redirect(url_for("contracts_staff.show", number=number))
    others = [other for other in contacts.live_contacts(contract.id) if other.id != contact_id]
    return render_template("account/staff/release.html", contract=contract, contact=contact, others=others, form=form)


@contracts_blueprint.post(f"/<number>/contacts/<{ID}:contact_id>/withdraw")
def withdraw_invitation(number: str, contact_id: int) -> ResponseReturnValue:
    with transaction():
        contact = contacts.find_contact(contracts.find_contract(number), contact_id)
        invitations.revoke(contact, actor=person(), now=clock.now())
        address = contact.user.email
    flash(f"The invitation to {address} is withdrawn; its link no longer works.", "success")
    return redirect(url_for("contracts_staff.show", number=number))


@contracts_blueprint.post(f"/<number>/contacts/<{ID}:contact_id>/resend")
def resend_invitation(number: str, contact_id: int) -> ResponseReturnValue:
    with transaction():
        contact = contacts.find_contact(contracts.find_contract(number), contact_id)
        invitations.resend(contact, actor=person(), now=clock.now())
        address = contact.user.email
    flash(f"A new invitation is on its way to {address}. The old link no longer works.", "success")
    return redirect(url_for("contracts_staff.show", number=number))


@customers_blueprint.get("/", endpoint="index")
@guarded_by(reads)
def list_customers() -> ResponseReturnValue:
    query, after = asked()
    if request.args.get("show") == "organizations":
        organizations = directory.organizations_page(query, after)
        return render_template("account/staff/organizations.html", page=organizations, query=query, after=after)
    return render_template("account/staff/customers.html", page=directory.people_page(query, after), query=query, after=after)


@customers_blueprint.route("/new", methods=["GET", "POST"], endpoint="new")
def add_customer() -> ResponseReturnValue:
    form = CustomerForm()
    form.ask.choices = {"": "No product: do not ask"} | {product.slug: product.name for product in catalog.all_products()}
    if form.validate_on_submit():
        try:
            with transaction():
                now, actor = clock.now(), person()
                organization = contracts.find_or_create_organization(form.organization.data or "", actor=actor, now=now)
                added = people.add_customer(form.email.data or "", form.name.data or "", organization, actor=actor, now=now)
                address, asked = added.email, 0
                if form.ask.data:
                    asked = opt_in.ask_customers([address], catalog.find_product(form.ask.data), actor=actor, now=now)
        except PortalError as error:
            refuse(form, error)
        else:
            flash(f"{address} is added." + (" A mail asks whether they want release notices." if asked else ""), "success")
            return redirect(url_for("customers_staff.index"))
    return render_template("account/staff/new_customer.html", form=form, organizations=directory.organization_names())
