"""`portal notices bounce`: what mail that came back does to its delivery and to its address."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from email.utils import formataddr
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from flask import Flask
from flask.cli import ScriptInfo

from portal.audit import AuditEvent
from portal.cli import main
from portal.config import Settings
from portal.database import db, transaction
from portal.notices import control, return_path, suppression
from portal.notices.models import Delivery, DeliveryState, SuppressionCause
from tests import returned_mail
from tests.cast import Cast
from tests.conftest import NOW, make_settings
from tests.integration.notices.conftest import Enqueue

Bounce = Callable[..., Result]


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return make_settings(tmp_path, database_url, mail_return_path="bounces@example.org")


@pytest.fixture
def sent(enqueue: Enqueue, cast: Cast) -> int:
    """The id of a delivery to alice that was sent."""
    notice_id = enqueue(cast.alice, cast.bob)
    with transaction() as session:
        for delivery in session.query(Delivery):
            delivery.state, delivery.settled_at, delivery.next_attempt_at, delivery.reply = DeliveryState.SENT, NOW, None, "250 2.0.0 OK"
    return db.session.scalars(sa.select(Delivery.id).where(Delivery.notice_id == notice_id, Delivery.address == cast.alice)).one()


@pytest.fixture
def to(settings: Settings, sent: int) -> str:
    """The return path of alice's mail."""
    return return_path.make(settings, sent)


@pytest.fixture
def bounce(app: Flask) -> Bounce:
    """Return a function that pipes a raw mail into the command."""

    def run(raw: bytes, *arguments: str) -> Result:
        db.session.remove()
        return CliRunner().invoke(main, ["notices", "bounce", *arguments], obj=ScriptInfo(create_app=lambda: app), input=raw)

    return run


def delivery(delivery_id: int) -> Delivery:
    db.session.rollback()
    return db.session.get_one(Delivery, delivery_id, populate_existing=True)


def change(delivery_id: int, **values: object) -> None:
    with transaction() as session:
        session.execute(sa.update(Delivery).where(Delivery.id == delivery_id).values(**values))


@pytest.mark.parametrize("style", [returned_mail.report, returned_mail.exim, returned_mail.qmail, returned_mail.exchange])
def test_a_hard_bounce_in_any_style_suppresses_the_address(
    style: Callable[..., bytes], cast: Cast, sent: int, to: str, bounce: Bounce
) -> None:
    done = bounce(style(to=to))
    assert (done.exit_code, done.output) == (0, f"{cast.alice}: suppressed, came back: no such address\n")
    one = delivery(sent)
    assert (one.state, one.reason, one.address) == (DeliveryState.BOUNCED, "came back: no such address", cast.alice)
    assert one.reply
    found = suppression.find(cast.alice.upper())
    assert found is not None
    assert (found.cause, found.delivery_id, found.reason) == (SuppressionCause.RETURNED, sent, one.reply[:200])
    assert suppression.find(cast.bob) is None
    event = db.session.scalars(sa.select(AuditEvent).where(AuditEvent.action == "address.suppressed")).one()
    assert (event.actor, event.details["address"], event.details["cause"]) == ("system", cast.alice, "returned")


def test_the_same_bounce_twice_is_harmless_even_after_the_address_was_let_go(cast: Cast, sent: int, to: str, bounce: Bounce) -> None:
    raw = returned_mail.report(to=to)
    bounce(raw)
    with transaction():
        assert suppression.lift(cast.alice, now=NOW)
    again = bounce(raw)
    assert (again.exit_code, again.output) == (0, f"{cast.alice}: ignored, its delivery is bounced already\n")
    assert suppression.find(cast.alice) is None
    assert delivery(sent).state is DeliveryState.BOUNCED


@pytest.mark.parametrize(
    ("status", "diagnostic", "reason"),
    [
        ("5.2.2", "smtp; 552 5.2.2 Mailbox full", "came back: mailbox full"),
        ("5.2.2", "X-Exim; over quota", "came back: mailbox full"),
        ("5.7.1", "smtp; 550 5.7.1 looks like spam", "came back: refused by a mail server"),
        ("4.4.7", "smtp; 421 4.4.2 timed out", "came back: given up by a mail server"),
    ],
)
def test_a_bounce_that_says_nothing_lasting_is_noted_and_suppresses_nobody(
    status: str, diagnostic: str, reason: str, cast: Cast, sent: int, to: str, bounce: Bounce
) -> None:
    done = bounce(returned_mail.report(to=to, status=status, diagnostic=diagnostic), "--json")
    assert done.exit_code == 0
    shown = json.loads(done.output)
    assert (shown["became"], shown["why"], shown["status"], shown["delivery_id"]) == ("bounced", reason, status, sent)
    one = delivery(sent)
    assert (one.state, one.reason) == (DeliveryState.BOUNCED, reason)
    assert suppression.find(cast.alice) is None


