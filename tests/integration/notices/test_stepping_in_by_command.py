"""`portal notices status|retry|pause|resume|cancel` of one notice, and following it to its end."""

import json
import os
import pty
import re
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from flask import Flask
from flask.cli import ScriptInfo

from portal import heartbeat
from portal.audit import AuditEvent
from portal.cli import main
from portal.config import Settings
from portal.database import db, transaction
from portal.notices import control
from portal.notices.models import Delivery, DeliveryState, DomainPause
from tests.cast import Cast
from tests.conftest import NOW
from tests.integration.notices.conftest import Enqueue, delivery_to, notice

FIVE_MINUTES = timedelta(minutes=5)


@pytest.fixture
def portal(app: Flask) -> Any:
    """Return a function that runs `portal notices …` on this test's app."""

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["notices", *arguments], obj=ScriptInfo(create_app=lambda: app))

    return run


def settle(notice_id: int, address: str, state: DeliveryState, **values: object) -> None:
    with transaction():
        left = {"next_attempt_at": None, "settled_at": NOW, "attempts": 1, **values}
        met = Delivery.notice_id == notice_id, Delivery.address == address
        db.session.execute(sa.update(Delivery).where(*met).values(state=state, **left))


def test_status_of_one_notice_tells_what_went_wrong_where(cast: Cast, enqueue: Enqueue, portal: Any) -> None:
    notice_id = enqueue(cast.alice, cast.bob, cast.carol, cast.erin)
    settle(notice_id, cast.alice, DeliveryState.SENT)
    settle(notice_id, cast.bob, DeliveryState.SKIPPED, reason="switched off")
    settle(notice_id, cast.carol, DeliveryState.DEFERRED, reply="451 4.7.1 greylisted", next_attempt_at=NOW + FIVE_MINUTES, settled_at=None)
    with transaction() as session:
        session.add(DomainPause(domain="foods.example.org", until=NOW + FIVE_MINUTES, reply="421 4.7.0 slow down"))
        heartbeat.beat(heartbeat.WORKER, now=NOW)
    shown = portal("status", str(notice_id))
    assert shown.exit_code == 0
    assert shown.output.splitlines() == [
        "Note, News, created 2026-11-24 09:00 UTC: sending",
        "Of 4: 1 sent, 1 queued, 1 deferred, 1 skipped",
        "Skipped: 1 switched off",
        f"`portal notices retry {notice_id}` tries 1 again.",
        "  foods.example.org: 1 deferred of 1, paused until 2026-11-24 09:05 UTC: 421 4.7.0 slow down",
    ]
    document = json.loads(portal("status", str(notice_id), "--json").output)
    assert (document["id"], document["stage"], document["total"], document["retryable"]) == (notice_id, "sending", 4, 1)
    assert document["states"] == {
        "queued": 1, "sending": 0, "deferred": 1, "sent": 1, "bounced": 0, "failed": 0, "skipped": 1,
    }  # fmt: skip
    assert document["skipped"] == {"switched off": 1}
    assert document["next_attempt_at"] == (NOW + FIVE_MINUTES).isoformat()
    assert [line["domain"] for line in document["domains"]] == ["foods.example.org", "logistics.example.org", "press.example.org"]
    assert document["domains"][0]["paused_until"] == (NOW + FIVE_MINUTES).isoformat()


def test_pausing_resuming_and_cancelling_leave_their_trace(cast: Cast, enqueue: Enqueue, portal: Any) -> None:
    notice_id = enqueue(cast.alice, cast.bob)
    number = str(notice_id)
    for command, said in (
        ("pause", f"Notice {number} is paused. Mails that wait: 2."),
        ("resume", f"Notice {number} goes on. Mails that are due: 2."),
        ("cancel", f"Notice {number} is stopped. Mails that will not be sent: 2."),
    ):
        done = portal(command, number)
        assert (done.exit_code, done.output) == (0, said + "\n")
    assert delivery_to(notice_id, cast.alice).state is DeliveryState.SKIPPED
    events = db.session.scalars(sa.select(AuditEvent).where(AuditEvent.subject_type == "notice").order_by(AuditEvent.id)).all()
    assert [event.action for event in events] == ["notice.paused", "notice.resumed", "notice.stopped"]
    assert {(event.actor_id, event.details["via"]) for event in events} == {(None, "command line")}
    for command in ("pause", "resume", "cancel", "retry"):
        refused = portal(command, number)
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert "stopped" in refused.stderr


