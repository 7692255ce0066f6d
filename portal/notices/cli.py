"""Commands about notices."""

import json
import sys
from typing import Any

import click
from flask.cli import AppGroup

from portal import clock
from portal.database import transaction
from portal.errors import PortalError
from portal.notices import outbox, progress
from portal.notices.delivery import deliver_due

notices = AppGroup("notices", help="Mail: what is due, how it went, and trying again.")


@notices.command("drain")
def drain() -> None:
    """Deliver all that is due, then exit. Needs no queue and no worker."""
    if sys.stderr.isatty():
        with click.progressbar(length=outbox.count_due(clock.now()), label="Delivering", file=sys.stderr) as bar:
            run = deliver_due(settled=bar.update)
    else:
        run = deliver_due()
    click.echo(_sentence(run.counts) if run.total else "Nothing is due.")
    if run.unavailable is not None:
        raise PortalError(f"The mail server cannot be used: {run.unavailable}. What is left goes out later.")


@notices.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 500), help="How many notices to list, newest first.")
def status(as_json: bool, limit: int) -> None:
    """Say what is in the outbox, and how the latest notices went."""
    now = clock.now()
    totals = progress.totals()
    oldest = outbox.oldest_due(now)
    listed = progress.latest(limit=limit)
    if as_json:
        document: dict[str, Any] = {
            "states": {state.value: count for state, count in totals.items()},
            "oldest_due_seconds": round((now - oldest).total_seconds()) if oldest else None,
            "notices": [
                {
                    "id": one.notice.id,
                    "kind": one.notice.kind,
                    "title": one.title,
                    "product": one.product_name,
                    "created_at": one.notice.created_at.isoformat(),
                    "states": {state.value: count for state, count in one.progress.counts.items()},
                }
                for one in listed
            ],
        }
        click.echo(json.dumps(document, indent=2))
        return
    click.echo(f"In the outbox: {_sentence(totals)}")
    if oldest is not None:
        click.echo(f"The oldest due mail has waited {round((now - oldest).total_seconds())} seconds.")
    for one in listed:
        click.echo(f"{one.notice.id:>6}  {one.notice.created_at:%Y-%m-%d %H:%M} UTC  {_name(one)}: {_sentence(one.progress.counts)}")


@notices.command("retry")
@click.argument("notice_id", type=int)
def retry(notice_id: int) -> None:
    """Try again what failed or waits of a notice. Final refusals of mail servers are left alone."""
    with transaction():
        progress.find(notice_id)
        count = outbox.retry(notice_id, now=clock.now())
    click.echo(f"{count} will be tried again now.")


def _name(one: progress.Listed) -> str:
    return f"{one.label}, {one.title}" if one.title else one.label


def _sentence(counts: Any) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "nothing"
