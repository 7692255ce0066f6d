"""Betas that run out: who is warned, when, how often, and the minute from which nothing is given."""

import threading
from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from portal.account import contracts
from portal.beta import access, expiry
from portal.config import current_settings
from portal.database import db, transaction
from portal.notices import rendering
from portal.notices.models import Delivery, Notice
from portal.releases import downloads, publishing
from portal.releases.models import Channel, Release
from portal.web.ranges import Span
from tests.builds import find_contract, find_user, publish_release
from tests.cast import Cast
from tests.conftest import NOW

pytestmark = pytest.mark.usefixtures("app_context")

LAST_DAY = date(2027, 1, 31)


def at(day: date, hour: int = 9) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


def before(days: int) -> datetime:
    """The morning of the day that is so many days before the beta's last one."""
    return at(LAST_DAY - timedelta(days=days))


def publish(version: str = "15.3b2", expires_on: date | None = LAST_DAY, channel: Channel = Channel.BETA) -> int:
    return publish_release(version, channel, NOW, expires_on=expires_on, files={"studio.msi": version.encode()})


def take(release_id: int, *people: str) -> None:
    with transaction() as session:
        for address in people:
            downloads.record(session.get_one(Release, release_id).builds[0].id, find_user(address).id, None, Span(0, 1), NOW)


def warn(now: datetime) -> int:
    with transaction():
        return expiry.warn(now)


def warned() -> list[tuple[str, str]]:
    """(key, address) of all warnings."""
    rows = (
        sa.select(Notice.key, Delivery.address).join(Delivery).where(Notice.kind == "beta_expiring").order_by(Notice.id, Delivery.address)
    )
    return [(key or "", address) for key, address in db.session.execute(rows)]


def test_those_who_took_it_and_still_may_are_warned_fourteen_and_three_days_before(cast: Cast) -> None:
    beta = publish()
    take(beta, cast.alice, cast.alice, cast.dave, cast.erin, cast.paula)
    assert [warn(before(days)) for days in (15, 14, 13, 4, 3, 2, 0, -1)] == [0, 1, 0, 0, 1, 0, 0, 0]
    assert warned() == [(f"release-{beta}-expires-14", cast.alice), (f"release-{beta}-expires-3", cast.alice)]


def test_a_worker_that_was_away_sends_only_the_warning_that_applies_now(cast: Cast) -> None:
    beta = publish()
    take(beta, cast.alice)
    assert [warn(before(days)) for days in (20, 1, 1, 0)] == [0, 1, 0, 0]
    assert warned() == [(f"release-{beta}-expires-3", cast.alice)]


def test_what_was_published_with_fewer_days_to_run_is_not_warned_of_by_that_step(cast: Cast) -> None:
    beta = publish(expires_on=NOW.date() + timedelta(days=14))
    take(beta, cast.alice)
    assert warn(NOW + timedelta(hours=1)) == 0
    assert warn(NOW + timedelta(days=11)) == 1


def test_betas_without_a_last_day_stable_releases_and_withdrawn_ones_are_not_warned_of(cast: Cast) -> None:
    for release_id in (publish("15.3b1", None), publish("15.2", None, Channel.STABLE), publish("15.3b2")):
        take(release_id, cast.alice)
    with transaction():
        publishing.withdraw(release_id, "Bad.", actor=None, now=NOW)
    assert warn(before(14)) == 0


def test_two_workers_warn_once(app: Flask, cast: Cast) -> None:
    take(publish(), cast.alice)
    db.session.remove()
    together = threading.Barrier(4)
    made: list[int] = []

    def work() -> None:
        with app.app_context():
            together.wait()
            made.append(warn(before(14)))
            db.session.remove()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [0, 0, 0, 1]
    assert len(warned()) == 1


def pending() -> tuple[Notice, Delivery]:
    delivery = db.session.scalars(sa.select(Delivery).join(Notice).where(Notice.kind == "beta_expiring")).one()
    return delivery.notice, delivery


def refused_at(now: datetime) -> list[str]:
    notice, delivery = pending()
    return list(expiry.check(notice, [rendering.due_of(delivery)], now).values())


def test_at_the_second_of_sending_it_is_asked_again(cast: Cast) -> None:
    beta = publish()
    take(beta, cast.alice)
    warn(before(14))
    assert refused_at(before(14)) == []
    assert refused_at(before(3)) == [expiry.OVERTAKEN]
    assert refused_at(before(-1)) == [expiry.NOT_RUNNING]
    with transaction():
        contracts.suspend(find_contract(cast.contract), actor=None, now=NOW)
    assert refused_at(before(14)) == [expiry.NOT_ENTITLED]
    with transaction():
        publishing.withdraw(beta, "Bad.", actor=None, now=NOW)
    assert refused_at(before(14)) == [expiry.NOT_RUNNING]


def mail() -> rendering.Preview:
    notice, delivery = pending()
    return rendering.Renderer(notice, current_settings()).texts(rendering.due_of(delivery), NOW)


def test_the_warning_names_the_newest_version_to_move_to(cast: Cast) -> None:
    beta = publish()
    publish("15.3b3", LAST_DAY + timedelta(days=30))
    publish("15.3b4", before(15).date())
    publish("15.2", None, Channel.STABLE)
    take(beta, cast.alice)
    warn(before(14))
    made = mail()
    assert made.subject == "Macro Studio 15.3b2 stops running after 31 January 2027"
    for part in (made.text, made.html):
        assert "http://127.0.0.1:8000/beta/macro-studio/15.3b3/" in part
        assert "15.3b4" not in part
        assert "None" not in part


def test_without_a_newer_version_the_warning_says_so(cast: Cast) -> None:
    beta = publish()
    publish("15.2", None, Channel.STABLE)
    take(beta, cast.alice)
    warn(before(3))
    for part in (mail().text, mail().html):
        assert "no newer version yet" in part
        assert "http://127.0.0.1:8000/beta/macro-studio/15.3b2/" in part


@pytest.mark.parametrize(
    ("zone", "last_minute"),
    [
        ("Europe/Berlin", datetime(2027, 1, 31, 22, 59, tzinfo=UTC)),
        ("Pacific/Honolulu", datetime(2027, 2, 1, 9, 59, tzinfo=UTC)),
        ("Pacific/Kiritimati", datetime(2027, 1, 31, 9, 59, tzinfo=UTC)),
        ("UTC", datetime(2027, 1, 31, 23, 59, tzinfo=UTC)),
    ],
)
def test_the_last_day_ends_at_midnight_where_the_contract_is(cast: Cast, zone: str, last_minute: datetime) -> None:
    beta = db.session.get_one(Release, publish())
    assert not access.has_expired(beta, zone, last_minute)
    assert access.has_expired(beta, zone, last_minute + timedelta(minutes=1))
