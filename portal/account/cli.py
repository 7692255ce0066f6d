"""Commands for accounts: staff, contracts, customers."""

import json
import sys
from collections.abc import Callable, Iterable
from datetime import date, datetime, time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click
from flask.cli import AppGroup

from portal import clock
from portal.account import contacts, contracts, directory, imports, opt_in, people, security_mail, signing_in
from portal.account.models import Contact, Contract
from portal.config import current_settings
from portal.database import transaction
from portal.errors import Invalid
from portal.products import catalog
from portal.products.models import Product
from portal.web.guards import STAFF_ROLES

DAY = click.DateTime(["%Y-%m-%d"])
staff = AppGroup("staff", help="Members of staff.")
contract = AppGroup("contract", help="Contracts, their terms and their contacts.")
customer = AppGroup("customer", help="People of customers' organisations.")
COMMANDS = (staff, contract, customer)


class DryRun(Exception):
    """Ends a transaction without keeping anything."""


@staff.command("add")
@click.argument("email")
@click.option("--role", "roles", type=click.Choice(STAFF_ROLES), multiple=True, required=True, help="May be given several times.")
@click.option("--name", default="", help="What the person is called.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input instead of mailing a link to choose one.")
def add_staff(email: str, roles: tuple[str, ...], name: str, password_stdin: bool) -> None:
    """Make the person with address EMAIL a member of staff."""
    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else None
    now = clock.now()
    with transaction():
        person = people.add_staff(email, name, roles, actor=None, now=now)
        if password is not None:
            person.password = signing_in.check_password(password, person)
        elif person.password is None:
            security_mail.enqueue(security_mail.STAFF_INVITATION, person.id, now=now)
        address, held, invited = person.email, sorted(person.role_names), person.password is None
    click.echo(f"{address} is staff: {', '.join(held)}.")
    if invited:
        click.echo("A link to choose a password is on its way.")


@contract.command("create")
@click.argument("number")
@click.option("--organization", required=True, help="Its name; it is added if unknown.")
@click.option("--product", required=True, help="Slug of the product.")
@click.option("--starts-on", type=DAY, required=True, help="First day of the first term, as 2026-11-24.")
@click.option("--ends-on", type=DAY, help="Last day of the first term. Without it: twelve months.")
@click.option("--time-zone", help="IANA zone in which the term begins and ends at midnight. Without it: DEFAULT_TIME_ZONE.")
def create_contract(
    number: str, organization: str, product: str, starts_on: datetime, ends_on: datetime | None, time_zone: str | None
) -> None:
    """Make contract NUMBER with its first term."""
    now = clock.now()
    with transaction():
        made = contracts.create_contract(
            number,
            contracts.find_or_create_organization(organization, actor=None, now=now),
            catalog.find_product(product),
            starts_on.date(),
            ends_on=ends_on.date() if ends_on else None,
            time_zone=time_zone or current_settings().default_time_zone,
            actor=None,
            now=now,
        )
        term = made.terms[0]
        sentence = f"Contract {made.number} is made: {term.starts_on} to {term.ends_on}."
    click.echo(sentence)


def _act(name: str, act: Callable[..., object], help_text: str, done: str) -> None:
    @contract.command(name, help=help_text)
    @click.argument("number")
    def command(number: str) -> None:
        with transaction():
            act(contracts.find_contract(number), actor=None, now=clock.now())
            last = contracts.find_contract(number).terms[-1].ends_on
        click.echo(f"Contract {number} is {done}." + (f" It runs until {last}." if name == "renew" else ""))


_act("renew", contracts.renew, "Add the next twelve-month term to contract NUMBER.", "renewed")
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


@contract.command("correct-address")
@click.argument("number")
@click.argument("wrong")
@click.argument("right")
def correct_address(number: str, wrong: str, right: str) -> None:
    """Correct the address WRONG of a contact who has not accepted to RIGHT, and invite again."""
    with transaction():
        seats = contacts.live_contacts(contracts.find_contract(number).id)
        contact = next((seat for seat in seats if seat.user.email == people.normalize_email(wrong)), None)
        if contact is None:
            raise Invalid(f"{wrong} holds no seat of contract {number}.")
        contacts.correct_address(contact, right, actor=None, now=clock.now())
    click.echo(f"The invitation is on its way to {right}; the old link no longer works.")


@contract.command("who")
@click.argument("number")
@click.option("--on", "day", type=DAY, help="The day to look at, to its end in the contract's zone. Without it: today.")
@click.option("--json", "as_json", is_flag=True, help="Print an array of objects.")
def who(number: str, day: datetime | None, as_json: bool) -> None:
    """List who holds the seats of contract NUMBER."""
    found = contracts.find_contract(number)
    seats = directory.contacts_by_contract([found.id], _end_of(day.date(), found.time_zone) if day else None).get(found.id, [])
    if as_json:
        click.echo(json.dumps([_contact(seat) for seat in seats], indent=2))
        return
    for seat in seats:
        click.echo(f"{seat.seat}  {seat.user.email}  {seat.user.name}")
    if not seats:
        click.echo(f"Nobody holds a seat of contract {number}.")


