"""News of feedback that waits for its hour lies in the database: no dead worker takes it along, and no two send it twice."""

import signal
from datetime import timedelta

import sqlalchemy as sa
from flask import Flask

from portal import clock
from portal.database import db, transaction
from portal.feedback.loop_models import Mailed, Update
from portal.feedback.models import Status
from portal.notices.models import DeliveryState
from tests import raw_mail
from tests.board import answer, write
from tests.cast import Cast
from tests.faults.conftest import StartWorker, states
from tests.smtp import MailServer


def test_what_waits_outlives_killed_workers_and_goes_out_once(
    app: Flask, cast: Cast, start_worker: StartWorker, mail_server: MailServer
) -> None:
    now = clock.now()
    with app.app_context():
        item_id = write(cast.alice, now=now)
        answer(item_id, Status.PLANNED, now=now, response="We will do it.")
        answer(item_id, Status.PLANNED, now=now, version="15.4", response="We have begun.")
        db.session.remove()
    first = start_worker()
    mail_server.wait_for(lambda: states(app) == {DeliveryState.SENT: 1})
    first.send_signal(signal.SIGKILL)
    first.wait()
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Update).where(Update.settled_at.is_(None))) == 2
        with transaction() as session:
            session.execute(sa.update(Mailed).values(at=now - timedelta(hours=1)))
        db.session.remove()
    for worker in (start_worker(), start_worker()):
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    start_worker()
    start_worker()
    mail_server.wait_for(lambda: states(app) == {DeliveryState.SENT: 2})
    mails = [raw_mail.read(message.content) for message in mail_server.accepted]
    assert [mail["Subject"] for mail in mails] == ["Your idea is planned: Pause a macro", "Your idea is planned for 15.4: Pause a macro"]
    assert "We have begun." in mails[1].text
