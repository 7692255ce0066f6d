"""Commands for accounts: staff and customers. Those for contracts have a file of their own."""

import sys
from collections.abc import Iterable
from pathlib import Path

import click
from flask.cli import AppGroup

from portal import clock
from portal.account import contracts, factors, imports, opt_in, people, security_mail, signing_in
from portal.account.contract_cli import CSV_FILE, contract, run_import
from portal.database import transaction
from portal.errors import NotFound
from portal.products import catalog
from portal.products.models import Product
from portal.web.guards import STAFF_ROLES

staff = AppGroup("staff", help="Members of staff.")
customer = AppGroup("customer", help="People of customers' organisations.")
COMMANDS = (staff, contract, customer)


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


ASK = click.option(
    "--ask", "slugs", multiple=True, metavar="PRODUCT",
    help="Ask by mail whether they want release notices of this product, if they never were. May be given several times.",
)  # fmt: skip


@staff.command("reset-factors")
@click.argument("email")
def reset_factors(email: str) -> None:
    """Remove the second factors of the person with address EMAIL, staff or customer, who has lost them.

    Find out first that it is the person who asks: whoever has the password can sign in afterwards. The person is told by mail, and
    every session of theirs ends.
    """
    with transaction():
        person = people.find_person(people.normalize_email(email))
        if person is None:
            raise NotFound(f"Nobody has the address {email}.")
        factors.reset(person, actor=None, now=clock.now())
        address = person.email
    click.echo(f"The second factors of {address} are removed. Every session of theirs is ended.")


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

    run_import(rows, run, "person", "people", dry_run=dry_run)


def _products(slugs: Iterable[str]) -> list[Product]:
    return [catalog.find_product(slug) for slug in dict.fromkeys(slugs)]


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
