"""A stable release."""

import pytest
from flask import Flask

from portal.releases.models import Channel
from tests.builds import publish_release
from tests.cast import Cast
from tests.conftest import NOW


@pytest.fixture
def stable(app: Flask, cast: Cast) -> int:
    """Macro Studio 15.2.1 with one build, published."""
    with app.app_context():
        return publish_release("15.2.1", Channel.STABLE, NOW)
