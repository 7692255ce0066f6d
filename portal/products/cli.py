"""`portal product`: what the vendor sells."""

import json
import os
from pathlib import Path

import click
from flask.cli import AppGroup

from portal import clock
from portal.database import transaction
from portal.products import catalog
from portal.products.models import StableAccess

product = AppGroup("product", help="Products.")


def _key_or_file(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """A key is given as it is, or as the name of its file."""
    if value is None or not os.path.isfile(value):  # unlike Path.is_file, for a name too long too
        return value
    try:
        return Path(value).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise click.BadParameter(f"{value} cannot be read.") from None


KEY_HELP = "minisign's public key that builds are signed with, or its file (minisign.pub)."
KEY = click.option("--signing-key", default="", callback=_key_or_file, help=KEY_HELP)
KEY_CHANGE = click.option("--signing-key", callback=_key_or_file, help=f"{KEY_HELP} An empty one takes it away.")


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
@KEY
def create(slug: str, name: str, summary: str, stable_access: str, signing_key: str) -> None:
    """Add the product that addresses and commands call SLUG."""
    with transaction():
        catalog.create_product(
            slug, name, summary=summary, stable_access=StableAccess(stable_access), signing_key=signing_key, actor=None, now=clock.now()
        )  # fmt: skip
    click.echo(f"{name} is added as {slug}.")


@product.command("edit")
@click.argument("slug")
@click.option("--name", help="As customers know it.")
@click.option("--summary", help="One or two sentences.")
@click.option("--stable-access", type=click.Choice([access.value for access in StableAccess]), help="Who may download stable builds.")
@KEY_CHANGE
def edit(slug: str, name: str | None, summary: str | None, stable_access: str | None, signing_key: str | None) -> None:
    """Change what is given of the product SLUG, and leave the rest as it is."""
    with transaction():
        found = catalog.find_product(slug)
        catalog.edit_product(
            slug,
            name=found.name if name is None else name,
            summary=found.summary if summary is None else summary,
            stable_access=found.stable_access if stable_access is None else StableAccess(stable_access),
            signing_key=found.signing_key or "" if signing_key is None else signing_key,
            actor=None,
            now=clock.now(),
        )
        called = found.name
    click.echo(f"{called} is saved.")


@product.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_products(as_json: bool) -> None:
    """List the products, by name."""
    products = [
        {"slug": one.slug, "name": one.name, "stable_access": one.stable_access.value, "signing_key": one.signing_key}
        for one in catalog.all_products()
    ]
    if as_json:
        click.echo(json.dumps(products, indent=2, ensure_ascii=False))
        return
    for one in products:
        click.echo(f"{one['slug']}  {one['name']}, stable builds for {one['stable_access']}")
