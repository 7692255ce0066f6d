"""What the worker forgets by the day: addresses of downloads and deliveries, texts of notices. Counts and states stay."""

import json
from datetime import timedelta

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from flask import Flask
from flask.testing import FlaskClient

from portal import clock, worker
from portal.account import sessions
from portal.account.models import UserSession
from portal.cli import main
from portal.config import Settings
from portal.database import db, transaction
from portal.notices import outbox
from portal.notices.models import Delivery, DeliveryState, Notice
from portal.releases import downloads
from portal.releases.models import Channel, Download
from portal.web.ranges import Span
from tests.builds import find_user, only_build, publish_release
from tests.cast import Cast
from tests.conftest import NOW, SECRET, make_settings
from tests.web.account.pages import try_password

pytestmark = pytest.mark.usefixtures("app_context")
DAY = timedelta(days=1)


def sweep(app: Flask, settings: Settings) -> None:
    app.extensions["portal.settings"] = settings
    for text, job in worker.SWEEPS:
        if text.startswith("forgot"):
            job(clock.now())
    db.session.expire_all()


@pytest.fixture
def mails(cast: Cast) -> dict[int, int]:
    """Two mails to alice for each age in days, one sent and one that still waits; the ids of their notices by age."""
    made: dict[int, int] = {}
    user = find_user(cast.alice).id
    for age in (100, 200, 400):
        at = NOW - age * DAY
        with transaction() as session:
            notice = Notice(kind="password_reset", context={"title": "x"}, created_at=at, compiled={"text": "Dear Alice"})
            session.add(notice)
            session.flush()
            session.add(
                Delivery(
                    notice_id=notice.id,
                    user_id=user,
                    address=cast.alice,
                    domain="logistics.example.org",
                    name="Alice Example",
                    state=DeliveryState.SENT,
                    reply="250 ok",
                    created_at=at,
                    give_up_at=at,
                    settled_at=at,
                    attempts=1,
                )
            )
            made[age] = notice.id
    return made


def test_addresses_of_mail_go_after_their_days_and_the_counts_stay(app: Flask, settings: Settings, mails: dict[int, int]) -> None:
    sweep(app, settings)
    rows = db.session.scalars(sa.select(Delivery).where(Delivery.notice_id.in_(mails.values())).order_by(Delivery.created_at)).all()
    assert (rows[0].address, rows[0].name, rows[0].reply) == ("", "", None)
    assert all(row.address == "alice@logistics.example.org" for row in rows[1:])
    assert {row.state for row in rows} == {DeliveryState.SENT}
    assert {row.domain for row in rows} == {"logistics.example.org"}
    assert rows[0].shown_address == "forgotten address"


def test_what_still_waits_keeps_its_address_and_its_text(app: Flask, settings: Settings, mails: dict[int, int]) -> None:
    with transaction() as session:
        waiting = {"state": DeliveryState.QUEUED, "settled_at": None, "next_attempt_at": NOW}
        session.execute(sa.update(Delivery).where(Delivery.notice_id == mails[400]).values(waiting))
    sweep(app, settings)
    kept = db.session.scalars(sa.select(Delivery).where(Delivery.notice_id == mails[400])).one()
    assert kept.address
    assert kept.notice.compiled is not None


def test_texts_go_after_their_days(app: Flask, settings: Settings, mails: dict[int, int]) -> None:
    sweep(app, settings)
    texts = {age: db.session.get_one(Notice, notice_id).compiled for age, notice_id in mails.items()}
    assert texts == {100: {"text": "Dear Alice"}, 200: None, 400: None}
    assert db.session.get_one(Notice, mails[400]).context == {"title": "x"}


def test_nothing_is_forgotten_where_the_vendor_says_so(app: Flask, settings: Settings, mails: dict[int, int]) -> None:
    sweep(app, make_settings(settings.data_dir, settings.database_url, mail_body_days=0, delivery_address_days=0))
    assert db.session.scalar(sa.select(sa.func.count()).where(Delivery.notice_id.in_(mails.values()), Delivery.address != "")) == 3
    assert all(db.session.get_one(Notice, notice_id).compiled is not None for notice_id in mails.values())


def test_a_download_knows_its_address_for_a_while(app: Flask, settings: Settings, cast: Cast) -> None:
    publish_release("15.2", Channel.STABLE, NOW)
    for age, address in ((40, "192.0.2.1"), (10, "192.0.2.2")):
        with transaction():
            downloads.record(only_build().id, find_user(cast.alice).id, None, Span(0, 1), NOW - age * DAY, address=address)
    sweep(app, settings)
    assert list(db.session.scalars(sa.select(Download.address).order_by(Download.started_at))) == [None, "192.0.2.2"]


@pytest.mark.parametrize(("days", "kept"), [(30, "127.0.0.1"), (0, None)])
def test_an_address_is_not_even_noted_where_none_is_kept(app: Flask, settings: Settings, cast: Cast, days: int, kept: str | None) -> None:
    publish_release("15.2", Channel.STABLE, NOW)
    app.extensions["portal.settings"] = make_settings(settings.data_dir, settings.database_url, download_address_days=days)
    client = signed_in(app, cast.erin)
    assert client.get("/releases/macro-studio/15.2/download/studio.msi").status_code == 200
    assert list(db.session.scalars(sa.select(Download.address))) == [kept]
    environment = {"DATA_DIR": str(settings.data_dir), "DATABASE_URL": settings.database_url, "SECRET_KEY": SECRET}
    listed = CliRunner().invoke(main, ["release", "downloads", "macro-studio", "15.2", "--json"], env=environment)
    [taken] = json.loads(listed.output)
    assert (taken["file"], taken["person"], taken["contract"], taken["address"]) == ("studio.msi", cast.erin, None, kept)


def signed_in(app: Flask, email: str) -> FlaskClient:
    client = app.test_client()
    assert try_password(client, email, "correct horse battery staple").status_code == 302
    return client


def test_forgetting_goes_on_batch_by_batch(app: Flask, settings: Settings, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.notices.retention.BATCH", 3)
    people = sa.select(sa.literal(find_user(cast.alice).id), sa.literal(cast.alice), sa.literal("Alice"))
    with transaction():
        for number in range(8):
            outbox.enqueue("password_reset", people, context={"n": number}, now=NOW - 400 * DAY)
    with transaction() as session:
        session.execute(sa.update(Delivery).values(state=DeliveryState.SENT, next_attempt_at=None))
    sweep(app, settings)
    assert db.session.scalar(sa.select(sa.func.count()).where(Delivery.address != "")) == 0


def test_sessions_of_a_year_ago_are_forgotten_and_running_ones_stay(app: Flask, settings: Settings, cast: Cast) -> None:
    alice = find_user(cast.alice)
    with transaction():
        sessions.begin(alice, device="old", now=NOW - 366 * DAY)
        sessions.begin(alice, device="new", now=NOW - 10 * DAY)
    sweep(app, settings)
    assert list(db.session.scalars(sa.select(UserSession.device))) == ["new"]
