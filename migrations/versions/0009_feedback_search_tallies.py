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

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+")


RANK = "UPDATE feedback_items SET severity_rank = CASE severity WHEN 'high' THEN 3 WHEN 'medium' THEN 2 WHEN 'low' THEN 1 ELSE 0 END"
# What lists of items are sorted by: those of one product, and those of all.
BOARD = ("tally_votes", "created_at", "changed_at")
ALL = (*BOARD, "tally_cents", "tally_ending", "severity_rank")
UNREAD = sa.text("read_at IS NULL")
LIVE = sa.text("withdrawn_at IS NULL")


def upgrade() -> None:
    _create_search()
    _create_tallies()
    _create_indexes()


def downgrade() -> None:
    op.drop_index("ix_feedback_votes_of_contract", "feedback_votes")
    for column in ALL:
        op.drop_index(f"ix_feedback_items_unread_{column}", "feedback_items")
        op.drop_index(f"ix_feedback_items_all_{column}", "feedback_items")
    for column in BOARD:
        op.drop_index(f"ix_feedback_items_product_{column}", "feedback_items")
    for column in ("severity_rank", "tally_ending", "tally_cents", "tally_votes"):
        op.execute(f"ALTER TABLE feedback_items DROP COLUMN {column}")
    op.drop_table("feedback_tally_state")
    op.drop_table("feedback_counted_contracts")
    op.execute("DROP TABLE feedback_search")


def _create_tallies() -> None:
    """Nothing is counted yet, and the state says so: the worker does it a few seconds after it starts."""
    op.create_table(
        "feedback_counted_contracts",
        sa.Column("contract_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("yearly_cents", sa.BigInteger(), nullable=False),
        sa.Column("ending", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["contract_id"], ["contracts.id"], name=op.f("fk_feedback_counted_contracts_contract_id_contracts")),
        sa.PrimaryKeyConstraint("contract_id", name=op.f("pk_feedback_counted_contracts")),
    )
    op.create_table(
        "feedback_tally_state",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_feedback_tally_state_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feedback_tally_state")),
    )
    op.execute("INSERT INTO feedback_tally_state (id, currency) VALUES (1, '')")
    # Added in place, not by making the table anew.
    op.add_column("feedback_items", sa.Column("tally_votes", sa.Integer(), server_default="0", nullable=False))
    op.add_column("feedback_items", sa.Column("tally_cents", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("feedback_items", sa.Column("tally_ending", sa.Integer(), server_default="0", nullable=False))
    op.add_column("feedback_items", sa.Column("severity_rank", sa.Integer(), server_default="0", nullable=False))
    op.execute(RANK)


def _create_indexes() -> None:
    for column in BOARD:
        op.create_index(f"ix_feedback_items_product_{column}", "feedback_items", ["product_id", column, "id"])
    for column in ALL:
        op.create_index(f"ix_feedback_items_all_{column}", "feedback_items", [column, "id"])
        op.create_index(
            f"ix_feedback_items_unread_{column}", "feedback_items", [column, "id"], sqlite_where=UNREAD, postgresql_where=UNREAD
        )
    op.create_index("ix_feedback_votes_of_contract", "feedback_votes", ["contract_id", "item_id"], sqlite_where=LIVE, postgresql_where=LIVE)


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
    words = dict.fromkeys([*_words(title), *_words(body)])
    return {"id": item_id, "words": " ".join([*(f"'{word}'" for word in words), f"'#{product_id}'"])}


def _words(text: str) -> list[str]:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(character for character in decomposed if unicodedata.category(character)[0] != "M")
    return [word[:40] for word in _WORD.findall(plain.casefold())]
