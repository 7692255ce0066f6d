"""`portal audit`: the audit log for other programs."""

from datetime import datetime
from pathlib import Path

import click
from flask.cli import AppGroup

from portal import audit as log
from portal import clock
from portal.config import current_settings
from portal.database import transaction
from portal.errors import PortalError
from portal.home import audit_log
from portal.home.audit_log import Search

DAY = click.DateTime(["%Y-%m-%d"])
audit = AppGroup("audit", help="Who did what, when, and from where.")


@audit.command("export")
@click.option("--format", "file_format", type=click.Choice(sorted(audit_log.WRITERS)), required=True, help="The file's format.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The file to write; it is replaced whole.")
@click.option("--person", default="", help="Part of a name or address: who acted, or whom it concerned.")
@click.option("--action", default="", help="The beginning of an act's name, such as contract.")
@click.option("--subject", default="", help="A contract's number, a product, an address, or a kind with its number: notice 12.")
@click.option("--since", type=DAY, help="First day, as 2026-11-24, in DEFAULT_TIME_ZONE.")
@click.option("--until", type=DAY, help="Last day.")
def export(file_format: str, output: Path, person: str, action: str, subject: str, since: datetime | None, until: datetime | None) -> None:
    """Write the events of the audit log to a file, all of them or those that match."""
    search = Search(
        person, action, subject, since.date() if since else None, until.date() if until else None, current_settings().default_time_zone
    )
    with transaction():
        log.record("audit.exported", subject_type="export", subject_id=None, actor=None, now=clock.now(), form=file_format)
    unfinished = output.with_name(output.name + ".part")
    try:
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            audit_log.WRITERS[file_format](audit_log.rows(search), file)
        unfinished.replace(output)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise PortalError(f"{output} cannot be written: {error.strerror}.") from error
