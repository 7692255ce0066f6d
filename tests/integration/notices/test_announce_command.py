"""`portal notices announce`: an announcement from the command line."""

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from flask import Flask
from flask.cli import ScriptInfo

from portal.cli import main
from portal.database import db
from portal.notices.models import Announcement, Delivery, Topic
from tests.cast import Cast

pytestmark = pytest.mark.usefixtures("cast")

Run = Callable[..., Result]
SAID = "3 people will get this; 1 will not: 1 contract ended.\n"


@pytest.fixture
def announce(app: Flask, tmp_path: Path) -> Run:
    """Return a function that runs the command on this test's app."""
    text = tmp_path / "advice.md"
    text.write_text("Install **15.2.1**.", encoding="utf-8")

    def run(*options: str, product: str = "macro-studio", body: str = str(text), audience: str = "contacts") -> Result:
        arguments = ["notices", "announce", product, "--audience", audience, "--subject", "A hole is closed", "--body", body, *options]
        return CliRunner().invoke(main, arguments, obj=ScriptInfo(create_app=lambda: app), input="From standard input.")

    return run


def mailed(app: Flask) -> list[str]:
    with app.app_context():
        return sorted(db.session.scalars(sa.select(Delivery.address)))


def test_it_says_how_many_get_it_and_why_others_do_not_and_sends(app: Flask, cast: Cast, announce: Run) -> None:
    done = announce()
    assert (done.exit_code, done.output.startswith(SAID)) == (0, True), done.output
    assert "Mails waiting to be sent: 3." in done.output
    assert mailed(app) == [cast.alice, cast.bob, cast.carol]


def test_a_dry_run_counts_and_changes_nothing(app: Flask, announce: Run) -> None:
    done = announce("--dry-run")
    assert (done.exit_code, done.output) == (0, SAID)
    assert mailed(app) == []
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Announcement)) == 0


def test_the_very_same_again_is_refused(app: Flask, announce: Run) -> None:
    announce()
    again = announce()
    assert again.exit_code == 1
    assert "It is not sent again." in again.stderr
    assert len(mailed(app)) == 3


def test_a_topic_is_respected_and_the_text_may_come_from_standard_input(app: Flask, announce: Run) -> None:
    assert announce("--topic", "point", body="-", audience="seats").exit_code == 0
    with app.app_context():
        announcement = db.session.scalars(sa.select(Announcement)).one()
        assert (announcement.topic, announcement.body) == (Topic.POINT, "From standard input.")


@pytest.mark.parametrize(
    ("changed", "code", "said"),
    [
        ({"product": "nope"}, 1, "There is no product nope"),
        ({"audience": "everybody"}, 1, "contacts, seats, customers, downloaders, subscribers"),
        ({"audience": "subscribers"}, 1, "Choose a topic"),
        ({"audience": "downloaders"}, 1, "Nobody would get this"),
        ({"body": "nowhere.md"}, 2, "does not exist"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_the_reason(
    app: Flask, announce: Run, changed: dict[str, str], code: int, said: str
) -> None:  # fmt: skip
    refused = announce(**changed)
    assert refused.exit_code == code
    assert said in refused.stderr
    assert mailed(app) == []


def test_text_that_is_no_utf_8_is_refused(tmp_path: Path, announce: Run) -> None:
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    assert "not UTF-8" in announce(body=str(tmp_path / "latin")).stderr
