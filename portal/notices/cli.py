"""`portal notices`: what is due, how it went, and stepping in."""

import json
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click
from flask.cli import AppGroup

from portal import clock
from portal.database import end_read, transaction
from portal.errors import Conflict, PortalError
from portal.notices import acts, outbox, people, progress
from portal.notices.announcement_cli import announce
from portal.notices.bounce_cli import bounce
from portal.notices.delivery import deliver_due
from portal.notices.models import DeliveryState, Notice
from portal.notices.progress import Progress, Stage
from portal.notices.selection import NEVER_RETRIED, Selection

notices = AppGroup("notices", help="Mail: what is due, how it went, and stepping in.")
notices.add_command(announce)
notices.add_command(bounce)

FOLLOW_SECONDS = 1.0
RETRYABLE_STATES = [state.value for state in DeliveryState if state not in NEVER_RETRIED]


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
@click.argument("notice_id", type=int, required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--follow", is_flag=True, help="Wait until everything of NOTICE_ID is settled; with a progress bar in a terminal.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 500), help="How many notices to list, newest first.")
def status(notice_id: int | None, as_json: bool, follow: bool, limit: int) -> None:
    """Say how NOTICE_ID is getting on; without it, what is in the outbox and how the latest notices went.

    With --follow, a notice that is paused ends the waiting with exit code 1.
    """
    if notice_id is None:
        if follow:
            raise click.UsageError("Name the notice to follow.")
        _show_outbox(as_json, limit)
        return
    if follow:
        _follow(notice_id)
    _show_notice(notice_id, as_json)


def _show_outbox(as_json: bool, limit: int) -> None:
    now = clock.now()
    totals = progress.totals()
    oldest = outbox.oldest_due(now)
    listed = progress.latest(limit=limit)
    if as_json:
        document: dict[str, Any] = {
            "states": _plain(totals),
            "oldest_due_seconds": round((now - oldest).total_seconds()) if oldest else None,
            "notices": [_summary(one.notice, one.progress, one.product_name) for one in listed],
        }
        click.echo(json.dumps(document, indent=2))
        return
    click.echo(f"In the outbox: {_sentence(totals)}")
    if oldest is not None:
        click.echo(f"The oldest due mail has waited {round((now - oldest).total_seconds())} seconds.")
    for one in listed:
        held = f" ({one.stage})" if one.stage in (Stage.PAUSED, Stage.STOPPED) else ""
        click.echo(f"{one.notice.id:>6}  {_instant(one.notice.created_at)}  {_name(one.notice)}: {_sentence(one.progress.counts)}{held}")


def _show_notice(notice_id: int, as_json: bool) -> None:
    now = clock.now()
    notice = progress.find(notice_id)
    reached = progress.progress_now(notice, now)
    table = people.domains(notice_id, now)
    if as_json:
        document = {
            **_summary(notice, reached, progress.product_of(notice)),
            "paused_at": notice.paused_at.isoformat() if notice.paused_at else None,
            "paused_because": notice.pause_reason,
            "skipped": dict(reached.skipped),
            "retryable": reached.retryable,
            "next_attempt_at": reached.next_attempt_at.isoformat() if reached.next_attempt_at else None,
            "per_second": round(reached.pace.per_second, 2) if reached.pace else None,
            "domains": [_domain(line) for line in table.lines],
            "domains_in_all": table.total,
        }
        click.echo(json.dumps(document, indent=2))
        return
    click.echo(f"{_name(notice)}, created {_instant(notice.created_at)}: {progress.stage_of(notice, reached)}")
    click.echo(reached.summary)
    for line in _remarks(notice, reached, table):
        click.echo(line)


def _remarks(notice: Notice, reached: Progress, table: people.DomainTable) -> list[str]:
    """What there is to say beside the numbers."""
    lines = []
    if reached.pace:
        lines.append(f"Going out at {reached.pace.words}.")
    if reached.is_stranded:
        lines.append("No worker is running. Start one with `portal worker`.")
    if notice.pause_reason and progress.stage_of(notice, reached) is Stage.PAUSED:
        lines.append(f"The portal paused it: {notice.pause_reason}")
    if reached.skipped:
        lines.append("Skipped: " + ", ".join(f"{count} {reason}" for reason, count in reached.skipped.items()))
    if reached.retryable and notice.cancelled_at is None:
        suppressed = people.count_suppressed(notice.id)
        but = f", but {suppressed} will be skipped: no mail goes to a suppressed address" if suppressed else ""
        lines.append(f"`portal notices retry {notice.id}` tries {reached.retryable} again{but}.")
    for line in table.lines:
        if not line.has_trouble:
            continue
        counts = {"deferred": line.deferred, "bounced": line.bounced, "failed": line.failed}
        paused = f", paused until {_instant(line.paused_until)}" if line.paused_until else ""
        lines.append(f"  {line.domain}: {_sentence(counts)} of {line.total}{paused}{f': {line.reply}' if line.reply else ''}")
    return lines


