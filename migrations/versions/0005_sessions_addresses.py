"""When sessions were last confirmed, known devices, changes of address, counts of what was tried.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    instant = sa.DateTime(timezone=True)
    with op.batch_alter_table("user_sessions") as batch_op:
        batch_op.add_column(sa.Column("confirmed_at", instant, nullable=True))
    op.execute("UPDATE user_sessions SET confirmed_at = created_at")
    with op.batch_alter_table("user_sessions") as batch_op:
        batch_op.alter_column("confirmed_at", existing_type=instant, nullable=False)

    op.create_table(
        "known_devices",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("created_at", instant, nullable=False),
        sa.Column("last_seen_at", instant, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_known_devices_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_known_devices")),
        sa.UniqueConstraint("user_id", "token_hash", name=op.f("uq_known_devices_user_id_token_hash")),
    )
    with op.batch_alter_table("known_devices") as batch_op:
        batch_op.create_index(batch_op.f("ix_known_devices_last_seen_at"), ["last_seen_at"], unique=False)

    op.create_table(
        "email_changes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("old_email", sa.String(length=254), nullable=False),
        sa.Column("new_email", sa.String(length=254), nullable=False),
        sa.Column("nonce", sa.String(length=64), nullable=False),
        sa.Column("old_token_hash", sa.String(length=64), nullable=False),
        sa.Column("new_token_hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", instant, nullable=False),
        sa.Column("expires_at", instant, nullable=False),
        sa.Column("old_confirmed_at", instant, nullable=True),
        sa.Column("new_confirmed_at", instant, nullable=True),
        sa.Column("closed_at", instant, nullable=True),
        sa.Column("outcome", sa.String(length=20), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_email_changes_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_email_changes")),
        sa.UniqueConstraint("new_token_hash", name=op.f("uq_email_changes_new_token_hash")),
        sa.UniqueConstraint("old_token_hash", name=op.f("uq_email_changes_old_token_hash")),
    )
    with op.batch_alter_table("email_changes") as batch_op:
        batch_op.create_index(batch_op.f("ix_email_changes_user_id"), ["user_id"], unique=False)
        batch_op.create_index(
            "uq_email_changes_open",
            ["user_id"],
            unique=True,
            sqlite_where=sa.text("closed_at IS NULL"),
            postgresql_where=sa.text("closed_at IS NULL"),
        )

    op.create_table(
        "rate_counts",
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("expires_at", instant, nullable=False),
        sa.PrimaryKeyConstraint("key_hash", name=op.f("pk_rate_counts")),
    )
    with op.batch_alter_table("rate_counts") as batch_op:
        batch_op.create_index(batch_op.f("ix_rate_counts_expires_at"), ["expires_at"], unique=False)


def downgrade() -> None:
    op.drop_table("rate_counts")
    op.drop_table("email_changes")
    op.drop_table("known_devices")
    with op.batch_alter_table("user_sessions") as batch_op:
        batch_op.drop_column("confirmed_at")
