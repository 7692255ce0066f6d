"""A stable release, on a clock that stands where the cast expects it."""

from collections.abc import Iterator

import pytest
import time_machine
from flask import Flask

from portal.releases.models import Channel
from tests.builds import publish_release
from tests.cast import Cast
from tests.conftest import NOW


@pytest.fixture(autouse=True)
def at_the_time_of_the_cast() -> Iterator[None]:
    with time_machine.travel(NOW, tick=True):
        yield


@pytest.fixture
def stable(app: Flask, cast: Cast) -> int:
    """Macro Studio 15.2.1 with one build, published."""
    with app.app_context():
        return publish_release("15.2.1", Channel.STABLE, NOW)
