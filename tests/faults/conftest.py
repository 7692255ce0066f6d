"""A real `portal worker` process, and a release announced to many."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask

from portal import clock
from portal.account.models import User
from portal.config import Settings
from portal.database import db, transaction
from portal.notices import subscriptions
from portal.notices.models import Delivery, DeliveryState, Topic
from portal.products.models import Product
from portal.releases import announcements
from portal.releases.models import Channel, Kind, Release, ReleaseState
from tests.conftest import SECRET, make_settings
from tests.smtp import MailServer


@pytest.fixture(autouse=True)
def today() -> datetime:
    """The processes under test have the real clock, so their tests have it too."""
    return clock.now()


@pytest.fixture
def settings(tmp_path: Path, database_url: str, mail_server: MailServer) -> Settings:
    return make_settings(tmp_path, database_url, smtp_url=mail_server.url)


@pytest.fixture
def environment(settings: Settings, mail_server: MailServer) -> dict[str, str]:
    """What a process needs to work on the same database."""
    return {
        **os.environ,
        "DATA_DIR": str(settings.data_dir),
        "DATABASE_URL": settings.database_url,
        "SECRET_KEY": SECRET,
        "SMTP_URL": mail_server.url,
        "PUBLIC_URL": settings.public_url,
    }


StartWorker = Callable[[], subprocess.Popen[bytes]]


@pytest.fixture
def start_worker(environment: dict[str, str], tmp_path: Path) -> Iterator[StartWorker]:
    """Return a function that starts a real worker. Those that still run at the end are killed."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        log = (tmp_path / f"worker-{len(started)}.log").open("wb")
        started.append(subprocess.Popen([sys.executable, "-m", "portal", "worker"], env=environment, stdout=log, stderr=log))
        log.close()
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.fixture
def announce(app: Flask) -> Callable[[int], list[str]]:
    """Return a function that announces a release to so many people, and gives their addresses."""

    def do(count: int) -> list[str]:
        now = clock.now()
        with app.app_context():
            with transaction() as session:
                product = Product(slug="macro-studio", name="Macro Studio", created_at=now)
                people = [
                    User(email=f"person{n}@example.org", name=f"Person {n}", fs_uniquifier=f"u{n}", created_at=now) for n in range(count)
                ]
                session.add_all([product, *people])
                session.flush()
                for person in people:
                    subscriptions.start(person.id, product.id, [Topic.MINOR], now=now)
                release = Release(
                    product=product, version="15.3.0", version_key="15.3.0", channel=Channel.STABLE, kind=Kind.MINOR,
                    state=ReleaseState.PUBLISHED, notes="* Faster", created_at=now, published_at=now,
                )  # fmt: skip
                session.add(release)
                session.flush()
                announcements.announce(release, actor=None, now=now)
                addresses = [person.email for person in people]
            db.session.remove()
        return addresses

    return do


def states(app: Flask) -> dict[DeliveryState, int]:
    """Count the deliveries by state."""
    with app.app_context():
        rows = db.session.execute(sa.select(Delivery.state, sa.func.count().label("people")).group_by(Delivery.state)).all()
        counts = {row.state: row.people for row in rows}
        db.session.remove()
    return counts
