"""Full-text search of feedback: SQLite's FTS5 and PostgreSQL's tsvector, with the same words and the same answers.

What people type is never a query language: it is taken apart into words here, in Python, for text and search alike, so quotes,
operators and wildcards separate words and do nothing else. Each word of three letters and more also finds longer ones that
begin with it, numbers only themselves; there is no stemming, since feedback comes in many languages.

`feedback_search` holds, for each item, the words of its title and body, and its product as a word of its own kind, so that a
search in one product reads no other's. It is no model: one database has it as a virtual table, the other as a table. It follows
each Item that the session writes, deletes included (the listeners at the end of this module), in the same transaction. Whoever
changes the text of items by a bulk statement calls `reindex` after it.
"""

import math
import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Mapper

from portal.database import db, one_of
from portal.feedback import votes
from portal.feedback.access import Viewer, show_status, visible_to
from portal.feedback.models import Item, Status

TEXT_LIMIT = 200  # characters of a search that are read
WORDS_LIMIT = 8  # words of a search that are looked for; the rest would not narrow it further
WORD_LENGTH = 40  # of a word, in letters; longer ones (keys, encoded files) count by their beginning
PREFIX_LENGTH = 3  # from here on a word finds those that begin with it
MANY = 1_000  # items that are too many to be sorted for one page of them
SIMILAR_READ = 100  # items looked at for each word, the newest first, to find the most similar ones
SIMILAR_RANKED = 25  # of those, how many are read

# Letters and digits of any script. Scripts without spaces between words are read letter by letter.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+")

_index = sa.table("feedback_search", sa.column("rowid"), sa.column("item_id"), sa.column("words"))


@dataclass(frozen=True)
class Similar:
    """An item that says something like what somebody is about to write, as the viewer reads it."""

    item: Item
    status: Status
    version: str
    votes: int
    ours: bool

    @property
    def id(self) -> int:
        return self.item.id

    @property
    def title(self) -> str:
        return self.item.title


def words_of(text: str) -> list[str]:
    """Take a text apart into its words, without regard to case and accents (Unicode's compatibility forms count as one)."""
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text.casefold())
        text = "".join(character for character in decomposed if unicodedata.category(character)[0] != "M")
    return [word[:WORD_LENGTH] for word in _WORD.findall(text.casefold())]


def words_searched(text: str) -> list[str]:
    """Return the words of a search, each once."""
    return list(dict.fromkeys(words_of(text[:TEXT_LIMIT])))[:WORDS_LIMIT]


@dataclass(frozen=True)
class Found:
    """What a search finds among the items that its reader sees: few, or MANY and more, of which nobody wants to hear all at once.

    `ids` are those of the newest, MANY at most. Items that the reader may not see are none of them, so that neither a number nor
    the word "many" tells of any.
    """

    query: str
    ids: list[int]

    @property
    def many(self) -> bool:
        return len(self.ids) == MANY

    @property
    def condition(self) -> sa.ColumnElement[bool]:
        """Whether an Item is found. A list starts from few items; of many, each is asked while the list goes on in its order."""
        if not self.many:
            return self.sample
        # PostgreSQL knows how common words are. SQLite does not, and would sort all that were found, but for the sum.
        return (Item.id if _is_postgresql() else Item.id + 0).in_(sa.select(_id()).where(_holds(self.query)))

    @property
    def sample(self) -> sa.ColumnElement[bool]:
        """Whether an Item is found, and of MANY and more, among the newest MANY: to be counted."""
        return one_of(Item.id, self.ids)


def find(search: str, viewer: Viewer | None, product_ids: Collection[int] | None = None) -> Found | None:
    """Look for items whose title or body holds each word of a search; None for an empty one, which asks for nothing.

    A search without any letter or digit finds nothing. Only what the viewer sees is found; without one, all there is. With
    `product_ids`, only items of these products are looked for.
    """
    if not search.strip():
        return None
    words = words_searched(search)
    if not words:
        return Found("", [])
    query = _query(words, product_ids)
    return Found(query, list(db.session.scalars(_newest(query, viewer, MANY))))


def matches(search: str) -> list[sa.ColumnElement[bool]]:
    """Return the conditions on an Item for a search, for lists of staff."""
    found = find(search, None)
    return [found.condition] if found is not None else []


def _newest(query: str, viewer: Viewer | None, limit: int) -> sa.Select[int]:
    """Select the ids of the newest visible items for which a query holds: the index finds them, and each is asked."""
    newest = sa.select(_id()).where(_holds(query)).order_by(_id().desc()).limit(limit)
    if viewer is None:
        return newest
    # SQLite must not begin with the items; PostgreSQL knows better than we how many of them are seen.
    return newest.join(Item, Item.id == _id()).where(visible_to(viewer, few=not _is_postgresql()))


def _id() -> Any:
    return _index.c.item_id if _is_postgresql() else _index.c.rowid


def _holds(query: str) -> sa.ColumnElement[bool]:
    if _is_postgresql():
        return _index.c.words.bool_op("@@")(sa.cast(sa.literal(query), sa.dialects.postgresql.TSQUERY))
    return sa.literal_column("feedback_search").bool_op("MATCH")(query)


def _query(words: Iterable[str], product_ids: Collection[int] | None = None) -> str:
    """Write the query of the database in use. `words` hold letters and digits alone, so they need no escaping."""
    if _is_postgresql():
        terms = [f"'{word}'{':*' if _begins(word) else ''}" for word in words]
        scope = [f"'#{product_id}'" for product_id in product_ids or ()]
        return " & ".join(terms + ([f"({' | '.join(scope)})"] if scope else []))
    terms = [f'"{word}"{" *" if _begins(word) else ""}' for word in words]
    query = f"{{title body}} : ({' AND '.join(terms)})"
    return query + f" AND product : ({' OR '.join(f'p{product_id}' for product_id in product_ids)})" if product_ids else query


