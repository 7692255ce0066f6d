"""`portal release downloads`: the ledger of a release, for whoever has to look into a build that leaked."""

import json

import click
from flask.cli import with_appcontext

from portal.releases import catalog, downloads


def add_to(release: click.Group) -> None:
    """Put the command into the group `portal release`."""
    release.add_command(list_downloads)


@click.command("downloads")
@click.argument("product")
@click.argument("version")
@click.option("--json", "as_json", is_flag=True, help="Print an array of objects.")
@with_appcontext
def list_downloads(product: str, version: str, as_json: bool) -> None:
    """List who took the builds of a release, when, and from which network address, as long as that is kept."""
    rows = [
        {
            "file": one.filename,
            "person": one.email,
            "contract": one.contract,
            "started_at": one.started_at.isoformat(),
            "completed_at": one.completed_at.isoformat() if one.completed_at else None,
            "address": one.address,
        }
        for one in downloads.of_release(catalog.find_release(product, version).id)
    ]
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    for row in rows:
        click.echo(f"{row['started_at']}  {row['file']}  {row['person'] or '-'}  {row['contract'] or '-'}  {row['address'] or '-'}")
    if not rows:
        click.echo("Nobody has downloaded it.")
