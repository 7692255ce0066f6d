"""kill -9 at random times: nothing is lost, and what is repeated can be told by its Message-ID."""

import http.client
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from http.cookies import SimpleCookie
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from flask import Flask

from portal import clock
from portal.config import Settings
from portal.database import db, transaction
from portal.notices.models import Delivery, DeliveryState, Lease, Notice
from portal.releases.models import Release, ReleaseState
from tests.cast import PASSWORD, Cast
from tests.conftest import csrf_token
from tests.faults.conftest import StartWorker, states
from tests.integration.releases.helpers import make_draft
from tests.smtp import MailServer

PEOPLE = 300
KILLS = 20
# As many mails may be in the air as a worker has connections.
IN_THE_AIR = Settings.smtp_connections

Announce = Callable[[int], list[str]]


def let_leases_run_out(app: Flask) -> None:
    """What the dead held becomes due again in a minute; the tests do not wait for it."""
    with app.app_context():
        with transaction() as session:
            session.execute(sa.update(Lease).values(expires_at=clock.now() - timedelta(seconds=1)))
        db.session.remove()


def test_a_worker_killed_at_random_times_loses_nothing_and_repeats_little(
    app: Flask, announce: Announce, start_worker: StartWorker, mail_server: MailServer
) -> None:
    mail_server.seconds_per_mail = 0.05
    everybody = announce(PEOPLE)
    dice = random.Random(20)
    for _ in range(KILLS):
        before = len(mail_server.accepted)
        worker = start_worker()
        mail_server.wait_for(lambda before=before: len(mail_server.accepted) > before or finished(app))  # type: ignore[misc]
        time.sleep(dice.uniform(0, 0.15))
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        let_leases_run_out(app)
    assert not finished(app), "the workers were too quick to be killed"

    mail_server.seconds_per_mail = 0
    start_worker()
    mail_server.wait_for(lambda: finished(app), seconds=120)
    accepted = Counter(mail_server.recipients())
    assert set(accepted) == set(everybody)
    assert sum(accepted.values()) - PEOPLE <= KILLS * IN_THE_AIR
    identifiers = defaultdict(set)
    for mail in mail_server.accepted:
        identifiers[mail.recipients[0]].add(mail.message["Message-ID"])
    assert {len(found) for found in identifiers.values()} == {1}
    assert states(app) == {DeliveryState.SENT: len(accepted)}


def finished(app: Flask) -> bool:
    return states(app) == {DeliveryState.SENT: PEOPLE}


class Browser:
    """Just enough of one to sign in and press a button."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookies: SimpleCookie = SimpleCookie()

    def ask(self, method: str, path: str, **form: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Cookie": "; ".join(f"{name}={one.value}" for name, one in self.cookies.items())}
        if form:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request(method, path, urlencode(form) if form else None, headers)
        answer = connection.getresponse()
        for line in answer.headers.get_all("Set-Cookie") or []:
            self.cookies.load(line)
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def sign_in(self, email: str) -> None:
        _, page = self.ask("GET", "/sign-in")
        status, _ = self.ask("POST", "/sign-in", email=email, password=PASSWORD, csrf_token=csrf_token(page))
        assert status == 302


@pytest.fixture
def start_web(environment: dict[str, str]) -> Callable[[], tuple[subprocess.Popen[bytes], int]]:
    """Return a function that starts `portal serve`, waits until it answers, and gives it with its port."""

    def start() -> tuple[subprocess.Popen[bytes], int]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-m", "portal", "serve"],
            env={**environment, "WEB_PORT": str(port), "WEB_THREADS": "16"},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + 30
        while True:
            with suppress(OSError):
                if Browser(port).ask("GET", "/healthz")[0] == 200:
                    return process, port
            assert time.monotonic() < deadline
            time.sleep(0.1)

    return start


def kill_all(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("patience", [None, 0.002, 0.02])
def test_a_web_process_killed_as_it_publishes_leaves_all_or_nothing(
    app: Flask,
    cast: Cast,
    start_web: Callable[[], tuple[subprocess.Popen[bytes], int]],
    start_worker: StartWorker,
    mail_server: MailServer,
    patience: float | None,
) -> None:
    """Killed when it has just said "published", or (with `patience`, in seconds) somewhere before."""
    version = "99.1b1"
    with app.app_context():
        make_draft(cast.product, version)
        db.session.remove()
    process, port = start_web()
    try:
        browser = Browser(port)
        browser.sign_in(cast.paula)
        _, page = browser.ask("GET", f"/staff/releases/{cast.product}/{version}/")
        form = page.partition(f'{version}/publish"')[2].partition("</form>")[0]
        fields = dict(re.findall(r'name="(\w+)"[^>]*value="([^"]*)"', form))
        assert set(fields) == {"csrf_token", "revision"}
        if patience is None:
            status, _ = browser.ask("POST", f"/staff/releases/{cast.product}/{version}/publish", **fields)
            assert status in {302, 303}
        else:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            cookie = "; ".join(f"{name}={one.value}" for name, one in browser.cookies.items())
            headers = {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"}
            connection.request("POST", f"/staff/releases/{cast.product}/{version}/publish", urlencode(fields), headers)
            time.sleep(patience)
    finally:
        kill_all(process)
    with app.app_context():
        release = db.session.scalars(sa.select(Release).where(Release.version == version)).one()
        published = release.state is ReleaseState.PUBLISHED
        notices = db.session.scalar(sa.select(sa.func.count()).select_from(Notice).where(Notice.key == f"release-{release.id}-published"))
        deliveries = sorted(db.session.scalars(sa.select(Delivery.address).join(Notice).where(Notice.kind == "release")))
        db.session.remove()
    assert published or patience is not None
    assert notices == int(published)
    assert deliveries == (sorted([cast.alice, cast.bob, cast.carol]) if published else [])
    start_worker()
    mail_server.wait_for(lambda: set(states(app)) <= {DeliveryState.SENT})
    assert sorted(mail.recipients[0] for mail in mail_server.accepted if version in mail.message["Subject"]) == deliveries