def test_a_full_mailbox_can_be_tried_again_by_staff(sent: int, to: str, bounce: Bounce) -> None:
    bounce(returned_mail.report(to=to, status="5.2.2", diagnostic="X-Exim; over quota"))
    with transaction():
        assert control.retry(delivery(sent).notice_id, now=NOW) == 1


def test_a_delay_leaves_the_state_and_keeps_the_words(cast: Cast, sent: int, to: str, bounce: Bounce) -> None:
    done = bounce(returned_mail.report(to=to, action="delayed", status="4.4.1", diagnostic="X-Postfix; connection timed out"))
    assert (done.exit_code, done.output) == (0, f"{cast.alice}: noted, delayed by a mail server\n")
    one = delivery(sent)
    assert (one.state, one.reason, one.reply) == (
        DeliveryState.SENT,
        "delayed by a mail server",
        "Status: 4.4.1 connection timed out",
    )
    bounce(returned_mail.report(to=to))
    assert delivery(sent).state is DeliveryState.BOUNCED


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (returned_mail.out_of_office(), "it is no bounce: automatic reply"),
        (returned_mail.report(action="delivered", status="2.0.0", diagnostic=None), "it is no bounce: delivered"),
        (b"From: somebody@example.org\n\nThank you.", "it is no bounce"),
        (b"\xff\xfe\x00garbage\x00", "it is no bounce"),
        (b"", "it is no bounce"),
    ],
)
def test_anything_else_is_ignored_with_a_friendly_word(raw: bytes, why: str, cast: Cast, sent: int, to: str, bounce: Bounce) -> None:
    done = bounce(raw, "--recipient", to)
    assert (done.exit_code, done.output) == (0, f"{cast.alice}: ignored, {why}\n")
    assert delivery(sent).state is DeliveryState.SENT
    assert delivery(sent).reply == "250 2.0.0 OK"


def test_the_recipient_is_found_in_any_case_by_option_or_header(cast: Cast, sent: int, to: str, bounce: Bounce) -> None:
    raw = returned_mail.report(to="nobody@example.org")
    assert bounce(raw).exit_code == 1
    assert "suppressed" in bounce(raw, "--recipient", to.upper()).output
    change(sent, state=DeliveryState.SENT)
    shown = f"To: {formataddr(('Bounces, and more', to))}\n".encode()
    assert "bounced already" not in bounce(shown + raw.replace(b"To: nobody@example.org\r\n", b"")).output


@pytest.mark.parametrize(
    "address",
    ["", "bounces@example.org", "bounces+1.aaaaaaaaaaaaaaaa@example.org", "bounces+999999999999999999999.a@example.org", "@", "x" * 9000],
)
def test_what_came_to_no_return_path_of_ours_is_refused(address: str, cast: Cast, sent: int, bounce: Bounce) -> None:
    done = bounce(returned_mail.report(to="bounces+1.abcdefghijklmnop@example.org"), "--recipient", address)
    assert done.exit_code == 1
    assert done.stderr == "Error: The mail came to no return path that this portal signed, so it is not believed.\n"
    assert delivery(sent).state is DeliveryState.SENT
    assert suppression.find(cast.alice) is None


def test_only_the_address_we_wrote_to_is_suppressed_never_one_in_the_text(cast: Cast, sent: int, to: str, bounce: Bounce) -> None:
    done = bounce(returned_mail.report(to=to, address=cast.carol, text=f"<{cast.bob}>: user unknown"))
    assert (done.exit_code, done.output) == (0, f"{cast.alice}: bounced, came back from where it was forwarded to\n")
    assert suppression.page().rows == []


@pytest.mark.parametrize("state", [DeliveryState.QUEUED, DeliveryState.SENDING, DeliveryState.DEFERRED])
def test_a_bounce_faster_than_our_own_books_is_to_be_tried_again(state: DeliveryState, sent: int, to: str, bounce: Bounce) -> None:
    change(sent, state=state)
    done = bounce(returned_mail.report(to=to))
    assert (done.exit_code, done.stderr) == (75, "Try again later: its delivery is not settled yet\n")
    change(sent, state=DeliveryState.SENT)
    assert "suppressed" in bounce(returned_mail.report(to=to)).output