def _follow(notice_id: int) -> None:
    """Wait until nothing of a notice is open. Raises Conflict when it is paused meanwhile: nothing would ever happen."""
    reached = progress.progress(notice_id)
    if not sys.stderr.isatty():
        while _goes_on(notice_id, reached):
            reached = _a_little_later(notice_id)
        return
    with click.progressbar(
        length=reached.total, label=f"Notice {notice_id}", file=sys.stderr, show_pos=True, item_show_func=lambda item: item
    ) as bar:
        bar.update(reached.settled, _held(reached))
        while _goes_on(notice_id, reached):
            reached = _a_little_later(notice_id)
            bar.update(reached.settled - bar.pos, _held(reached))


def _goes_on(notice_id: int, reached: Progress) -> bool:
    notice = progress.find(notice_id)
    stage = progress.stage_of(notice, reached)
    if stage is Stage.PAUSED:
        because = f" {notice.pause_reason}" if notice.pause_reason else ""
        raise Conflict(f"Notice {notice_id} is paused.{because} `portal notices resume {notice_id}` lets it go on.")
    return stage is Stage.SENDING


def _a_little_later(notice_id: int) -> Progress:
    end_read()  # a snapshot held open would keep the database from tidying up
    time.sleep(FOLLOW_SECONDS)
    return progress.progress(notice_id)


def _held(reached: Progress) -> str | None:
    deferred = reached.counts[DeliveryState.DEFERRED]
    return f"{deferred} deferred" if deferred else None


@notices.command("retry")
@click.argument("notice_id", type=int)
@click.option(
    "--state", type=click.Choice(RETRYABLE_STATES), help="Only what is in this state. Default: failed, deferred, and full mailboxes."
)
@click.option("--domain", default="", help="Only what goes to this domain, such as example.org.")
def retry(notice_id: int, state: str | None, domain: str) -> None:
    """Try again what failed or waits of a notice. Final refusals of mail servers are left alone, unless --state names them."""
    among = Selection(DeliveryState(state) if state else None, domain.strip().lower())
    with transaction():
        said = acts.retry(notice_id, actor=None, now=clock.now(), among=among)
    click.echo(said)


@notices.command("pause")
@click.argument("notice_id", type=int)
def pause(notice_id: int) -> None:
    """Hold back what is not sent yet of a notice."""
    with transaction():
        count = acts.pause(notice_id, actor=None, now=clock.now())
    click.echo(f"Notice {notice_id} is paused. Mails that wait: {count}.")


@notices.command("resume")
@click.argument("notice_id", type=int)
def resume(notice_id: int) -> None:
    """Let a paused notice go on."""
    with transaction():
        count = acts.resume(notice_id, actor=None, now=clock.now())
    click.echo(f"Notice {notice_id} goes on. Mails that are due: {count}.")


@notices.command("cancel")
@click.argument("notice_id", type=int)
def cancel(notice_id: int) -> None:
    """Never send what is left of a notice. This cannot be undone."""
    with transaction():
        count = acts.cancel(notice_id, actor=None, now=clock.now())
    click.echo(f"Notice {notice_id} is stopped. Mails that will not be sent: {count}.")


def _summary(notice: Notice, reached: Progress, product_name: str | None) -> dict[str, Any]:
    return {
        "id": notice.id,
        "kind": notice.kind,
        "title": progress.title_of(notice),
        "product": product_name,
        "created_at": notice.created_at.isoformat(),
        "stage": progress.stage_of(notice, reached).value,
        "total": reached.total,
        "states": _plain(reached.counts),
    }


def _domain(line: people.DomainLine) -> dict[str, Any]:
    return {**vars(line), "paused_until": line.paused_until.isoformat() if line.paused_until else None}


def _plain(counts: Mapping[DeliveryState, int]) -> dict[str, int]:
    return {state.value: count for state, count in counts.items()}


def _name(notice: Notice) -> str:
    label, title = progress.label_of(notice), progress.title_of(notice)
    return f"{label}, {title}" if title else label


def _instant(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"


def _sentence(counts: Mapping[Any, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "nothing"
