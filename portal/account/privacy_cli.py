"""Commands for what people may ask for: a copy of their data, and to be erased."""

from pathlib import Path

import click
from flask.cli import AppGroup

from portal import clock
from portal.account import people, privacy
from portal.account.models import User
from portal.database import transaction
from portal.errors import NotFound, PortalError

person = AppGroup("person", help="People: a copy of their data, erasing them, signing them out.")


@person.command("export")
@click.argument("email")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The zip archive to write; it is replaced.")
def export(email: str, output: Path) -> None:
    """Write everything kept about the person with address EMAIL to a zip archive."""
    now, found = clock.now(), _find(email)
    try:
        with output.open("wb") as file:
            privacy.write_copy(found, file, now=now)
    except OSError as error:
        raise PortalError(f"{output} cannot be written: {error.strerror}.") from error
    with transaction():
        privacy.note_copy(_find(email), actor=None, now=now)
    click.echo(f"What is kept about {email} is in {output}.")


@person.command("erase")
@click.argument("email")
@click.option("--yes", is_flag=True, help="Do not ask again.")
def erase(email: str, yes: bool) -> None:
    """Take name and address of the person EMAIL from everywhere, for good. Counts and the organisation's feedback stay."""
    found = _find(email)
    person_id, obstacle = found.id, privacy.look(found.id).obstacle
    if obstacle is not None:
        raise PortalError(obstacle)
    if not yes:
        click.confirm(f"Erase {email} for good?", abort=True)
    with transaction():
        privacy.erase(person_id, actor=None, now=clock.now())
    click.echo("The person is erased.")


def _find(email: str) -> User:
    found = people.find_person(people.normalize_email(email))
    if found is None:
        raise NotFound(f"Nobody has the address {email}.")
    return found
