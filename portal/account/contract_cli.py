"""`portal contract`: contracts, their terms and their contacts; and what the imports of all files share."""

import io
import json
import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from flask.cli import AppGroup

from portal import clock
from portal.account import contacts, contract_files, contracts, directory, imports, invitations, orders, past, people
from portal.account.contracts import ContractState
from portal.account.models import Contact, Contract
from portal.account.orders import Order
from portal.config import current_settings
from portal.database import transaction
from portal.errors import NotFound, PortalError
from portal.products import catalog

DAY = click.DateTime(["%Y-%m-%d"])
CSV_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
contract = AppGroup("contract", help="Contracts, their terms and their contacts.")


class DryRun(Exception):
    """Ends a transaction without keeping anything."""


def _with_order(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say what a term costs."""
    for option in (
        click.option("--order-reference", default="", help="The customer's order."),
        click.option("--currency", help="Three letters (ISO 4217)."),
        click.option("--price", help="What the term costs, as 495 or 495.50."),
    ):
        command = option(command)
    return command


@contract.command("create")
@click.argument("number")
@click.option("--organization", required=True, help="Its name; it is added if unknown.")
@click.option("--product", required=True, help="Slug of the product.")
@click.option("--starts-on", type=DAY, required=True, help="First day of the first term, as 2026-11-24.")
@click.option("--ends-on", type=DAY, help="Last day of the first term. Without it: twelve months.")
@click.option("--time-zone", help="IANA zone in which the term begins and ends at midnight. Without it: DEFAULT_TIME_ZONE.")
@click.option("--region", default="", help="One of SUPPORT_REGIONS.")
@_with_order
def create_contract(
    number: str,
    organization: str,
    product: str,
    starts_on: datetime,
    ends_on: datetime | None,
    time_zone: str | None,
    region: str,
    price: str | None,
    currency: str | None,
    order_reference: str,
) -> None:
    """Make contract NUMBER with its first term. Without a price it costs CONTRACT_PRICE."""
    now = clock.now()
    with transaction():
        made = contracts.create_contract(
            number,
            contracts.find_or_create_organization(organization, actor=None, now=now),
            catalog.find_product(product),
            starts_on.date(),
            ends_on=ends_on.date() if ends_on else None,
            time_zone=time_zone or current_settings().default_time_zone,
            region=region,
            order=orders.read(price, currency, order_reference, instead=orders.usual()),
            actor=None,
            now=now,
        )
        term = made.terms[0]
        sentence = f"Contract {made.number} is made: {term.starts_on} to {term.ends_on}."
    click.echo(sentence)


@contract.command("renew")
@click.argument("number")
@_with_order
def renew(number: str, price: str | None, currency: str | None, order_reference: str) -> None:
    """Add the next twelve-month term to contract NUMBER. Without a price it costs what the last term did.

    A renewal before the end, or on the day after it, follows on without a gap; a later one starts today.
    """
    with transaction():
        found = contracts.find_contract(number)
        order = orders.read(price, currency, order_reference, instead=contracts.next_order(found))
        term = contracts.renew(found, order=order, actor=None, now=clock.now())
        sentence = f"Contract {number} is renewed from {term.starts_on}. It runs until {term.ends_on}."
    click.echo(sentence)


def _act(name: str, act: Callable[..., object], help_text: str, done: str) -> None:
    @contract.command(name, help=help_text)
    @click.argument("number")
    def command(number: str) -> None:
        with transaction():
            act(contracts.find_contract(number), actor=None, now=clock.now())
        click.echo(f"Contract {number} is {done}.")


_act("suspend", contracts.suspend, "Stop what contract NUMBER gives, until it is resumed.", "suspended")
_act("resume", contracts.resume, "End the suspension of contract NUMBER.", "resumed")
_act("cancel", contracts.cancel, "End contract NUMBER for good.", "cancelled")


@contract.command("name-contact")
@click.argument("number")
@click.option("--name", required=True, help="Name or role of the person.")
@click.option("--email", required=True, help="Work address of the person.")
@click.option("--no-invitation", is_flag=True, help="Send no mail; notices start all the same.")
def name_contact(number: str, name: str, email: str, no_invitation: bool) -> None:
    """Name a person to a free seat of contract NUMBER, and invite them by mail."""
    with transaction():
        named = contacts.name_contact(
            contracts.find_contract(number), name=name, email=email, actor=None, now=clock.now(), invite=not no_invitation
        )
        sentence = f"{named.user.email} holds seat {named.seat} of contract {number}."
    click.echo(sentence)


@contract.command("replace-contact")
@click.argument("number")
@click.argument("current")
@click.option("--name", required=True, help="Name or role of the successor.")
@click.option("--email", required=True, help="Work address of the successor.")
def replace_contact(number: str, current: str, name: str, email: str) -> None:
    """Give the seat of the contact with address CURRENT to somebody else, as one act. Everybody concerned is told."""
    with transaction():
        contact = _contact_at(contracts.find_contract(number), current)
        named = contacts.replace_contact(contact, name=name, email=email, actor=None, now=clock.now())
        sentence = f"{named.user.email} holds seat {named.seat} of contract {number}, and is invited."
    click.echo(sentence)


@contract.command("release-contact")
@click.argument("number")
@click.argument("current")
def release_contact(number: str, current: str) -> None:
    """Take the contact with address CURRENT off contract NUMBER. The seat stays free. Everybody concerned is told."""
    with transaction():
        contact = _contact_at(contracts.find_contract(number), current)
        contacts.release_contact(contact, actor=None, now=clock.now())
    click.echo(f"{current} holds no seat of contract {number} any more.")


@contract.command("invite")
@click.argument("number")
@click.argument("current")
def invite(number: str, current: str) -> None:
    """Invite the contact with address CURRENT once more, if they have not accepted; the old link stops working."""
    with transaction():
        invitations.resend(_contact_at(contracts.find_contract(number), current), actor=None, now=clock.now())
    click.echo(f"A new invitation is on its way to {current}.")


@contract.command("correct-address")
@click.argument("number")
@click.argument("wrong")
@click.argument("right")
def correct_address(number: str, wrong: str, right: str) -> None:
    """Correct the address WRONG of a contact who has not accepted to RIGHT, and invite again."""
    with transaction():
        contacts.correct_address(_contact_at(contracts.find_contract(number), wrong), right, actor=None, now=clock.now())
    click.echo(f"The invitation is on its way to {right}; the old link no longer works.")


def _contact_at(found: Contract, address: str) -> Contact:
    """Return the contact of a contract with this address. Raises NotFound."""
    wanted = people.normalize_email(address)
    contact = next((seat for seat in contacts.live_contacts(found.id) if seat.user.email == wanted), None)
    if contact is None:
        raise NotFound(f"{wanted} holds no seat of contract {found.number}.")
    return contact


@contract.command("who")
@click.argument("number")
@click.option("--on", "day", type=DAY, help="A day gone by or to come: who was entitled as it ended, where the contract is.")
@click.option("--json", "as_json", is_flag=True, help="Print an array of objects.")
def who(number: str, day: datetime | None, as_json: bool) -> None:
    """List who holds the seats of contract NUMBER, and whether that entitles them.

    With --on, list who was entitled on that day: named to a seat as it ended, in a term, neither suspended nor cancelled. Whoever
    was so for a part of it alone, or held a seat without being entitled, is named on the error output, with the reason.
    """
    found = contracts.find_contract(number)
    seen = past.on_day(found, day.date() if day else contracts.standing(found, clock.now()).today)
    if day is None:
        shown = [holder for holder in seen.holders if holder.contact.released_at is None]
    else:
        shown = [holder for holder in seen.at_its_end if holder.spans and holder.spans[-1][1] == seen.ends]
        for holder in seen.holders:
            if holder not in shown:
                click.echo(f"{holder.contact.user.email} {past.describe(holder, seen, found.time_zone)}", err=True)
    if as_json:
        click.echo(json.dumps([_holder(holder) for holder in shown], indent=2, ensure_ascii=False))
        return
    for holder in shown:
        contact = holder.contact
        note = "" if day else f"  {past.describe(holder, seen, found.time_zone)}"
        click.echo(f"{contact.seat}  {contact.user.email}  {contact.user.name}{note}")
    if not seen.holders:
        click.echo(
            f"Nobody holds a seat of contract {number}." if day is None else f"Nobody holds a seat of contract {number} on {seen.date}."
        )
    elif not shown:
        click.echo(f"Nobody is entitled by contract {number} on {seen.date}.")


def _holder(holder: past.Holder) -> dict[str, Any]:
    return {**_contact(holder.contact), "entitled": bool(holder.spans), "reason": holder.reason.value if holder.reason else None}


@contract.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print an array of objects.")
@click.option("--state", type=click.Choice([state.value for state in ContractState]), help="Only those in this state.")
@click.option("--ending", "ending_in", type=click.IntRange(0, 3650), help="Only those that end within so many days.")
def list_contracts(as_json: bool, state: str | None, ending_in: int | None) -> None:
    """List contracts with their state, terms and contacts."""
    rows = directory.all_contracts(clock.now(), _wanted(state, ending_in))
    if as_json:
        click.echo(json.dumps([describe(row) for row in rows], indent=2, ensure_ascii=False))
        return
    for row in rows:
        ends = row.standing.term.ends_on if row.standing.term else "-"
        names = ", ".join(seat.user.email for seat in row.contacts) or "nobody named"
        click.echo(f"{row.contract.number}  {row.standing.state}  until {ends}  {row.contract.organization.name}  {names}")


def _wanted(state: str | None, ending_in: int | None) -> directory.Wanted:
    return directory.Wanted(state=ContractState(state) if state else None, ending_in=ending_in)


def describe(row: directory.ContractRow) -> dict[str, Any]:
    found: Contract = row.contract
    return {
        "number": found.number,
        "organization": found.organization.name,
        "product": found.product.slug,
        "state": row.standing.state.value,
        "time_zone": found.time_zone,
        "region": found.region,
        "terms": [{"starts_on": term.starts_on.isoformat(), "ends_on": term.ends_on.isoformat()} for term in found.terms],
        "orders": [_order(contracts.order_of(term)) for term in found.terms],
        "contacts": [_contact(seat) for seat in row.contacts],
    }


def _order(order: Order) -> dict[str, str]:
    return {"price": orders.write_price(order.price_cents), "currency": order.currency, "order_reference": order.reference}


def _contact(seat: Contact) -> dict[str, Any]:
    return {"seat": seat.seat, "name": seat.user.name, "email": seat.user.email}


@contract.command("export")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write; it is replaced whole. Without it: standard output.",
)
@click.option("--state", type=click.Choice([state.value for state in ContractState]), help="Only those in this state.")
@click.option("--ending", "ending_in", type=click.IntRange(0, 3650), help="Only those that end within so many days.")
def export(output: Path | None, state: str | None, ending_in: int | None) -> None:
    """Write contracts as CSV, a row for each term, as `portal contract import` reads them."""
    text = io.StringIO()
    rows = contract_files.write(directory.all_contracts(clock.now(), _wanted(state, ending_in)), text)
    if output is None:
        click.echo(text.getvalue().encode(), nl=False)
        return
    unfinished = output.with_name(output.name + ".part")
    try:
        unfinished.write_text(text.getvalue(), encoding="utf-8", newline="")
        unfinished.replace(output)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise PortalError(f"{output} cannot be written: {error.strerror}.") from error
    click.echo(f"{rows} {'row' if rows == 1 else 'rows'} written to {output}.")


@contract.command("import")
@click.argument("file", type=CSV_FILE)
@click.option("--no-invitations", is_flag=True, help="Send no mail; notices start all the same.")
@click.option("--dry-run", is_flag=True, help="Check the file and change nothing.")
def import_contracts(file: Path, no_invitations: bool, dry_run: bool) -> None:
    """Import contracts from a CSV file: all of it or nothing.

    Columns: number,organization,product,starts_on,ends_on,time_zone,contact1_name,contact1_email,contact2_name,contact2_email;
    and, where wanted, price,currency,order_reference,region,state. An empty ends_on means twelve months. A further row with the
    same number adds a term to it. A number that exists is left as it is, so a file can be imported again.
    """
    rows = contract_files.read(file.read_bytes())

    def run(counted: Iterable[tuple[int, imports.Row]]) -> imports.Outcome:
        zone = current_settings().default_time_zone
        return contract_files.import_contracts(counted, default_zone=zone, invite=not no_invitations, actor=None, now=clock.now())

    run_import(rows, run, "contract", dry_run=dry_run)


def run_import(
    rows: list[tuple[int, imports.Row]],
    run: Callable[[Iterable[tuple[int, imports.Row]]], imports.Outcome],
    singular: str,
    plural: str | None = None,
    *,
    dry_run: bool,
) -> None:
    """Import rows as one transaction, which a dry run ends without keeping anything, and say what was done."""
    outcome = imports.Outcome()
    try:
        with click.progressbar(rows, file=sys.stderr, hidden=not sys.stderr.isatty()) as counted, transaction():
            outcome = run(counted)
            if dry_run:
                raise DryRun
    except DryRun:
        click.echo("Dry run: nothing was kept.")
    noun = singular if outcome.added == 1 else plural or f"{singular}s"
    click.echo(f"{outcome.added} {noun} added, {outcome.unchanged} known already.")
    if outcome.asked:
        click.echo(f"{outcome.asked} {'mail asks' if outcome.asked == 1 else 'mails ask'} whether release notices are wanted.")