@pytest.mark.parametrize("state", [DeliveryState.FAILED, DeliveryState.SKIPPED])
def test_a_delivery_that_was_not_sent_stays_as_it_is(state: DeliveryState, sent: int, to: str, bounce: Bounce) -> None:
    change(sent, state=state)
    assert f"ignored, its delivery is {state.value} already" in bounce(returned_mail.report(to=to)).output
    assert delivery(sent).state is state


def test_a_bounce_out_of_an_archive_is_not_believed(cast: Cast, sent: int, to: str, bounce: Bounce) -> None:
    change(sent, settled_at=NOW - timedelta(days=31))
    assert "ignored, the mail was sent more than 30 days ago" in bounce(returned_mail.report(to=to)).output
    assert suppression.find(cast.alice) is None


def test_a_bounce_of_mail_to_an_address_that_was_forgotten_brings_nothing_of_it_back(
    cast: Cast, sent: int, to: str, bounce: Bounce
) -> None:
    change(sent, address="", name="", domain="", reply=None)
    assert "ignored, to whom it went was forgotten" in bounce(returned_mail.exim(to=to, said="550 5.1.1 no such user")).output
    assert (delivery(sent).state, delivery(sent).reply) == (DeliveryState.SENT, None)
    assert suppression.suppressed([cast.alice, ""]) == {}


def test_a_delivery_that_is_gone_is_no_error(settings: Settings, sent: int, bounce: Bounce) -> None:
    for unknown in (4711, 2**63 - 1):
        done = bounce(returned_mail.report(to=return_path.make(settings, unknown)))
        assert (done.exit_code, done.output) == (0, f"delivery {unknown}: ignored, there is no such delivery any more\n")


def test_without_the_setting_everything_is_refused(app: Flask, sent: int, to: str, bounce: Bounce, settings: Settings) -> None:
    app.extensions["portal.settings"] = replace(settings, mail_return_path="")
    done = bounce(returned_mail.report(to=to))
    assert done.exit_code == 1
    assert "MAIL_RETURN_PATH is not set" in done.stderr


def test_a_database_or_settings_out_of_order_let_the_mail_server_try_again(to: str, settings: Settings) -> None:
    def broken() -> Flask:
        raise RuntimeError("SECRET_KEY must have at least 32 characters.")

    runner, raw = CliRunner(), returned_mail.report(to=to)
    done = runner.invoke(main, ["notices", "bounce"], obj=ScriptInfo(create_app=broken), input=raw)
    assert (done.exit_code, done.stderr) == (75, "Try again later: RuntimeError: SECRET_KEY must have at least 32 characters.\n")
    db.session.remove()
    with transaction() as session:
        session.execute(sa.text("ALTER TABLE deliveries RENAME TO away"))
    db.session.remove()
    environment = _environment(settings)
    answer = subprocess.run([sys.executable, "-m", "portal", "notices", "bounce"], input=raw, env=environment, capture_output=True)
    assert answer.returncode == 75
    assert b"Try again later: " in answer.stderr
    assert b"Traceback" not in answer.stderr


def test_the_command_is_what_a_mail_server_pipes_into(cast: Cast, sent: int, to: str, settings: Settings) -> None:
    db.session.remove()
    raw = returned_mail.report(to=to).replace(b"A new point release.", b"A new point release." + b"x" * 12_000_000)
    command = [sys.executable, "-m", "portal", "notices", "bounce", "--recipient", to.upper()]
    answer = subprocess.run(command, input=raw, env=_environment(settings), capture_output=True)
    assert (answer.returncode, answer.stderr) == (0, b"")
    assert answer.stdout.decode() == f"{cast.alice}: suppressed, came back: no such address\n"
    assert delivery(sent).state is DeliveryState.BOUNCED


def test_help_tells_the_exit_codes(app_context: None, bounce: Bounce) -> None:
    shown = bounce(b"", "--help")
    assert shown.exit_code == 0
    assert "EX_TEMPFAIL" in shown.output


def _environment(settings: Settings) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}},
        "DATA_DIR": str(settings.data_dir),
        "DATABASE_URL": settings.database,
        "SECRET_KEY": settings.secret_key,
        "MAIL_RETURN_PATH": settings.mail_return_path,
    }


@pytest.fixture(autouse=True)
def no_leftover_connections(app: Flask) -> Iterator[None]:
    yield
    with app.app_context():
        db.session.remove()
