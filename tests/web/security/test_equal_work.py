"""No answer of sign-in and reset tells an account from an unknown address: the same words, status and work, whoever it is for.

Time is not measured here, for it depends on the machine; what takes time is: the statements a request runs, in their order, and the
hashes it computes. `make bench-sign-in` measures the time.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from argon2 import low_level
from flask import Flask

from portal import clock
from portal.account import opt_in
from portal.database import transaction
from portal.notices.models import Topic
from portal.products.catalog import find_product
from tests.cast import PASSWORD, Cast
from tests.conftest import csrf_token
from tests.statements import statements
from tests.web.account.pages import change_user, text_of

WRONG = "not the right one at all"
UNKNOWN, TYPED = "nobody@example.org", "typed@example.org"


@pytest.fixture
def states(app: Flask, cast: Cast) -> list[tuple[str, str]]:
    """Addresses in every state an account can be in, each with a password to try; the first one is unknown."""
    change_user(app, cast.bob, active=False)
    change_user(app, cast.carol, sign_in_locked_until=clock.now() + timedelta(minutes=5))
    change_user(app, cast.dave, password=None)
    with app.app_context(), transaction():
        opt_in.ask_address(TYPED, "", find_product(cast.product), [Topic.POINT], now=clock.now())
    return [
        (UNKNOWN, WRONG), (cast.alice, WRONG), (cast.bob, WRONG), (cast.bob, PASSWORD), (cast.carol, WRONG), (cast.carol, PASSWORD),
        (cast.dave, WRONG), (cast.petra, WRONG), (TYPED, WRONG),
    ]  # fmt: skip


@contextmanager
def hashes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Collect the names of the argon2 functions called inside the block; they run as ever."""
    called: list[str] = []

    def spied(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            called.append(name)
            return function(*args, **options)

        return call

    with monkeypatch.context() as patch:
        for name in ("hash_secret", "verify_secret", "core"):
            patch.setattr(low_level, name, spied("argon2", getattr(low_level, name)))
        yield called


def work_of(app: Flask, monkeypatch: pytest.MonkeyPatch, path: str, email: str, password: str) -> tuple[object, ...]:
    """Send the form, and return all that could differ: status, headers, words, statements and hashes."""
    client = app.test_client()
    data = {"csrf_token": csrf_token(client.get(path).text), "email": email, "password": password}
    with statements(app) as seen, hashes(monkeypatch) as computed:
        answer = client.post(path, data=data)
    kinds = [re.sub(r"\s+", " ", statement) for statement in seen]
    headers = sorted(name for name, _ in answer.headers if name != "Content-Length")
    return answer.status_code, headers, text_of(answer).replace(email, "ADDRESS"), kinds, computed


@pytest.mark.parametrize("path", ["/sign-in", "/account/password/reset"])
def test_every_account_costs_what_an_unknown_address_costs(
    app: Flask, monkeypatch: pytest.MonkeyPatch, states: list[tuple[str, str]], path: str
) -> None:
    work = {(email, password): work_of(app, monkeypatch, path, email, password) for email, password in states}
    expected = work[UNKNOWN, WRONG]
    assert expected[-1], "a hash is computed for unknown addresses, too"
    for state, done in work.items():
        assert done == expected, state


def test_a_right_password_on_a_locked_account_costs_what_a_wrong_one_costs(
    app: Flask, monkeypatch: pytest.MonkeyPatch, states: list[tuple[str, str]]
) -> None:
    carol = states[4][0]
    assert work_of(app, monkeypatch, "/sign-in", carol, PASSWORD) == work_of(app, monkeypatch, "/sign-in", carol, WRONG)


def test_the_last_failure_before_the_lock_and_the_first_after_it_look_alike(
    app: Flask, monkeypatch: pytest.MonkeyPatch, cast: Cast
) -> None:
    tries = [work_of(app, monkeypatch, "/sign-in", cast.alice, WRONG) for _ in range(9)]
    assert all(done == tries[0] for done in tries)
