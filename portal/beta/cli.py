"""`portal beta-terms`: the terms of the beta programme."""

import json
from pathlib import Path

import click
from flask.cli import AppGroup

from portal import clock
from portal.beta import terms
from portal.database import transaction
from portal.errors import Invalid
from portal.products.catalog import find_product

beta_terms = AppGroup("beta-terms", help="The terms of the beta programme.")


@beta_terms.command("publish")
@click.argument("product")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
def publish(product: str, file: Path) -> None:
    """Publish FILE (Markdown, UTF-8; - for standard input) as the next version of the terms of PRODUCT."""
    try:
        with click.open_file(str(file), encoding="utf-8") as source:
            text = source.read()
    except UnicodeDecodeError:
        raise Invalid(f"{file} is not UTF-8. Save it as UTF-8 and try again.", "file") from None
    with transaction():
        published = terms.publish(find_product(product), text, actor=None, now=clock.now())
        version = published.version
    click.echo(f"Version {version} of the beta terms of {product} is published.")


@beta_terms.command("acceptances")
@click.argument("product")
@click.option("--json", "as_json", is_flag=True, help="Print an array of objects.")
def acceptances(product: str, as_json: bool) -> None:
    """List who accepted which version of the terms of PRODUCT, for which contract, and when."""
    found = terms.acceptances(find_product(product).id)
    if as_json:
        rows = [{**one._asdict(), "accepted_at": one.accepted_at.isoformat()} for one in found]
        click.echo(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    for one in found:
        click.echo(f"{one.accepted_at.isoformat()}  version {one.version}  {one.email}  {one.contract}  {one.organization}")
    if not found:
        click.echo("Nobody has accepted any.")
