"""A stable release, a beta, and the means to make private feeds."""

from collections.abc import Callable
from datetime import date

import pytest
from flask import Flask

from portal.account import access_tokens
from portal.account.models import TokenPurpose
from portal.database import transaction
from portal.releases.models import Channel
from tests.builds import find_seat, publish_release
from tests.cast import Cast
from tests.conftest import NOW

MakeToken = Callable[..., str]


@pytest.fixture
def stable(app: Flask, cast: Cast) -> int:
    """Macro Studio 15.2.1, published."""
    with app.app_context():
        return publish_release("15.2.1", Channel.STABLE, NOW)


@pytest.fixture
def beta(app: Flask, cast: Cast, stable: int) -> int:
    """Macro Studio 15.3b2, published after the stable one. It runs until the end of January."""
    with app.app_context():
        return publish_release("15.3b2", Channel.BETA, NOW, expires_on=date(2027, 1, 31))


@pytest.fixture
def make_token(app: Flask, cast: Cast) -> MakeToken:
    """Return a function that makes a token for the only seat of a person, given by address."""

    def make(email: str, purpose: TokenPurpose = TokenPurpose.FEED) -> str:
        with app.app_context(), transaction():
            seat = find_seat(email)
            return access_tokens.create(seat.id, "reader", purpose=purpose, actor=seat.user, now=NOW)

    return make
