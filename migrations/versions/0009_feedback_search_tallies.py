"""Search and tallies of feedback.

Revision ID: 0009
Revises: 0008
"""

import re
import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_WORD = re.compile(r"[぀-ヿ㐀-䶿一-鿿豈-﫿]|[^\W_぀-ヿ㐀-䶿一-鿿豈-﫿]+")


def upgrade() -> None:
    _create_search()


def downgrade() -> None:
    op.execute("DROP TABLE feedback_search")


def _create_search() -> None:
    """Make the index of portal/feedback/search.py, and fill it with the items that are there."""
    connection = op.get_bind()
    postgresql = connection.dialect.name == "postgresql"
    if postgresql:
        op.execute(
            "CREATE TABLE feedback_search ("
            "item_id integer NOT NULL CONSTRAINT pk_feedback_search PRIMARY KEY CONSTRAINT fk_feedback_search_item_id_feedback_items"
            " REFERENCES feedback_items (id) ON DELETE CASCADE, words tsvector NOT NULL)"
        )
        op.execute("CREATE INDEX ix_feedback_search_words ON feedback_search USING gin (words) WITH (fastupdate = off)")
        statement = "INSERT INTO feedback_search (item_id, words) VALUES (:id, CAST(:words AS tsvector))"
    else:
        op.execute(
            "CREATE VIRTUAL TABLE feedback_search USING fts5(product, title, body, tokenize = 'ascii', detail = 'column', prefix = '3')"
        )
        statement = "INSERT INTO feedback_search (rowid, product, title, body) VALUES (:id, :product, :title, :body)"
    last = 0
    page = sa.text("SELECT id, product_id, title, body FROM feedback_items WHERE id > :last ORDER BY id LIMIT 500")
    while items := connection.execute(page, {"last": last}).all():
        connection.execute(sa.text(statement), [_row(*item, postgresql=postgresql) for item in items])
        last = items[-1].id


def _row(item_id: int, product_id: int, title: str, body: str, *, postgresql: bool) -> dict[str, object]:
    if not postgresql:
        return {"id": item_id, "product": f"p{product_id}", "title": " ".join(_words(title)), "body": " ".join(_words(body))}
    weights: dict[str, str] = {}
    for weight, text in (("A", title), ("B", body)):
        for word in _words(text):
            weights.setdefault(word, weight)
    lexemes = " ".join(f"'{word}':1{weight}" for word, weight in weights.items())
    return {"id": item_id, "words": f"{lexemes} 'p{product_id}':2C"}


def _words(text: str) -> list[str]:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(character for character in decomposed if unicodedata.category(character)[0] != "M")
    return [word[:40] for word in _WORD.findall(plain.casefold())]
