"""Workers side by side, a polite stop, lost wake-ups, a mail server that is down: every mail arrives all the same."""

import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from portal.app import DELIVER
from portal.extensions import queue
from portal.notices import outbox
from portal.notices.models import DeliveryState
from tests.faults.conftest import StartWorker, states
from tests.smtp import MailServer

PEOPLE = 120

Announce = Callable[[int], list[str]]


def is_ready_to_stop(worker: "subprocess.Popen[bytes]") -> bool:
    """Whether a worker has set its handlers of signals: one may have sent everything while the other was still starting."""
    caught = re.search(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{worker.pid}/status").read_text(), re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) >> (signal.SIGHUP - 1) & 1)


def test_two_workers_at_once_send_each_mail_once(
    app: Flask, announce: Announce, start_worker: StartWorker, mail_server: MailServer
) -> None:
    everybody = announce(PEOPLE)
    workers = [start_worker(), start_worker()]
    mail_server.wait_for(lambda: states(app) == {DeliveryState.SENT: PEOPLE})
    assert Counter(mail_server.recipients()) == Counter(everybody)
    mail_server.wait_for(lambda: all(is_ready_to_stop(worker) for worker in workers))
    for worker in workers:
        worker.send_signal(signal.SIGINT)
    assert [worker.wait(timeout=30) for worker in workers] == [0, 0]


def test_a_polite_stop_finishes_the_mail_in_hand(
    app: Flask, announce: Announce, start_worker: StartWorker, mail_server: MailServer
) -> None:
    mail_server.seconds_per_mail = 0.3
    announce(20)
    worker = start_worker()
    mail_server.wait_for(lambda: len(mail_server.accepted) >= 2)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=30) == 0
    assert states(app)[DeliveryState.SENT] == len(mail_server.accepted)
    assert set(states(app)) == {DeliveryState.SENT, DeliveryState.QUEUED}


def test_a_wake_up_of_another_process_reaches_the_worker(app: Flask, start_worker: StartWorker, mail_server: MailServer) -> None:
    queue.wake(DELIVER)
    queue.wake(DELIVER)
    assert queue.pending() == 2
    start_worker()
    mail_server.wait_for(lambda: queue.pending() == 0)
    queue.wake(DELIVER)
    mail_server.wait_for(lambda: queue.pending() == 0)


@pytest.mark.parametrize("rescuer", ["a running worker", "drain"])
def test_a_lost_wake_up_is_made_up_for(
    app: Flask, announce: Announce, start_worker: StartWorker, environment: dict[str, str], mail_server: MailServer, rescuer: str
) -> None:
    outbox.on_enqueue(lambda: None)
    if rescuer == "a running worker":
        start_worker()
        with app.test_client() as client:
            mail_server.wait_for(lambda: bool(client.get("/readyz").json["checks"]["worker"]["ok"]))  # type: ignore[index]
    everybody = announce(5)
    if rescuer == "drain":
        command = [sys.executable, "-m", "portal", "notices", "drain"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "5 sent\n")
    mail_server.wait_for(lambda: states(app) == {DeliveryState.SENT: 5})
    assert sorted(mail_server.recipients()) == sorted(everybody)


def test_a_queue_that_was_emptied_costs_no_mail(app: Flask, announce: Announce, start_worker: StartWorker, mail_server: MailServer) -> None:
    everybody = announce(5)
    queue.huey.flush()
    assert queue.pending() == 0
    start_worker()
    mail_server.wait_for(lambda: states(app) == {DeliveryState.SENT: 5})
    assert sorted(mail_server.recipients()) == sorted(everybody)


def test_a_worker_waits_for_a_mail_server_that_is_down(
    app: Flask, announce: Announce, start_worker: StartWorker, mail_server: MailServer
) -> None:
    mail_server.stop()
    everybody = announce(5)
    worker = start_worker()
    mail_server.wait_for(lambda: states(app) == {DeliveryState.DEFERRED: 5})
    assert worker.poll() is None
    mail_server.start()
    mail_server.wait_for(lambda: states(app) == {DeliveryState.SENT: 5}, seconds=90)
    assert sorted(mail_server.recipients()) == sorted(everybody)
