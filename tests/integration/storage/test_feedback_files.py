"""Files of feedback where storage is a bucket: they come and go through the portal, also where builds are handed out by links."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.config import Settings
from tests.cast import Cast
from tests.conftest import make_settings
from tests.seaweedfs import SeaweedFS
from tests.web.feedback.pages import forms, text

LOG = b"12:01 connection lost\n" * 1000


@pytest.fixture
def settings(tmp_path: Path, database_url: str, seaweedfs: SeaweedFS) -> Settings:
    return make_settings(tmp_path, database_url, storage_url=seaweedfs.storage_url(), storage_presigned=60)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_file_goes_in_and_comes_out_as_an_attachment(app: Flask, cast: Cast, sign_in: Callable[[str], FlaskClient]) -> None:
    alice = sign_in(cast.alice)
    filled = forms(text(alice, "/feedback/new"))["/feedback/new"]
    typed = {**filled, "title": "Pause", "body": "Please.", "files": (BytesIO(LOG), "run.log")}
    assert alice.post("/feedback/new", data=typed, content_type="multipart/form-data").status_code == 302
    got = alice.get("/feedback/1/attachments/1/run.log")
    assert got.status_code == 200
    assert got.data == LOG
    assert got.headers["Content-Disposition"].startswith("attachment;")
    assert "sandbox" in got.headers["Content-Security-Policy"]
