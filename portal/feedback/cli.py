"""`portal feedback`: feedback for other programs."""

import sys
from pathlib import Path

import click
from flask.cli import AppGroup

from portal import clock
from portal.errors import PortalError
from portal.feedback import export

feedback = AppGroup("feedback", help="What subscribers wrote.")


@feedback.command("export")
@click.option("--format", "file_format", type=click.Choice(["csv", "json"]), required=True, help="The file's format.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The file to write; it is replaced whole.")
def export_items(file_format: str, output: Path) -> None:
    """Write all feedback to a file, private items too, with the contracts that vote for each."""
    unfinished = output.with_name(output.name + ".part")
    write = export.write_csv if file_format == "csv" else export.write_json
    try:
        with (
            unfinished.open("w", encoding="utf-8", newline="") as file,
            click.progressbar(export.rows(clock.now()), length=export.count(), label="Exporting", file=sys.stderr) as rows,
        ):
            write(iter(rows), file)
        unfinished.replace(output)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise PortalError(f"{output} cannot be written: {error.strerror}.") from error


@feedback.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print an array of objects.")
def list_items(as_json: bool) -> None:
    """List all feedback: id, votes, status, title."""
    rows = export.rows(clock.now())
    if as_json:
        export.write_json(rows, sys.stdout)
        return
    for row in rows:
        click.echo(f"{row['id']:>6}  {row['votes']:>4}  {row['status']:<12}  {row['title']}")
