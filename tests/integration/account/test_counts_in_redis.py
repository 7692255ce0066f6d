"""Tries may be counted in a Redis instead: by any number of processes together, and nobody signs in uncounted while it is away."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from portal.app import create_app
from portal.database import db
from portal.web import limits
from tests import redis_server
from tests.conftest import SECRET, csrf_token, make_settings

LIMIT = "7 per minute"
TAKE = f"""
import sys
from pathlib import Path
from portal.app import create_app
from portal.config import Settings
from portal.web import limits
app = create_app(Settings(data_dir=Path(sys.argv[1]), rate_limit_url=sys.argv[2], secret_key={SECRET!r}, web_processes=2).check())
with app.app_context():
    print(sum(limits.take("test", {LIMIT!r}, "somebody") for _ in range(5)))
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server.running(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
def counting(sqlite_template: Path, tmp_path: Path, url: str) -> Iterator[Flask]:
    yield from app_with(sqlite_template, tmp_path, url)


def app_with(template: Path, directory: Path, url: str) -> Iterator[Flask]:
    shutil.copyfile(template, directory / "portal.db")
    app = create_app(make_settings(directory, "", rate_limit_url=url, sign_in_limit="2 per minute"))
    yield app
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


def test_a_window_counts_to_its_limit_and_what_is_given_back_can_be_taken_again(counting: Flask) -> None:
    with counting.app_context():
        assert [limits.take("window", "3 per minute", "me") for _ in range(5)] == [True, True, True, False, False]
        assert limits.is_spent("window", "3 per minute", "me")
        assert limits.take("window", "3 per minute", "you")
        assert 1 <= limits.seconds_left("window", "3 per minute", "me") <= 60
        for _ in range(5):
            assert limits.take("back", "1 per minute", "me")
            limits.give_back("back", "1 per minute", "me")


def test_processes_count_together(url: str, sqlite_template: Path, tmp_path: Path) -> None:
    shutil.copyfile(sqlite_template, tmp_path / "portal.db")
    running = [subprocess.Popen([sys.executable, "-c", TAKE, str(tmp_path), url], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert sum(int(process.communicate()[0]) for process in running) == 7


def test_failed_sign_ins_are_stopped(counting: Flask) -> None:
    assert [try_to_enter(counting) for _ in range(3)] == [200, 200, 429]


def test_while_it_is_away_nobody_signs_in_and_the_page_says_to_wait(sqlite_template: Path, tmp_path: Path) -> None:
    with redis_server.running(tmp_path) as url:
        pass
    for app in app_with(sqlite_template, tmp_path, url):
        assert app.test_client().get("/sign-in").status_code == 200
        assert try_to_enter(app) == 503


def try_to_enter(app: Flask) -> int:
    client = app.test_client()
    token = csrf_token(client.get("/sign-in").text)
    return client.post("/sign-in", data={"csrf_token": token, "email": "nobody@example.org", "password": "not the right one"}).status_code
