"""Stored bytes are read again: damage is found, marked, told, and healed."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from portal.audit import AuditEvent
from portal.cli import main
from portal.config import Settings
from portal.database import db
from portal.notices.models import Notice
from portal.notices.rendering import Recipient, preview
from portal.releases.models import Build, Channel
from tests.builds import CONTENT, only_build, publish_release
from tests.cast import Cast
from tests.conftest import NOW, SECRET
from tests.integration.releases.helpers import mailed

Run = Callable[..., Result]

pytestmark = pytest.mark.usefixtures("app_context", "cast")


@pytest.fixture
def verify(settings: Settings) -> Run:
    environment = {"DATA_DIR": str(settings.data_dir), "DATABASE_URL": settings.database_url, "SECRET_KEY": SECRET}

    def do(*arguments: str) -> Result:
        db.session.rollback()
        return CliRunner().invoke(main, ["release", "verify", *arguments], env=environment)

    return do


def path_of(build: Build, settings: Settings) -> Path:
    return settings.builds_dir / build.sha256[:2] / build.sha256[2:4] / build.sha256


def actions() -> list[str]:
    found = sa.select(AuditEvent.action).where(AuditEvent.action.in_(("build.damaged", "build.healed"))).order_by(AuditEvent.id)
    return list(db.session.scalars(found))


def test_whole_builds_are_found_whole(verify: Run) -> None:
    publish_release("15.2", Channel.STABLE, NOW)
    result = verify()
    assert (result.exit_code, result.stdout, result.stderr) == (0, "Builds read: 1. Damaged or missing: 0.\n", "")
    assert mailed("build_damaged") == []


@pytest.mark.parametrize("damage", ["changed", "shorter", "longer"])
def test_a_damaged_build_is_marked_and_told_once(verify: Run, settings: Settings, damage: str) -> None:
    publish_release("15.2", Channel.STABLE, NOW)
    path = path_of(only_build(), settings)
    path.write_bytes({"changed": CONTENT[:-1] + b"x", "shorter": CONTENT[:-1], "longer": CONTENT + b"x"}[damage])
    for _ in range(2):
        result = verify()
        assert result.exit_code == 1
        assert "macro-studio 15.2  studio.msi: damaged" in result.stdout
        assert "not handed out" in result.stderr
    assert only_build().damaged_at is not None
    assert mailed("build_damaged") == ["ada@vendor.example.org", "paula@vendor.example.org"]
    assert actions() == ["build.damaged"]


def test_a_missing_build_is_marked_and_healed_when_the_file_is_back(verify: Run, settings: Settings) -> None:
    publish_release("15.2", Channel.STABLE, NOW)
    path = path_of(only_build(), settings)
    path.unlink()
    assert json.loads(verify("--json").stdout) == [
        {
            "product": "macro-studio",
            "version": "15.2",
            "filename": "studio.msi",
            "sha256": only_build().sha256,
            "size": len(CONTENT),
            "state": "missing",
        }
    ]
    (notice,) = db.session.scalars(sa.select(Notice).where(Notice.kind == "build_damaged"))
    assert notice.context["files"] == [{"filename": "studio.msi", "is_missing": True}]
    path.write_bytes(CONTENT)
    assert verify().exit_code == 0
    assert only_build().damaged_at is None
    assert actions() == ["build.damaged", "build.healed"]
    path.unlink()
    assert verify().exit_code == 1
    assert len(mailed("build_damaged")) == 4


def test_one_release_or_one_product_is_read_alone(verify: Run, settings: Settings) -> None:
    publish_release("15.2", Channel.STABLE, NOW)
    path_of(only_build(), settings).unlink()
    publish_release("15.3b1", Channel.BETA, NOW, files={"beta.msi": b"beta"})
    publish_release("2.0", Channel.STABLE, NOW, product="form-filler", files={"filler.msi": b"filler"})
    assert verify("macro-studio", "v15.3-beta1").stdout == "Builds read: 1. Damaged or missing: 0.\n"
    assert verify("form-filler").exit_code == 0
    assert "Builds read: 2. Damaged or missing: 1." in verify("macro-studio").stdout
    assert "Builds read: 3." in verify().stdout
    for unknown in (["macro-studio", "9.9"], ["no-such"], ["no-such", "15.2"]):
        result = verify(*unknown)
        assert (result.exit_code, "There is no" in result.stderr) == (1, True)


def test_one_mail_tells_of_all_that_is_new_in_a_release(verify: Run, settings: Settings) -> None:
    publish_release("15.2", Channel.STABLE, NOW, files={"a.msi": b"a", "b.msi": b"b", "c.msi": b"c"})
    for build in db.session.scalars(sa.select(Build).where(Build.filename != "b.msi")):
        path_of(build, settings).write_bytes(b"?")
    verify()
    (notice,) = db.session.scalars(sa.select(Notice).where(Notice.kind == "build_damaged"))
    assert [file["filename"] for file in notice.context["files"]] == ["a.msi", "c.msi"]


def test_what_was_stored_before_there_were_signatures_gets_its_digest(verify: Run) -> None:
    publish_release("15.2", Channel.STABLE, NOW)
    assert only_build().blake2b is None
    verify()
    assert len(only_build().blake2b or "") == 128


def test_nothing_to_read_is_no_failure(verify: Run, cast: Cast) -> None:
    assert verify().stdout == "Builds read: 0. Damaged or missing: 0.\n"


def test_a_bar_is_shown_where_a_person_watches(settings: Settings) -> None:
    publish_release("15.2", Channel.STABLE, NOW)
    db.session.remove()
    ours, theirs = os.openpty()
    environment = {**os.environ, "DATA_DIR": str(settings.data_dir), "DATABASE_URL": settings.database_url, "SECRET_KEY": SECRET}
    command = [sys.executable, "-m", "portal", "release", "verify"]
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=theirs, text=True, timeout=60)
    os.close(theirs)
    assert (result.returncode, result.stdout) == (0, "Builds read: 1. Damaged or missing: 0.\n")
    assert "100%" in os.read(ours, 100_000).decode()
    os.close(ours)


def test_the_mail_says_what_is_damaged_and_what_to_do(verify: Run, settings: Settings) -> None:
    publish_release("15.2", Channel.STABLE, NOW)
    path_of(only_build(), settings).unlink()
    verify()
    (notice,) = db.session.scalars(sa.select(Notice).where(Notice.kind == "build_damaged"))
    paula = Recipient("paula@vendor.example.org", "Paula", 1)
    mail = preview("build_damaged", notice.context, product_id=None, topic=None, recipient=paula, now=NOW)
    assert mail.subject == "Macro Studio 15.2: a build is damaged in storage"
    assert "* studio.msi (missing)" in mail.text
    assert "/staff/releases/macro-studio/15.2/" in mail.text
    assert "portal release verify" in mail.html
