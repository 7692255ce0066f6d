"""The memory of an upload does not grow with the file."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from portal.releases import catalog
from portal.storage import store
from tests.cast import Cast
from tests.conftest import csrf_token
from tests.integration.releases.helpers import make_draft

MEGABYTE = 1_000_000
SIZE = 200 * MEGABYTE
HEAD = b'--x\r\nContent-Disposition: form-data; name="file"; filename="big.bin"\r\n\r\n'
TAIL = b"\r\n--x--\r\n"


def resident_bytes() -> int:
    """What the process holds in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Body(io.BytesIO):
    """A form with a file of SIZE bytes, made while it is read. Notes the most memory that the process held meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.left = SIZE
        self.parts = [HEAD]
        self.peak = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.peak = max(self.peak, resident_bytes())
        if self.parts:
            return self.parts.pop()
        if self.left:
            taken = min(self.left, size if size and size > 0 else MEGABYTE, MEGABYTE)
            self.left -= taken
            if not self.left:
                self.parts = [TAIL]
            return os.urandom(taken)
        return b""

    def readinto(self, buffer: Any, /) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def test_an_upload_of_200_megabytes_takes_less_than_50_megabytes_of_memory(
    app: Flask, cast: Cast, sign_in: Callable[[str], FlaskClient]
) -> None:  # fmt: skip
    with app.app_context():
        make_draft()
    client = sign_in(cast.paula)
    token = csrf_token(client.get("/staff/releases/new").get_data(as_text=True))
    body, before = Body(), resident_bytes()
    answer = client.post(
        "/staff/releases/macro-studio/15.3b2/builds",
        input_stream=body,
        environ_overrides={"CONTENT_LENGTH": str(len(HEAD) + SIZE + len(TAIL))},
        content_type="multipart/form-data; boundary=x",
        headers={"X-CSRFToken": token, "Accept": "application/json"},
    )
    assert answer.status_code == 201, answer.get_data(as_text=True)
    assert body.peak - before < 50 * MEGABYTE
    with app.app_context():
        build = next(build for build in catalog.find_release("macro-studio", "15.3b2").builds if build.filename == "big.bin")
        assert sum(map(len, store().read(build.sha256))) == build.size == SIZE