def _end_of(day: date, zone: str) -> datetime:
    return datetime.combine(day, time.max, ZoneInfo(zone)) if day < date.max else datetime.combine(day, time.max, ZoneInfo("UTC"))


@contract.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print an array of objects.")
def list_contracts(as_json: bool) -> None:
    """List all contracts with their state, terms and contacts."""
    rows = directory.all_contracts(clock.now())
    if as_json:
        click.echo(json.dumps([_contract(row) for row in rows], indent=2, ensure_ascii=False))
        return
    for row in rows:
        ends = row.standing.term.ends_on if row.standing.term else "-"
        names = ", ".join(seat.user.email for seat in row.contacts) or "nobody named"
        click.echo(f"{row.contract.number}  {row.standing.state}  until {ends}  {row.contract.organization.name}  {names}")


def _contract(row: directory.ContractRow) -> dict[str, Any]:
    found: Contract = row.contract
    return {
        "number": found.number,
        "organization": found.organization.name,
        "product": found.product.slug,
        "state": row.standing.state.value,
        "time_zone": found.time_zone,
        "terms": [{"starts_on": term.starts_on.isoformat(), "ends_on": term.ends_on.isoformat()} for term in found.terms],
        "contacts": [_contact(seat) for seat in row.contacts],
    }


def _contact(seat: Contact) -> dict[str, Any]:
    return {"seat": seat.seat, "name": seat.user.name, "email": seat.user.email}


ASK = click.option(
    "--ask", "slugs", multiple=True, metavar="PRODUCT",
    help="Ask by mail whether they want release notices of this product, if they never were. May be given several times.",
)  # fmt: skip
CSV_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@contract.command("import")
@click.argument("file", type=CSV_FILE)
@click.option("--no-invitations", is_flag=True, help="Send no mail; notices start all the same.")
@click.option("--dry-run", is_flag=True, help="Check the file and change nothing.")
def import_contracts(file: Path, no_invitations: bool, dry_run: bool) -> None:
    """Import contracts from a CSV file: all of it or nothing.

    Columns: number,organization,product,starts_on,ends_on,time_zone,contact1_name,contact1_email,contact2_name,contact2_email.
    An empty ends_on means twelve months. A number that exists is left as it is, so a file can be imported again.
    """
    rows = imports.read_rows(file.read_bytes(), imports.CONTRACT_COLUMNS)

    def run(counted: Iterable[tuple[int, imports.Row]]) -> imports.Outcome:
        zone = current_settings().default_time_zone
        return imports.import_contracts(counted, default_zone=zone, invite=not no_invitations, now=clock.now())

    _import(rows, run, "contract", dry_run=dry_run)


@customer.command("import")
@click.argument("file", type=CSV_FILE)
@ASK
@click.option("--dry-run", is_flag=True, help="Check the file and change nothing.")
def import_customers(file: Path, slugs: tuple[str, ...], dry_run: bool) -> None:
    """Import people from a CSV file with the columns email,name,organization: all of it or nothing.

    Somebody whose address is known is left as they are, so a file can be imported again. Nobody is mailed about releases unless
    they choose so themselves; with --ask they get one mail that asks.
    """
    rows = imports.read_rows(file.read_bytes(), imports.CUSTOMER_COLUMNS)

    def run(counted: Iterable[tuple[int, imports.Row]]) -> imports.Outcome:
        return imports.import_customers(counted, ask=_products(slugs), now=clock.now())

    _import(rows, run, "person", "people", dry_run=dry_run)


def _products(slugs: Iterable[str]) -> list[Product]:
    return [catalog.find_product(slug) for slug in dict.fromkeys(slugs)]


def _import(
    rows: list[tuple[int, imports.Row]],
    run: Callable[[Iterable[tuple[int, imports.Row]]], imports.Outcome],
    singular: str,
    plural: str | None = None,
    *,
    dry_run: bool,
) -> None:
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


@customer.command("add")
@click.argument("email")
@click.option("--name", default="", help="What the person is called.")
@click.option("--organization", required=True, help="Its name; it is added if unknown.")
@ASK
def add_customer(email: str, name: str, organization: str, slugs: tuple[str, ...]) -> None:
    """Add the person with address EMAIL to a customer's organisation, without a seat."""
    now = clock.now()
    with transaction():
        employer = contracts.find_or_create_organization(organization, actor=None, now=now)
        address = people.add_customer(email, name, employer, actor=None, now=now).email
        asked = sum(opt_in.ask_customers([address], product, actor=None, now=now) for product in _products(slugs))
    click.echo(f"{address} is added." + (" A mail asks whether release notices are wanted." if asked else ""))
