"""What a person does to a notice, by a page or by a command: refused where it makes no sense, and kept in the audit log.

`actor` is None for a command: the log says so in the event's details.
"""

from collections.abc import Callable
from datetime import datetime

from portal import audit
from portal.audit import Actor
from portal.errors import Conflict
from portal.notices import control, people, progress
from portal.notices.models import Notice
from portal.notices.selection import EVERYBODY, Selection

COMMAND_LINE = "command line"


def pause(notice_id: int, *, actor: Actor | None, now: datetime) -> int:
    """Send no more of a notice until it is resumed. Returns how many mails wait then. Raises NotFound, Conflict."""
    notice = _unfinished(notice_id, "pause")
    if notice.paused_at is not None:
        raise Conflict(f"Notice {notice_id} is paused already.")
    return _do("notice.paused", notice, actor, now, lambda: control.pause(notice_id, now=now))


def resume(notice_id: int, *, actor: Actor | None, now: datetime) -> int:
    """Let a paused notice go on. Returns how many mails are due again. Raises NotFound, Conflict."""
    notice = _unfinished(notice_id, "resume")
    if notice.paused_at is None:
        raise Conflict(f"Notice {notice_id} is not paused.")
    return _do("notice.resumed", notice, actor, now, lambda: control.resume(notice_id, now=now))


def cancel(notice_id: int, *, actor: Actor | None, now: datetime) -> int:
    """Never send what is left of a notice. Returns how many mails that are. Raises NotFound, Conflict."""
    notice = _unfinished(notice_id, "stop")
    return _do("notice.stopped", notice, actor, now, lambda: control.cancel(notice_id, now=now))


def retry(notice_id: int, *, actor: Actor | None, now: datetime, among: Selection = EVERYBODY) -> str:
    """Try a notice's failed and deferred mails again now, those that `among` names. Returns what becomes of how many, in words.

    Raises NotFound, Conflict.
    """
    notice = progress.find(notice_id)
    if notice.cancelled_at is not None:
        raise Conflict(f"Notice {notice_id} was stopped, so nothing of it is tried again.")
    named = {"state": among.state, "domain": among.domain, "search": among.search}
    details = {name: str(value) for name, value in named.items() if value}
    suppressed = people.count_suppressed(notice_id, among)
    count = _do("notice.retried", notice, actor, now, lambda: control.retry(notice_id, now=now, among=among), **details)
    if not count:
        return "Nothing is left to try again."
    when = "now" if notice.paused_at is None else "once the notice is resumed"
    tried = f"{count - suppressed:,} will be tried again {when}." if count > suppressed else ""
    skipped = f"{suppressed:,} will be skipped: no mail goes to a suppressed address." if suppressed else ""
    return f"{tried} {skipped}".strip()


def _unfinished(notice_id: int, act: str) -> Notice:
    notice = progress.find(notice_id)
    if notice.cancelled_at is not None:
        raise Conflict(f"Notice {notice_id} is stopped already.")
    if progress.progress(notice_id).finished:
        raise Conflict(f"Nothing of notice {notice_id} is left to {act}.")
    return notice


def _do(action: str, notice: Notice, actor: Actor | None, now: datetime, act: Callable[[], int], **details: str) -> int:
    count = act()
    if actor is None:
        details["via"] = COMMAND_LINE
    audit.record(action, subject_type="notice", subject_id=notice.id, actor=actor, now=now, deliveries=count, **details)
    return count
