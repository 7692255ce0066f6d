"""One code, many hands: however they arrive, one of them gets in."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import sqlalchemy as sa
from flask import Flask

from portal import clock
from portal.account import factors, factors_throttle, factors_totp
from portal.account.models import Authenticator, User
from portal.config import Settings
from portal.database import db, transaction
from tests.authenticators import code_at
from tests.cast import Cast

HANDS, ROUNDS = 4, 20


def at_once(app: Flask, act: Callable[[], bool]) -> int:
    """How many of HANDS threads that act at one moment, each in a transaction of its own, succeed."""
    start = threading.Barrier(HANDS)

    def one(_: int) -> bool:
        with app.app_context():
            try:
                db.session.execute(sa.select(1))  # a connection is at hand before the start
                start.wait(20)
                with transaction():
                    return act()
            finally:
                db.session.remove()

    with ThreadPoolExecutor(HANDS) as pool:
        return sum(pool.map(one, range(HANDS)))


def prepare(app: Flask, settings: Settings, email: str, now: datetime) -> tuple[int, bytes]:
    secret = factors_totp.make_secret()
    with app.app_context():
        with transaction() as session:
            user_id = session.scalars(sa.select(User.id).where(User.email == email)).one()
            sealed = factors_totp.seal(secret, user_id, settings.secret_key, now=now)
            session.add(Authenticator(user_id=user_id, secret=sealed, last_counter=0, created_at=now))
        db.session.remove()
    return user_id, secret


def test_of_many_uses_of_one_code_one_succeeds_twenty_times_over(app: Flask, settings: Settings, cast: Cast) -> None:
    now = clock.now()
    user_id, secret = prepare(app, settings, cast.alice, now)
    for _ in range(ROUNDS):
        now += timedelta(seconds=30)
        code = code_at(secret, now)

        def use(code: str = code, now: datetime = now) -> bool:
            return factors.take_code(db.session.get_one(User, user_id), code, settings, now=now) is not None

        assert at_once(app, use) == 1


def test_wrong_codes_at_once_are_all_counted(app: Flask, settings: Settings, cast: Cast) -> None:
    now = clock.now()
    user_id, _ = prepare(app, settings, cast.alice, now)

    def guess() -> bool:
        return factors.take_code(db.session.get_one(User, user_id), "000000", settings, now=now) is not None

    assert [at_once(app, guess), at_once(app, guess)] == [0, 0]
    with app.app_context():
        person = db.session.get_one(User, user_id)
        assert person.failed_codes == settings.sign_in_failures  # the two beyond came during the lock
        assert factors_throttle.locked_until(user_id, now=now) == now + timedelta(minutes=settings.sign_in_lock_minutes)
        db.session.remove()