@pytest.mark.parametrize("command", ["status", "retry", "pause", "resume", "cancel"])
def test_an_unknown_notice_is_refused_and_nonsense_is_wrong_usage(cast: Cast, portal: Any, command: str) -> None:
    done = portal(command, "4711")
    assert (done.exit_code, done.stderr.strip()) == (1, "Error: There is no notice 4711.")
    assert portal(command, "first").exit_code == 2


def test_a_retry_can_be_narrowed(cast: Cast, enqueue: Enqueue, portal: Any) -> None:
    notice_id = enqueue(cast.alice, cast.carol, cast.erin)
    settle(notice_id, cast.alice, DeliveryState.FAILED)
    settle(notice_id, cast.carol, DeliveryState.BOUNCED, reply="550 5.7.1 blocked")
    settle(notice_id, cast.erin, DeliveryState.FAILED)
    number = str(notice_id)
    assert portal("retry", number, "--domain", "foods.example.org").output == "Nothing is left to try again.\n"
    assert portal("retry", number, "--domain", "Press.example.org").output == "1 will be tried again now.\n"
    assert portal("retry", number, "--state", "bounced").output == "1 will be tried again now.\n"
    assert portal("retry", number, "--state", "sent").exit_code == 2
    with transaction():
        control.pause(notice_id, now=NOW)
    assert portal("retry", number).output == "1 will be tried again once the notice is resumed.\n"


# Following ---------------------------------------------------------------------------------------------------------------------


def test_following_ends_when_all_is_settled(cast: Cast, enqueue: Enqueue, portal: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    notice_id = enqueue(cast.alice, cast.bob)
    left = [cast.alice, cast.bob]

    def meanwhile(seconds: float) -> None:
        settle(notice_id, left.pop(0), DeliveryState.SENT)

    monkeypatch.setattr("portal.notices.cli.time.sleep", meanwhile)
    done = portal("status", str(notice_id), "--follow", "--json")
    assert (done.exit_code, done.stderr, left) == (0, "", [])
    assert json.loads(done.stdout)["stage"] == "done"


def test_following_does_not_wait_for_a_notice_that_is_paused(cast: Cast, enqueue: Enqueue, portal: Any) -> None:
    notice_id = enqueue(cast.alice)
    with transaction():
        control.pause(notice_id, now=NOW, reason="The template is missing.")
    done = portal("status", str(notice_id), "--follow")
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"Notice {notice_id} is paused. The template is missing. `portal notices resume {notice_id}` lets it go on." in done.stderr


def test_only_a_named_notice_can_be_followed(cast: Cast, portal: Any) -> None:
    done = portal("status", "--follow")
    assert (done.exit_code, "Name the notice to follow." in done.stderr) == (2, True)


def test_a_terminal_shows_a_bar_that_fills(cast: Cast, enqueue: Enqueue, settings: Settings) -> None:
    """The command as a process of its own, with a terminal for its stderr."""
    notice_id = enqueue(cast.alice, cast.bob, cast.carol)
    settle(notice_id, cast.alice, DeliveryState.SENT)
    settle(notice_id, cast.bob, DeliveryState.DEFERRED, next_attempt_at=NOW + FIVE_MINUTES, settled_at=None)
    environment = {
        "PATH": os.environ["PATH"], "TERM": "xterm", "COLUMNS": "100", "DATA_DIR": str(settings.data_dir),
        "DATABASE_URL": settings.database, "SECRET_KEY": settings.secret_key,
    }  # fmt: skip
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "portal", "notices", "status", str(notice_id), "--follow"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=theirs, text=True)
    os.close(theirs)
    drawn = read_until(ours, "1/3")
    for address in (cast.bob, cast.carol):
        settle(notice_id, address, DeliveryState.SENT)
    drawn += read_until(ours, "3/3")
    output, _ = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == 0
    assert re.search(rf"Notice {notice_id}\s+\[#+-+\]\s+1/3\s+1 deferred", drawn)
    assert "Of 3: 3 sent" in output
    assert notice(notice_id).cancelled_at is None


def read_until(descriptor: int, wanted: str) -> str:
    """Read from a terminal until it shows `wanted`. Raises AssertionError if it ends before that."""
    seen = ""
    while wanted not in seen:
        try:
            got = os.read(descriptor, 4096)
        except OSError:  # the other end is closed
            got = b""
        assert got, f"the terminal shows no {wanted}: {seen!r}"
        seen += got.decode()
    return seen
