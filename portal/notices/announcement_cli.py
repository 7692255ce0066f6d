"""`portal notices announce`: an announcement from the command line."""

from pathlib import Path

import click
from flask.cli import with_appcontext

from portal import clock
from portal.database import transaction
from portal.errors import Invalid
from portal.notices import announcements
from portal.notices.announcements import Words
from portal.notices.audiences import Reach
from portal.notices.models import Topic
from portal.products.catalog import find_product
from portal.web.formatting import count

TEXT = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)


@click.command("announce")
@click.argument("product")
@click.option("--audience", required=True, help="Who it is for: contacts, seats, customers, downloaders or subscribers.")
@click.option("--subject", required=True)
@click.option("--body", type=TEXT, required=True, help="The text, a file in Markdown and UTF-8; - for standard input.")
@click.option(
    "--topic",
    type=click.Choice([topic.value for topic in announcements.TOPICS]),
    help="The choice it respects. Left out: it goes to the whole audience and cannot be switched off.",
)
@click.option("--dry-run", is_flag=True, help="Say who would get it and who not, and send nothing.")
@with_appcontext
def announce(product: str, audience: str, subject: str, body: Path, topic: str | None, dry_run: bool) -> None:
    """Mail an announcement about PRODUCT (its slug) to an audience, once: the same again is refused."""
    text = _read(body)

    def words() -> Words:
        return Words(find_product(product).id, subject, text, audience, Topic(topic) if topic else None)

    if dry_run:
        click.echo(_sentence(announcements.reach(words(), clock.now())))
        return
    with transaction():
        now = clock.now()
        reach = announcements.reach(words(), now)
        announcement, people = announcements.announce(words(), actor=None, now=now)
        notice_id = announcement.notice_id
    click.echo(_sentence(reach))
    click.echo(f"Mails waiting to be sent: {people}. Watch them with: portal notices status (notice {notice_id}).")


def _sentence(reach: Reach) -> str:
    """ "412 people will get this; 14 will not: 9 contract ended, 5 address does not take our mail." """
    will = f"{count(reach.reached, 'person', 'people')} will get this; {reach.left_out:,} will not"
    why = ", ".join(f"{number:,} {reason}" for reason, number in reach.excluded.items())
    return f"{will}: {why}." if why else f"{will}."


def _read(path: Path) -> str:
    try:
        with click.open_file(str(path), encoding="utf-8") as source:
            return str(source.read())
    except UnicodeDecodeError:
        raise Invalid(f"{path} is not UTF-8. Save it as UTF-8 and try again.") from None
