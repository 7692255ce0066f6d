"""Tags, assignment, merging, votes on behalf.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "feedback_merges",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("target_id", sa.Integer(), nullable=False),
        sa.Column("merged_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("merged_by_id", sa.Integer(), nullable=False),
        sa.Column("unmerged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("unmerged_by_id", sa.Integer(), nullable=True),
        sa.CheckConstraint("item_id <> target_id", name=op.f("ck_feedback_merges_two_items")),
        sa.ForeignKeyConstraint(["item_id"], ["feedback_items.id"], name=op.f("fk_feedback_merges_item_id_feedback_items")),
        sa.ForeignKeyConstraint(["target_id"], ["feedback_items.id"], name=op.f("fk_feedback_merges_target_id_feedback_items")),
        sa.ForeignKeyConstraint(["merged_by_id"], ["users.id"], name=op.f("fk_feedback_merges_merged_by_id_users")),
        sa.ForeignKeyConstraint(["unmerged_by_id"], ["users.id"], name=op.f("fk_feedback_merges_unmerged_by_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feedback_merges")),
    )
    op.create_index(op.f("ix_feedback_merges_target_id"), "feedback_merges", ["target_id"])
    live = sa.text("unmerged_at IS NULL")
    op.create_index("uq_feedback_merges_live", "feedback_merges", ["item_id"], unique=True, sqlite_where=live, postgresql_where=live)

    op.create_table(
        "feedback_tags",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=120), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feedback_tags")),
        sa.UniqueConstraint("key", name=op.f("uq_feedback_tags_key")),
    )
    op.create_table(
        "feedback_item_tags",
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("tag_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["feedback_items.id"], name=op.f("fk_feedback_item_tags_item_id_feedback_items")),
        sa.ForeignKeyConstraint(["tag_id"], ["feedback_tags.id"], name=op.f("fk_feedback_item_tags_tag_id_feedback_tags")),
        sa.PrimaryKeyConstraint("item_id", "tag_id", name=op.f("pk_feedback_item_tags")),
    )
    op.create_index(op.f("ix_feedback_item_tags_tag_id"), "feedback_item_tags", ["tag_id"])
    op.create_table(
        "feedback_not_alike",
        sa.Column("low_id", sa.Integer(), nullable=False),
        sa.Column("high_id", sa.Integer(), nullable=False),
        sa.Column("said_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("said_by_id", sa.Integer(), nullable=False),
        sa.CheckConstraint("low_id < high_id", name=op.f("ck_feedback_not_alike_in_order")),
        sa.ForeignKeyConstraint(["low_id"], ["feedback_items.id"], name=op.f("fk_feedback_not_alike_low_id_feedback_items")),
        sa.ForeignKeyConstraint(["high_id"], ["feedback_items.id"], name=op.f("fk_feedback_not_alike_high_id_feedback_items")),
        sa.ForeignKeyConstraint(["said_by_id"], ["users.id"], name=op.f("fk_feedback_not_alike_said_by_id_users")),
        sa.PrimaryKeyConstraint("low_id", "high_id", name=op.f("pk_feedback_not_alike")),
    )
    op.create_index(op.f("ix_feedback_not_alike_high_id"), "feedback_not_alike", ["high_id"])

    # Added in place, not by making the tables anew, which on SQLite would take their triggers away.
    _refer("feedback_items", "assignee_id", "users", "assignee_id IS NOT NULL")
    _refer("feedback_items", "merged_into_id", "feedback_items", "merged_into_id IS NOT NULL")
    _refer("feedback_votes", "copy_of_id", "feedback_votes")
    # All that decides who sees an item and where it counts, so that items are counted without being read.
    op.create_index(
        "ix_feedback_items_counts",
        "feedback_items",
        ["product_id", "status", "kind", "visibility", "merged_into_id", "organization_id", "release_id", "responded_at"],
    )
    op.create_index("ix_feedback_items_waiting", "feedback_items", ["status", "responded_at", "merged_into_id", "created_at"])
    op.create_index("ix_feedback_status_changes_reached", "feedback_status_changes", ["status", "at"])
    op.add_column("feedback_votes", sa.Column("words", sa.String(length=500), nullable=True))
    op.execute(
        "ALTER TABLE feedback_votes ADD COLUMN channel VARCHAR(20)"
        " CONSTRAINT ck_feedback_votes_callchannel_known CHECK (channel IN ('phone', 'mail', 'meeting'))"
    )


def _refer(table: str, column: str, other: str, indexed: str | None = None) -> None:
    op.execute(f"ALTER TABLE {table} ADD COLUMN {column} INTEGER CONSTRAINT fk_{table}_{column}_{other} REFERENCES {other} (id)")
    where = sa.text(indexed) if indexed else None
    op.create_index(op.f(f"ix_{table}_{column}"), table, [column], sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    op.drop_index("ix_feedback_status_changes_reached", "feedback_status_changes")
    op.drop_index("ix_feedback_items_waiting", "feedback_items")
    op.drop_index("ix_feedback_items_counts", "feedback_items")
    op.execute("DELETE FROM feedback_votes WHERE copy_of_id IS NOT NULL")  # they would vote twice beside those they stand for
    with op.batch_alter_table("feedback_votes") as batch_op:
        batch_op.drop_constraint(batch_op.f("ck_feedback_votes_callchannel_known"), type_="check")
        batch_op.drop_column("channel")
        batch_op.drop_column("words")
        batch_op.drop_index(batch_op.f("ix_feedback_votes_copy_of_id"))
        batch_op.drop_column("copy_of_id")
    with op.batch_alter_table("feedback_items") as batch_op:
        batch_op.drop_index(batch_op.f("ix_feedback_items_merged_into_id"))
        batch_op.drop_index(batch_op.f("ix_feedback_items_assignee_id"))
        batch_op.drop_column("merged_into_id")
        batch_op.drop_column("assignee_id")
    for table in ("feedback_not_alike", "feedback_item_tags", "feedback_tags", "feedback_merges"):
        op.drop_table(table)
