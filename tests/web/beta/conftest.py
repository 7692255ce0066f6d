"""One published beta with secrets to look for."""

from datetime import date

import pytest
from flask import Flask

from portal.releases.models import Channel
from tests.builds import CONTENT, publish_release
from tests.cast import Cast
from tests.conftest import NOW

FILES = {"studio-x64.msi": CONTENT, "Größe “neu”.zip": CONTENT[::-1]}


@pytest.fixture
def beta(app: Flask, cast: Cast) -> int:
    """Macro Studio 15.3b2 with two builds, published. No terms."""
    with app.app_context():
        return publish_release("15.3b2", Channel.BETA, NOW, files=FILES, expires_on=date(2027, 1, 31))
