"""`portal notices`: draining, looking, trying again."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flask.cli import ScriptInfo

from portal import clock
from portal.cli import main
from portal.notices.models import DeliveryState
from tests.cast import Cast
from tests.integration.notices.conftest import Enqueue, delivery_to
from tests.smtp import MailServer


@pytest.fixture
def portal(app: Flask) -> Any:
    """Return a function that runs a command on this test's app."""

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, obj=ScriptInfo(create_app=lambda: app))

    return run


def test_drain_delivers_all_that_is_due_and_says_how_many(cast: Cast, enqueue: Enqueue, mail_server: MailServer, portal: Any) -> None:
    mail_server.answers[cast.carol] = "550 5.1.1 unknown"
    enqueue(cast.alice, cast.bob, cast.carol, now=clock.now())
    done = portal("notices", "drain")
    assert (done.exit_code, done.output) == (0, "2 sent, 1 bounced\n")
    assert sorted(mail_server.recipients()) == [cast.alice, cast.bob]
    assert portal("notices", "drain").output == "Nothing is due.\n"


def test_drain_refuses_with_the_reason_when_the_mail_server_is_down(
    cast: Cast, enqueue: Enqueue, mail_server: MailServer, portal: Any
) -> None:
    mail_server.stop()
    enqueue(cast.alice, now=clock.now())
    done = portal("notices", "drain")
    assert done.exit_code == 1
    assert "The mail server cannot be used: Connection refused" in done.stderr


def test_status_and_retry(cast: Cast, enqueue: Enqueue, mail_server: MailServer, portal: Any) -> None:
    mail_server.answers[cast.alice] = "451 4.7.1 greylisted"
    notice_id = enqueue(cast.alice, cast.bob, now=clock.now())
    assert portal("notices", "drain").exit_code == 0
    shown = json.loads(portal("notices", "status", "--json").output)
    assert (shown["states"]["sent"], shown["states"]["deferred"], shown["oldest_due_seconds"]) == (1, 1, None)
    assert [(one["id"], one["kind"], one["states"]["sent"]) for one in shown["notices"]] == [(notice_id, "note", 1)]
    assert "Note, News: 1 deferred, 1 sent" in portal("notices", "status").output
    mail_server.answers.clear()
    assert portal("notices", "retry", str(notice_id)).output == "1 will be tried again now.\n"
    portal("notices", "drain")
    assert delivery_to(notice_id, cast.alice).state is DeliveryState.SENT


def test_an_unknown_notice_is_refused(cast: Cast, portal: Any) -> None:
    done = portal("notices", "retry", "4711")
    assert (done.exit_code, done.stderr.strip()) == (1, "Error: There is no notice 4711.")
    assert portal("notices", "retry", "first").exit_code == 2
