"""Commands for people who are signed in, or cannot sign in: ending sessions, and opening what failures have locked."""

import click
from flask.cli import with_appcontext

from portal import audit, clock
from portal.account import factors_throttle, people, sessions, throttle
from portal.account.models import User
from portal.database import transaction
from portal.errors import NotFound


def add_to(person: click.Group) -> None:
    """Put the commands into the group `portal person`."""
    for command in (sign_out, unlock):
        person.add_command(command)


@click.command("sign-out")
@click.argument("email", required=False)
@click.option("--everybody", is_flag=True, help="Sign out all people, staff included.")
@with_appcontext
def sign_out(email: str | None, everybody: bool) -> None:
    """End all sessions of the person with address EMAIL, or of everybody: every device has to sign in anew."""
    if everybody == bool(email):
        raise click.UsageError("Name one address, or say --everybody.")
    now = clock.now()
    with transaction():
        if email:
            person = _find(email)
            ended = sessions.end_all(person, now=now)
            audit.record("sessions.ended", subject_type="user", subject_id=person.id, actor=None, now=now, ended=ended)
        else:
            ended = sessions.end_everybody(now=now)
            audit.record("sessions.ended", subject_type="users", subject_id=None, actor=None, now=now, ended=ended)
    click.echo(f"{ended} {'session' if ended == 1 else 'sessions'} ended.")


@click.command("unlock")
@click.argument("email")
@with_appcontext
def unlock(email: str) -> None:
    """Let the person with address EMAIL sign in again after too many failures, of the password or of codes."""
    with transaction():
        person = _find(email)
        throttle.unlock(person.id)
        factors_throttle.unlock(person.id)
        audit.record("sign_in.unlocked", subject_type="user", subject_id=person.id, actor=None, now=clock.now())
        address = person.email
    click.echo(f"{address} can sign in again.")


def _find(email: str) -> User:
    """Return the person. Raises NotFound, Invalid for what is no address."""
    person = people.find_person(people.normalize_email(email))
    if person is None or person.provisional:
        raise NotFound(f"Nobody is known as {email}.")
    return person
