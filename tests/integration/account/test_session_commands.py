"""`portal person sign-out` and `unlock`, run as another process would run them."""

from pathlib import Path

import sqlalchemy as sa
from click.testing import CliRunner, Result
from flask import Flask

from portal import clock
from portal.account import people, sessions
from portal.account.models import User, UserSession
from portal.audit import AuditEvent
from portal.cli import main
from portal.database import db, transaction
from tests.cast import Cast
from tests.conftest import SECRET


def begin_sessions(app: Flask, *emails: str) -> None:
    with app.app_context(), transaction():
        for email in emails:
            person = people.find_person(email)
            assert person is not None
            sessions.begin(person, device="", now=clock.now())


def running(app: Flask) -> list[str]:
    with app.app_context():
        found = sa.select(User.email).join(UserSession, UserSession.user_id == User.id).where(UserSession.ended_at.is_(None))
        emails = sorted(db.session.scalars(found))
        db.session.remove()
    return emails


def test_people_are_signed_out_one_or_all_and_opened_again(app: Flask, cast: Cast, tmp_path: Path, database_url: str) -> None:
    environment = {"DATA_DIR": str(tmp_path), "DATABASE_URL": database_url, "SECRET_KEY": SECRET, "WEB_THREADS": "4"}

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["person", *arguments], env=environment)

    begin_sessions(app, cast.alice, cast.alice, cast.bob, cast.ada)
    ended = run("sign-out", cast.alice.upper())
    assert (ended.exit_code, ended.output) == (0, "2 sessions ended.\n")
    assert running(app) == sorted([cast.bob, cast.ada])
    assert run("sign-out", "--everybody").output == "2 sessions ended.\n"
    assert running(app) == []
    assert run("sign-out", "nobody@example.org").exit_code == 1
    assert run("sign-out", "no address").exit_code == 1
    assert run("sign-out").exit_code == 2
    assert run("sign-out", cast.alice, "--everybody").exit_code == 2
    with app.app_context():
        with transaction() as session:
            locked = {"failed_sign_ins": 3, "sign_in_locked_until": clock.now(), "failed_codes": 5, "codes_locked_until": clock.now()}
            session.execute(sa.update(User).where(User.email == cast.bob).values(locked))
        db.session.remove()
    assert run("unlock", cast.bob).output == f"{cast.bob} can sign in again.\n"
    with app.app_context():
        bob = people.find_person(cast.bob)
        assert bob is not None
        assert (bob.failed_sign_ins, bob.sign_in_locked_until, bob.failed_codes, bob.codes_locked_until) == (0, None, 0, None)
        actions = set(db.session.scalars(sa.select(AuditEvent.action)))
    assert {"sessions.ended", "sign_in.unlocked"} <= actions
