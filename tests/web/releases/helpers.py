"""What tests of release managers' pages share."""

from io import BytesIO
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.conftest import csrf_token

STAFF = "/staff/releases"
# As an installer begins.
MSI = bytes.fromhex("D0CF11E0A1B11AE1") + b"the bytes"
ZIP = b"PK\x03\x04"
DRAFT = f"{STAFF}/macro-studio/15.3b2/"


def send(client: FlaskClient, url: str, *, page: str | None = None, follow: bool = True, **data: Any) -> TestResponse:
    """Send the form on `page` (by default at `url`) with `data`, as a browser would."""
    token = csrf_token(client.get(page or url).get_data(as_text=True))
    assert token, f"{page or url} has no form"
    return client.post(url, data={**data, "csrf_token": token}, follow_redirects=follow)


def upload(client: FlaskClient, content: bytes = MSI, name: str = "studio.msi", url: str = DRAFT, **data: Any) -> TestResponse:
    return send(client, f"{url}builds", page=f"{STAFF}/new", file=(BytesIO(content), name), **data)


def revision(client: FlaskClient, url: str = DRAFT) -> str:
    """The revision in the publish form of a draft's page."""
    return client.get(url).get_data(as_text=True).partition('name="revision" value="')[2].partition('"')[0]
