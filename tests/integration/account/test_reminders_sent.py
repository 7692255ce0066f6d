"""Reminders on their whole way: made by the worker's sweep, checked at the second of sending, taken by a real mail server."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask

from portal import clock, worker
from portal.account import contacts, contracts, reminders
from portal.config import Settings
from portal.database import db, transaction
from portal.notices.delivery import deliver_due
from portal.notices.models import Delivery, DeliveryState
from tests.builds import find_contract
from tests.cast import Cast
from tests.conftest import make_settings
from tests.smtp import MailServer

# Thirty days before the contract of alice and bob ends; carol's has 60 left, frank's 80.
THIRTY_LEFT = datetime(2027, 8, 25, 9, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path, database_url: str, mail_server: MailServer) -> Settings:
    return make_settings(tmp_path, database_url, smtp_url=mail_server.url, smtp_timeout=5)


def skipped() -> dict[str, str | None]:
    rows = db.session.execute(sa.select(Delivery.address, Delivery.reason).where(Delivery.state == DeliveryState.SKIPPED))
    return dict(rows.all())


def test_the_sweep_makes_them_even_if_another_of_its_jobs_fails(
    app: Flask, cast: Cast, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(now: datetime) -> int:
        raise OSError("no storage")

    monkeypatch.setattr(worker, "SWEEPS", (("never said: %s", fail), *worker.SWEEPS))
    with time_machine.travel(THIRTY_LEFT):
        worker._sweep(app)
        worker._sweep(app)
        with app.app_context():
            deliver_due(now=clock.now)
            db.session.remove()
    assert sorted(mail_server.recipients()) == [cast.alice, cast.anton, cast.anton, cast.anton, cast.bob, cast.carol, cast.frank]
    texts = " ".join(mail.content.decode() for mail in mail_server.to(cast.anton))
    for subject in ("NW-2041, Example Logistics, ends", "NW-2042, Example Foods, ends", "NW-3001, Example Clinic, ends"):
        assert f"Subject: Contract {subject}" in texts


@pytest.mark.usefixtures("app_context")
def test_what_waited_while_the_contract_was_renewed_or_the_seat_released_is_never_sent(cast: Cast, mail_server: MailServer) -> None:
    with transaction():
        reminders.send_due(THIRTY_LEFT)
    later = THIRTY_LEFT + timedelta(hours=1)
    with transaction():
        contracts.renew(find_contract(cast.contract), actor=None, now=later)
        carol = contacts.live_contacts(find_contract(cast.other_contract).id)[0]
        contacts.release_contact(carol, actor=None, now=later)
    deliver_due(now=lambda: later)
    assert skipped() == {
        cast.alice: reminders.RENEWED,
        cast.bob: reminders.RENEWED,
        cast.anton: reminders.RENEWED,
        cast.carol: reminders.NO_CONTACT,
    }
    # The staff of the two others and of the seat, frank of his, and carol that her seat is released.
    assert sorted(mail_server.recipients()) == [cast.anton, cast.anton, cast.anton, cast.carol, cast.frank]


@pytest.mark.usefixtures("app_context")
def test_what_a_long_outage_held_back_gives_way_to_the_later_step(cast: Cast, mail_server: MailServer) -> None:
    with transaction():
        reminders.send_due(THIRTY_LEFT)
    week_left = THIRTY_LEFT + timedelta(days=23)
    with transaction():
        reminders.send_due(week_left)
    deliver_due(now=lambda: week_left)
    assert len(mail_server.to(cast.alice)) == 1
    assert skipped()[cast.alice] == reminders.OVERTAKEN
