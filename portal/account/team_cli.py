"""`portal staff`: who of the vendor's people may do what."""

import json

import click
from flask.cli import with_appcontext

from portal import clock
from portal.account import people, team
from portal.account.models import User
from portal.database import transaction
from portal.errors import NotFound
from portal.web.guards import STAFF_ROLES


def add_to(staff: click.Group) -> None:
    """Put the commands into the group `portal staff`."""
    for command in (list_members, set_roles, close, reopen):
        staff.add_command(command)


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print an array of objects.")
@with_appcontext
def list_members(as_json: bool) -> None:
    """List everybody with a role."""
    members = team.members(clock.now())
    if as_json:
        rows = [
            {
                "email": one.person.email,
                "name": one.person.name,
                "roles": sorted(one.person.role_names),
                "active": one.person.active,
                "tokens": one.tokens,
                "last_seen_at": one.last_seen_at.isoformat() if one.last_seen_at else None,
            }
            for one in members
        ]
        click.echo(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    for one in members:
        click.echo(f"{one.person.email}  {', '.join(sorted(one.person.role_names))}{'' if one.person.active else '  closed'}")


@click.command("set-roles")
@click.argument("email")
@click.option("--role", "roles", type=click.Choice(STAFF_ROLES), multiple=True, help="May be given several times. None: staff no more.")
@with_appcontext
def set_roles(email: str, roles: tuple[str, ...]) -> None:
    """Give the member of staff EMAIL exactly these roles. What a lost role gave ends at once."""
    with transaction():
        team.set_roles(_find(email), roles, STAFF_ROLES, actor=None, now=clock.now())
    click.echo(f"{email} is {', '.join(sorted(roles)) if roles else 'no member of staff any more'}.")


@click.command("close")
@click.argument("email")
@with_appcontext
def close(email: str) -> None:
    """Close the account of the member of staff EMAIL: sessions and tokens die."""
    with transaction():
        team.close(_find(email), actor=None, now=clock.now())
    click.echo(f"The account of {email} is closed.")


@click.command("reopen")
@click.argument("email")
@with_appcontext
def reopen(email: str) -> None:
    """Open the closed account of the member of staff EMAIL again."""
    with transaction():
        team.reopen(_find(email), actor=None, now=clock.now())
    click.echo(f"The account of {email} is open again.")


def _find(email: str) -> User:
    found = people.find_person(people.normalize_email(email))
    if found is None or not found.is_staff:
        raise NotFound(f"{email} is no member of staff.")
    return found
