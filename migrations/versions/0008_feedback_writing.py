"""Attachments, drafts and edits of feedback.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "feedback_editions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(length=160), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("by_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["by_id"], ["users.id"], name=op.f("fk_feedback_editions_by_id_users")),
        sa.ForeignKeyConstraint(["item_id"], ["feedback_items.id"], name=op.f("fk_feedback_editions_item_id_feedback_items")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feedback_editions")),
        sa.UniqueConstraint("item_id", "number", name=op.f("uq_feedback_editions_item_id_number")),
    )

    op.create_table(
        "feedback_drafts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=True),
        sa.Column(
            "purpose",
            sa.Enum("item", "comment", "edit", "form", name="draftpurpose_known", native_enum=False, create_constraint=True, length=20),
            nullable=False,
        ),
        sa.Column("item_id", sa.Integer(), nullable=True),
        sa.Column("fields", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["feedback_items.id"], name=op.f("fk_feedback_drafts_item_id_feedback_items")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_feedback_drafts_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feedback_drafts")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_feedback_drafts_token_hash")),
    )
    with op.batch_alter_table("feedback_drafts") as batch_op:
        batch_op.create_index(batch_op.f("ix_feedback_drafts_created_at"), ["created_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_feedback_drafts_item_id"), ["item_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_feedback_drafts_user_id"), ["user_id"], unique=False)

    op.create_table(
        "feedback_attachments",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Integer(), nullable=True),
        sa.Column("comment_id", sa.Integer(), nullable=True),
        sa.Column("draft_id", sa.Integer(), nullable=True),
        sa.Column("organization_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("filename", sa.String(length=200), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(item_id IS NULL) <> (draft_id IS NULL)", name=op.f("ck_feedback_attachments_in_one_place")),
        sa.CheckConstraint("comment_id IS NULL OR item_id IS NOT NULL", name=op.f("ck_feedback_attachments_comment_of_item")),
        sa.ForeignKeyConstraint(
            ["comment_id"], ["feedback_comments.id"], name=op.f("fk_feedback_attachments_comment_id_feedback_comments")
        ),
        sa.ForeignKeyConstraint(["draft_id"], ["feedback_drafts.id"], name=op.f("fk_feedback_attachments_draft_id_feedback_drafts")),
        sa.ForeignKeyConstraint(["item_id"], ["feedback_items.id"], name=op.f("fk_feedback_attachments_item_id_feedback_items")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_feedback_attachments_organization_id_organizations")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_feedback_attachments_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feedback_attachments")),
    )
    with op.batch_alter_table("feedback_attachments") as batch_op:
        for column in ("item_id", "comment_id", "draft_id", "organization_id", "user_id", "sha256"):
            batch_op.create_index(batch_op.f(f"ix_feedback_attachments_{column}"), [column], unique=False)

    op.create_index("ix_feedback_items_all_responded_at", "feedback_items", ["responded_at", "id"])
    op.create_index("ix_feedback_items_product_responded_at", "feedback_items", ["product_id", "responded_at", "id"])


def downgrade() -> None:
    op.drop_index("ix_feedback_items_product_responded_at", "feedback_items")
    op.drop_index("ix_feedback_items_all_responded_at", "feedback_items")
    op.drop_table("feedback_attachments")
    op.drop_table("feedback_drafts")
    op.drop_table("feedback_editions")