def _begins(word: str) -> bool:
    """Whether a word of a search also finds those that begin with it."""
    return len(word) >= PREFIX_LENGTH and not word.isdigit()


def _is_postgresql() -> bool:
    return db.engine.dialect.name == "postgresql"


def similar(viewer: Viewer, product_id: int, text: str, *, limit: int = 5, now: datetime) -> list[Similar]:
    """Return the visible items of a product that are most like `text`, the most alike first; none where no word is in common.

    An item counts for each word of `text` that it holds, rare words for more than common ones, and those of its title for more
    than those of its body.
    """
    words = words_searched(text)
    if not words:
        return []
    found = _newest_with(viewer, words, product_id)
    scores = _score(found)
    if not scores:
        return []
    ids = sorted(scores, key=lambda item_id: (-scores[item_id], -item_id))[:SIMILAR_RANKED]
    rows = db.session.execute(sa.select(Item, votes.count_of_item(now), votes.is_ours(viewer)).where(Item.id.in_(ids)))
    weights = {word: _weight(len(ids)) for word, ids in found.items()}
    ranked = sorted(rows, key=lambda row: (-_likeness(row[0], weights), -row[1], -row[0].id))
    return [
        Similar(item, *show_status(viewer, product_id, item.status, item.status_version), count, ours)
        for item, count, ours in ranked[:limit]
    ]


def _newest_with(viewer: Viewer, words: Sequence[str], product_id: int) -> dict[str, list[int]]:
    """Return the newest visible items that hold all words (under ""), and those that hold each word."""
    queries = {"": _query(words, [product_id]), **{word: _query([word], [product_id]) for word in words}}
    parts = []
    for number, query in enumerate(queries.values()):
        newest = _newest(query, viewer, SIMILAR_READ).subquery()
        parts.append(sa.select(sa.literal(number), *newest.c))
    found: dict[str, list[int]] = {word: [] for word in queries}
    names = list(queries)
    for number, item_id in db.session.execute(sa.union_all(*parts)):
        found[names[number]].append(item_id)
    return found


def _score(found: dict[str, list[int]]) -> dict[int, float]:
    scores: dict[int, float] = {}
    for word, ids in found.items():
        for item_id in ids:
            scores[item_id] = scores.get(item_id, 0) + (1 if word else 2) * _weight(len(ids))
    return scores


def _weight(number: int) -> float:
    """What a word tells that stands in so many of the items looked at."""
    return 1 / math.sqrt(1 + number)


def _likeness(item: Item, weights: dict[str, float]) -> float:
    title, body = words_of(item.title), words_of(item.body)
    return sum(weight * (3 * _holds_word(title, word) + _holds_word(body, word)) for word, weight in weights.items() if word)


def _holds_word(words: list[str], word: str) -> bool:
    return word in words or (_begins(word) and any(other.startswith(word) for other in words))


def reindex(item_ids: Collection[int]) -> None:
    """Make the index say what these items say now. Those that are gone leave it."""
    db.session.flush()
    unindex(db.session.connection(), item_ids)
    texts = sa.select(Item.id, Item.product_id, Item.title, Item.body).where(Item.id.in_(item_ids))
    index(db.session.connection(), [(item_id, product_id, title, body) for item_id, product_id, title, body in db.session.execute(texts)])


def index(connection: sa.Connection, texts: Sequence[tuple[int, int, str, str]]) -> None:
    """Add items, each given as id, product id, title and body, that the index does not hold yet."""
    if not texts:
        return
    if connection.dialect.name == "postgresql":
        statement = sa.text("INSERT INTO feedback_search (item_id, words) VALUES (:id, CAST(:words AS tsvector))")
        rows = [{"id": item_id, "words": _lexemes(product_id, title, body)} for item_id, product_id, title, body in texts]
    else:
        statement = sa.text("INSERT INTO feedback_search (rowid, product, title, body) VALUES (:id, :product, :title, :body)")
        rows = [
            {"id": item_id, "product": f"p{product_id}", "title": " ".join(words_of(title)), "body": " ".join(words_of(body))}
            for item_id, product_id, title, body in texts
        ]
    connection.execute(statement, rows)


def unindex(connection: sa.Connection, item_ids: Collection[int]) -> None:
    """Take items out of the index."""
    column = _index.c.item_id if connection.dialect.name == "postgresql" else _index.c.rowid
    connection.execute(sa.delete(_index).where(column.in_(item_ids)))


def _lexemes(product_id: int, title: str, body: str) -> str:
    """Write a tsvector: the words, and the product as one that no text holds. Neither places nor weights, which no search asks for."""
    words = dict.fromkeys([*words_of(title), *words_of(body)])
    return " ".join([*(f"'{word}'" for word in words), f"'#{product_id}'"])


@event.listens_for(Item, "after_insert")
def _add(mapper: Mapper[Item], connection: sa.Connection, item: Item) -> None:
    index(connection, [(item.id, item.product_id, item.title, item.body)])


@event.listens_for(Item, "after_update")
def _change(mapper: Mapper[Item], connection: sa.Connection, item: Item) -> None:
    history = sa.inspect(item).attrs
    if any(history[name].history.has_changes() for name in ("product_id", "title", "body")):
        unindex(connection, [item.id])
        index(connection, [(item.id, item.product_id, item.title, item.body)])


@event.listens_for(Item, "after_delete")
def _remove(mapper: Mapper[Item], connection: sa.Connection, item: Item) -> None:
    unindex(connection, [item.id])
