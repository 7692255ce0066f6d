"""`portal product`: what the vendor sells."""

import json

import click
from flask.cli import AppGroup

from portal import clock
from portal.database import transaction
from portal.products import catalog
from portal.products.models import StableAccess

product = AppGroup("product", help="Products.")


@product.command("create")
@click.argument("slug")
@click.option("--name", required=True, help="As customers know it.")
@click.option("--summary", default="", help="One or two sentences.")
@click.option(
    "--stable-access",
    type=click.Choice([access.value for access in StableAccess]),
    default=StableAccess.CUSTOMERS.value,
    show_default=True,
    help="Who may download stable builds.",
)
def create(slug: str, name: str, summary: str, stable_access: str) -> None:
    """Add the product that addresses and commands call SLUG."""
    with transaction():
        catalog.create_product(slug, name, summary=summary, stable_access=StableAccess(stable_access), actor=None, now=clock.now())
    click.echo(f"{name} is added as {slug}.")


@product.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_products(as_json: bool) -> None:
    """List the products, by name."""
    products = [{"slug": one.slug, "name": one.name, "stable_access": one.stable_access.value} for one in catalog.all_products()]
    if as_json:
        click.echo(json.dumps(products, indent=2, ensure_ascii=False))
        return
    for one in products:
        click.echo(f"{one['slug']}  {one['name']}, stable builds for {one['stable_access']}")
