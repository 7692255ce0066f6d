"""No page runs more statements when its list grows."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.database import transaction
from portal.feedback import tags, tallies
from portal.feedback.models import Status
from tests.board import answer, comment, merge, person, vote, write
from tests.cast import Cast
from tests.conftest import NOW
from tests.statements import statements
from tests.web.feedback.pages import text

SignIn = Callable[[str], FlaskClient]


def count(app: Flask, client: FlaskClient, address: str) -> int:
    with statements(app) as seen:
        text(client, address)
    return len(seen)


def grow(app: Flask, cast: Cast, many: int) -> None:
    with app.app_context():
        for number in range(many):
            item_id = write(cast.carol if number % 2 else cast.alice, f"Idea {number}", now=NOW - timedelta(hours=number))
            vote(cast.bob, item_id)
            vote(cast.carol, item_id)
            comment(cast.carol if number % 3 else cast.bob, 1, f"Comment {number}")
            if number % 4 == 0:
                answer(item_id, Status.PLANNED, version=f"15.{number}")
            elif number % 4 == 1:
                merge(item_id, 1)
                with transaction():
                    tags.add_tag(item_id, f"Tag {number}", actor=person(cast.petra), now=NOW)
        with transaction():
            tallies.refresh(NOW)  # as the worker does, seconds after a contract has changed


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_ten_and_sixty_items_cost_the_same_number_of_statements(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    pages = {"/feedback/": cast.alice, "/feedback/?q=idea&status=under_review&sort=newest": cast.alice, "/feedback/1/": cast.alice}
    pages |= {"/staff/feedback/": cast.petra, "/staff/feedback/?view=all&sort=value": cast.petra, "/staff/feedback/1/": cast.petra}
    pages |= {"/feedback/roadmap/": cast.alice, "/staff/feedback/1/merge/2": cast.petra, "/staff/feedback/tags/": cast.petra}
    grow(app, cast, 10)
    clients = {address: sign_in(email) for address, email in pages.items()}
    for address, client in clients.items():
        text(client, address)  # what only the first visit does, such as marking an item read
    few = {address: count(app, client, address) for address, client in clients.items()}
    grow(app, cast, 50)
    text(clients["/staff/feedback/1/"], "/staff/feedback/1/")
    many = {address: count(app, client, address) for address, client in clients.items()}
    assert many == few
    assert many.pop("/staff/feedback/1/") <= 42  # the page with everything that is known about an item
    assert max(many.values()) <= 35
