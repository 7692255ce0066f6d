"""Pauses, leases of their own, compiled mails, requests to subscribe, announcements.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "domain_pauses",
        sa.Column("domain", sa.String(length=254), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("pauses", sa.Integer(), nullable=False),
        sa.Column("reply", sa.String(length=500), nullable=True),
        sa.PrimaryKeyConstraint("domain", name=op.f("pk_domain_pauses")),
    )
    op.create_table(
        "leases",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_leases")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("leases") as batch_op:
        batch_op.create_index(batch_op.f("ix_leases_expires_at"), ["expires_at"], unique=False)

    op.create_table(
        "subscription_requests",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("product_id", sa.Integer(), nullable=True),
        sa.Column("notice_id", sa.Integer(), nullable=False),
        sa.Column("topics", sa.JSON(), nullable=False),
        sa.Column("nonce", sa.String(length=64), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["notice_id"], ["notices.id"], name=op.f("fk_subscription_requests_notice_id_notices")),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name=op.f("fk_subscription_requests_product_id_products")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_subscription_requests_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscription_requests")),
        sa.UniqueConstraint("notice_id", "user_id", name=op.f("uq_subscription_requests_notice_id_user_id")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_subscription_requests_token_hash")),
    )
    with op.batch_alter_table("subscription_requests") as batch_op:
        batch_op.create_index(batch_op.f("ix_subscription_requests_user_id"), ["user_id"], unique=False)

    op.create_table(
        "announcements",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("subject", sa.String(length=150), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("product_id", sa.Integer(), nullable=False),
        sa.Column("audience", sa.String(length=40), nullable=False),
        sa.Column(
            "topic",
            sa.Enum(
                "beta", "point", "minor", "major", "feedback", name="topic_known", native_enum=False, create_constraint=True, length=20
            ),
            nullable=True,
        ),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by_id", sa.Integer(), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("notice_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["created_by_id"], ["users.id"], name=op.f("fk_announcements_created_by_id_users")),
        sa.ForeignKeyConstraint(["notice_id"], ["notices.id"], name=op.f("fk_announcements_notice_id_notices")),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name=op.f("fk_announcements_product_id_products")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_announcements")),
        sa.UniqueConstraint("notice_id", name=op.f("uq_announcements_notice_id")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("announcements") as batch_op:
        batch_op.create_index(batch_op.f("ix_announcements_product_id"), ["product_id"], unique=False)

    with op.batch_alter_table("access_tokens") as batch_op:
        batch_op.add_column(
            sa.Column(
                "purpose",
                sa.Enum("download", "feed", name="tokenpurpose_known", native_enum=False, create_constraint=True, length=20),
                nullable=False,
                server_default="download",
            )
        )

    with op.batch_alter_table("deliveries") as batch_op:
        batch_op.add_column(sa.Column("domain", sa.String(length=254), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("attempted_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("lease_id", sa.Integer(), nullable=True))
        batch_op.alter_column("next_attempt_at", existing_type=sa.DateTime(timezone=True), nullable=True)
        batch_op.drop_index(batch_op.f("ix_deliveries_lease"))
        batch_op.drop_index(batch_op.f("ix_deliveries_due"))
        batch_op.create_index("ix_deliveries_due", ["urgent", "next_attempt_at", "id"], unique=False)
        batch_op.drop_index("ix_deliveries_notice_state")
        batch_op.create_index("ix_deliveries_notice_state", ["notice_id", "state", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_deliveries_lease_id"), ["lease_id"], unique=False)
        batch_op.create_foreign_key(batch_op.f("fk_deliveries_lease_id_leases"), "leases", ["lease_id"], ["id"])
        batch_op.drop_column("lease")
        batch_op.drop_column("leased_until")

    with op.batch_alter_table("notices") as batch_op:
        batch_op.add_column(sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("pause_reason", sa.String(length=300), nullable=True))
        batch_op.add_column(sa.Column("compiled", sa.JSON(), nullable=True))

    with op.batch_alter_table("suppressions") as batch_op:
        batch_op.add_column(
            sa.Column(
                "cause",
                sa.Enum(
                    "returned", "refused", "staff", name="suppressioncause_known", native_enum=False, create_constraint=True, length=20
                ),
                nullable=False,
                server_default="staff",
            )
        )
        batch_op.add_column(sa.Column("delivery_id", sa.Integer(), nullable=True))
        batch_op.create_foreign_key(batch_op.f("fk_suppressions_delivery_id_deliveries"), "deliveries", ["delivery_id"], ["id"])
    with op.batch_alter_table("users") as batch_op:
        batch_op.add_column(sa.Column("provisional", sa.Boolean(), nullable=False, server_default=sa.false()))
    # The defaults were for the rows that are there; new ones say what they are.
    with op.batch_alter_table("access_tokens") as batch_op:
        batch_op.alter_column("purpose", existing_type=sa.String(20), existing_nullable=False, server_default=None)
    with op.batch_alter_table("deliveries") as batch_op:
        batch_op.alter_column("domain", existing_type=sa.String(254), existing_nullable=False, server_default=None)
    with op.batch_alter_table("suppressions") as batch_op:
        batch_op.alter_column("cause", existing_type=sa.String(20), existing_nullable=False, server_default=None)
    with op.batch_alter_table("users") as batch_op:
        batch_op.alter_column("provisional", existing_type=sa.Boolean(), existing_nullable=False, server_default=None)

    position = sa.func.instr if op.get_bind().dialect.name == "sqlite" else sa.func.strpos
    deliveries = sa.table("deliveries", sa.column("address", sa.String), sa.column("domain", sa.String))
    address = deliveries.c.address
    op.execute(deliveries.update().values(domain=sa.func.lower(sa.func.substr(address, position(address, "@") + 1))))
    op.execute("UPDATE deliveries SET state = CASE WHEN attempts > 0 THEN 'deferred' ELSE 'queued' END WHERE state = 'sending'")
    op.execute("UPDATE deliveries SET next_attempt_at = NULL WHERE state NOT IN ('queued', 'deferred')")


def downgrade() -> None:
    with op.batch_alter_table("users") as batch_op:
        batch_op.drop_column("provisional")
    op.execute("UPDATE deliveries SET next_attempt_at = created_at WHERE next_attempt_at IS NULL")
    op.execute("UPDATE deliveries SET state = 'queued', lease_id = NULL WHERE state = 'sending'")
    with op.batch_alter_table("suppressions") as batch_op:
        batch_op.drop_constraint(batch_op.f("fk_suppressions_delivery_id_deliveries"), type_="foreignkey")
        batch_op.drop_column("delivery_id")
        batch_op.drop_constraint(batch_op.f("ck_suppressions_suppressioncause_known"), type_="check")
        batch_op.drop_column("cause")

    with op.batch_alter_table("notices") as batch_op:
        batch_op.drop_column("compiled")
        batch_op.drop_column("pause_reason")
        batch_op.drop_column("paused_at")

    with op.batch_alter_table("deliveries") as batch_op:
        batch_op.add_column(sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("lease", sa.String(length=64), nullable=True))
        batch_op.drop_constraint(batch_op.f("fk_deliveries_lease_id_leases"), type_="foreignkey")
        batch_op.drop_index(batch_op.f("ix_deliveries_lease_id"))
        batch_op.drop_index("ix_deliveries_due")
        batch_op.create_index(batch_op.f("ix_deliveries_due"), ["state", "next_attempt_at"], unique=False)
        batch_op.drop_index("ix_deliveries_notice_state")
        batch_op.create_index("ix_deliveries_notice_state", ["notice_id", "state"], unique=False)
        batch_op.create_index(batch_op.f("ix_deliveries_lease"), ["lease"], unique=False)
        batch_op.alter_column("next_attempt_at", existing_type=sa.DateTime(timezone=True), nullable=False)
        batch_op.drop_column("lease_id")
        batch_op.drop_column("attempted_at")
        batch_op.drop_column("domain")

    with op.batch_alter_table("access_tokens") as batch_op:
        batch_op.drop_constraint(batch_op.f("ck_access_tokens_tokenpurpose_known"), type_="check")
        batch_op.drop_column("purpose")

    with op.batch_alter_table("announcements") as batch_op:
        batch_op.drop_index(batch_op.f("ix_announcements_product_id"))

    op.drop_table("announcements")
    with op.batch_alter_table("subscription_requests") as batch_op:
        batch_op.drop_index(batch_op.f("ix_subscription_requests_user_id"))

    op.drop_table("subscription_requests")
    with op.batch_alter_table("leases") as batch_op:
        batch_op.drop_index(batch_op.f("ix_leases_expires_at"))

    op.drop_table("leases")
    op.drop_table("domain_pauses")
