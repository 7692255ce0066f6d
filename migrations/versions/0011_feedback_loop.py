"""Followers, linked releases, verdicts, digest.

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "feedback_follows",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("wanted", sa.Boolean(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["feedback_items.id"], name=op.f("fk_feedback_follows_item_id_feedback_items")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_feedback_follows_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feedback_follows")),
        sa.UniqueConstraint("item_id", "user_id", name=op.f("uq_feedback_follows_item_id_user_id")),
    )
    op.create_index("ix_feedback_follows_person", "feedback_follows", ["user_id", "wanted", "changed_at"])

    op.create_table(
        "feedback_links",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("release_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by_id", sa.Integer(), nullable=True),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["created_by_id"], ["users.id"], name=op.f("fk_feedback_links_created_by_id_users")),
        sa.ForeignKeyConstraint(["item_id"], ["feedback_items.id"], name=op.f("fk_feedback_links_item_id_feedback_items")),
        sa.ForeignKeyConstraint(["release_id"], ["releases.id"], name=op.f("fk_feedback_links_release_id_releases")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feedback_links")),
        sa.UniqueConstraint("item_id", "release_id", name=op.f("uq_feedback_links_item_id_release_id")),
    )
    op.create_index(op.f("ix_feedback_links_release_id"), "feedback_links", ["release_id"])

    op.create_table(
        "feedback_verdicts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("release_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("contract_id", sa.Integer(), nullable=False),
        sa.Column(
            "answer",
            sa.Enum("yes", "partly", "no", name="answer_known", native_enum=False, create_constraint=True, length=20),
            nullable=False,
        ),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["contract_id"], ["contracts.id"], name=op.f("fk_feedback_verdicts_contract_id_contracts")),
        sa.ForeignKeyConstraint(["item_id"], ["feedback_items.id"], name=op.f("fk_feedback_verdicts_item_id_feedback_items")),
        sa.ForeignKeyConstraint(["release_id"], ["releases.id"], name=op.f("fk_feedback_verdicts_release_id_releases")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_feedback_verdicts_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feedback_verdicts")),
        sa.UniqueConstraint("item_id", "release_id", "user_id", name=op.f("uq_feedback_verdicts_item_id_release_id_user_id")),
    )
    for column in ("release_id", "user_id", "contract_id"):
        op.create_index(op.f(f"ix_feedback_verdicts_{column}"), "feedback_verdicts", [column])

    op.create_table(
        "feedback_updates",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum("status", "response", "comment", name="updatekind_known", native_enum=False, create_constraint=True, length=20),
            nullable=False,
        ),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by_id", sa.Integer(), nullable=True),
        sa.Column(
            "status",
            sa.Enum(
                "under_review", "planned", "in_beta", "shipped", "declined",
                name="status_known", native_enum=False, create_constraint=True, length=20,
            ),
            nullable=True,
        ),
        sa.Column("version", sa.String(length=60), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("who", sa.String(length=320), nullable=False),
        sa.Column("beta", sa.Boolean(), nullable=False),
        sa.Column("told_by_id", sa.Integer(), nullable=True),
        sa.Column("notice_id", sa.Integer(), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["by_id"], ["users.id"], name=op.f("fk_feedback_updates_by_id_users")),
        sa.ForeignKeyConstraint(["item_id"], ["feedback_items.id"], name=op.f("fk_feedback_updates_item_id_feedback_items")),
        sa.ForeignKeyConstraint(["notice_id"], ["notices.id"], name=op.f("fk_feedback_updates_notice_id_notices")),
        sa.ForeignKeyConstraint(["told_by_id"], ["notices.id"], name=op.f("fk_feedback_updates_told_by_id_notices")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feedback_updates")),
    )  # fmt: skip
    op.create_index(op.f("ix_feedback_updates_notice_id"), "feedback_updates", ["notice_id"])
    op.create_index(
        "ix_feedback_updates_waiting", "feedback_updates", ["item_id"],
        sqlite_where=sa.text("settled_at IS NULL"), postgresql_where=sa.text("settled_at IS NULL"),
    )  # fmt: skip

    op.create_table(
        "feedback_mailed",
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("comments_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["item_id"], ["feedback_items.id"], name=op.f("fk_feedback_mailed_item_id_feedback_items")),
        sa.PrimaryKeyConstraint("item_id", name=op.f("pk_feedback_mailed")),
    )
    op.create_table(
        "feedback_digest_choices",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("wanted", sa.Boolean(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_feedback_digest_choices_user_id_users")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_feedback_digest_choices")),
    )
    # A scheduled release marks its items with nobody at the keyboard.
    with op.batch_alter_table("feedback_status_changes") as batch_op:
        batch_op.alter_column("by_id", existing_type=sa.Integer(), nullable=True)
    # Authors were told until now, and go on to be told.
    op.execute(
        "INSERT INTO feedback_follows (item_id, user_id, wanted, changed_at) SELECT id, author_id, true, created_at FROM feedback_items"
    )
    # What stands in a release already is linked to it. Nobody is asked about it anew.
    op.execute(
        "INSERT INTO feedback_links (item_id, release_id, created_at, asked_at) "
        "SELECT id, status_release_id, changed_at, changed_at FROM feedback_items "
        "WHERE status_release_id IS NOT NULL AND status IN ('in_beta', 'shipped')"
    )


def downgrade() -> None:
    op.execute("UPDATE feedback_status_changes SET by_id = (SELECT MIN(id) FROM users) WHERE by_id IS NULL")
    with op.batch_alter_table("feedback_status_changes") as batch_op:
        batch_op.alter_column("by_id", existing_type=sa.Integer(), nullable=False)
    for table in ("digest_choices", "mailed", "updates", "verdicts", "links", "follows"):
        op.drop_table(f"feedback_{table}")
