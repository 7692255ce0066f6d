"""What is asked for: the board by each sort, with filters and deep down, searches, similar items, the inbox, an item of it, the roadmap."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bench.feedback.corpus import PASSWORD, Corpus
from portal.database import db
from portal.feedback import board, inbox
from portal.feedback.models import Item


@dataclass(frozen=True)
class Page:
    """A request, and what to call it."""

    name: str
    ask: Callable[[], Any]


def pages_of(app: Flask, corpus: Corpus) -> list[Page]:
    """Return the requests that are measured, by people who are signed in."""
    subscriber, lapsed, staff = (_sign_in(app, email) for email in (corpus.subscriber, corpus.lapsed, corpus.staff))
    words = corpus.words
    deep = _deep(app)

    def get(client: FlaskClient, name: str, **query: str) -> Page:
        path = "/staff/feedback/" if name.startswith("inbox") else "/feedback/"
        return Page(name, lambda: client.get(path, query_string=query))

    pages = [get(subscriber, f"board by {sort}", sort=sort) for sort in board.Sort]
    pages += [get(subscriber, f"board by {sort}, deep down", sort=sort, after=place) for sort, place in deep.items()]
    pages += [
        get(subscriber, "board, one status", status="declined"),
        get(subscriber, "board, one status of one kind, newest", status="in_beta", kind="question", sort="newest"),
        get(subscriber, "board, mine", show="mine"),
        get(subscriber, "board, my organisation's", show="organisation"),
        get(subscriber, "board, with our vote", show="voted"),
        get(lapsed, "board of a lapsed reader"),
        get(lapsed, "board of a lapsed reader, planned", status="planned"),
        get(staff, "board of staff"),
        get(staff, "board of staff, small product", product="type-writer"),
        get(subscriber, "search, word of nine in ten", q=words.common),
        get(subscriber, "search, word of one in ten", q=words.medium),
        get(subscriber, "search, rare word", q=words.rare),
        get(subscriber, "search, beginning of a common word", q=words.common[:3]),
        get(subscriber, "search, beginning of a rare word", q=words.rare[:3]),
        get(subscriber, "search, two words, newest", q=f"{words.common} {words.medium}", sort="newest"),
        get(subscriber, "search, common word, one status", q=words.common, status="declined"),
        get(lapsed, "search of a lapsed reader, common word", q=words.common),
        get(staff, "search of staff, common word, small product", q=words.common, product="type-writer"),
    ]
    pages += [get(staff, f"inbox, {view} by {sort}", view=view, sort=sort) for view in ("unread", "all") for sort in inbox.Sort]
    pages += [
        get(staff, "inbox, search, common word", view="all", q=words.common),
        get(staff, "inbox, search, rare word, by value", view="all", q=words.rare, sort="value"),
        get(staff, "inbox, small product, unassigned, by value", view="unassigned", product="type-writer", sort="value"),
        Page("similar to a title", _similar(subscriber, corpus.titles)),
        Page("similar to a common word", _similar(subscriber, [words.common])),
    ]
    first, second = _most_voted(app)
    pages += [
        Page(name, partial(client.get, path))
        for name, client, path in (
            ("triage, the item with most votes", staff, f"/staff/feedback/{first}/"),
            ("triage, the two with most votes compared", staff, f"/staff/feedback/{second}/merge/{first}"),
            ("triage, tags", staff, "/staff/feedback/tags/"),
            ("roadmap", subscriber, "/feedback/roadmap/"),
            ("roadmap of a lapsed reader", lapsed, "/feedback/roadmap/"),
            ("roadmap of staff", staff, "/feedback/roadmap/"),
        )
    ]
    return pages


def _most_voted(app: Flask) -> Sequence[int]:
    """Return the ids of the two items of the first product that most contracts vote for."""
    with app.app_context():
        standing = sa.select(Item.id).where(Item.product_id == 1, Item.merged_into_id.is_(None))
        ids = db.session.scalars(standing.order_by(Item.tally_votes.desc(), Item.id.desc()).limit(2)).all()
        db.session.remove()
    return ids


def _sign_in(app: Flask, email: str) -> FlaskClient:
    client = app.test_client()
    form = {"email": email, "password": PASSWORD, "csrf_token": _token(client, "/sign-in")}
    answer = client.post("/sign-in", data=form)
    assert answer.status_code == 302, answer.get_data(as_text=True)
    return client


def _token(client: FlaskClient, path: str) -> str:
    return client.get(path).get_data(as_text=True).partition('name="csrf_token"')[2].partition('value="')[2].partition('"')[0]


def _similar(client: FlaskClient, titles: list[str]) -> Callable[[], Any]:
    """Ask for what is like one title after another."""
    token, turn = _token(client, "/feedback/new"), iter(range(1_000_000))

    def ask() -> Any:
        form = {"product": "macro-studio", "title": titles[next(turn) % len(titles)], "body": "", "csrf_token": token}
        return client.post("/feedback/similar", data=form)

    return ask


def _deep(app: Flask) -> dict[board.Sort, str]:
    """Return, for each sort, the key of a place in the middle of the first product's items."""
    columns = {
        board.Sort.CONTRACTS: Item.tally_votes, board.Sort.NEWEST: Item.created_at,
        board.Sort.ANSWERED: Item.responded_at, board.Sort.CHANGED: Item.changed_at,
    }  # fmt: skip
    places = {}
    with app.app_context():
        for sort, column in columns.items():
            there = sa.select(column, Item.id).where(Item.product_id == 1, column.is_not(None)).order_by(column.desc(), Item.id.desc())
            half = db.session.scalar(sa.select(sa.func.count()).select_from(there.subquery()))
            value, item_id = db.session.execute(there.offset((half or 0) // 2).limit(1)).one()
            places[sort] = f"{value.isoformat() if isinstance(value, datetime) else value}~{item_id}"
        db.session.remove()
    return places
