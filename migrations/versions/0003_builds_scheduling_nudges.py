"""Kinds, signatures and damage of builds; scheduled releases; the way out of a withdrawn one; nudges; renewal requests.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "nudges",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("release_id", sa.Integer(), nullable=False),
        sa.Column("organization_id", sa.Integer(), nullable=False),
        sa.Column("notice_id", sa.Integer(), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_by_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["notice_id"], ["notices.id"], name=op.f("fk_nudges_notice_id_notices")),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_nudges_organization_id_organizations")),
        sa.ForeignKeyConstraint(["release_id"], ["releases.id"], name=op.f("fk_nudges_release_id_releases")),
        sa.ForeignKeyConstraint(["sent_by_id"], ["users.id"], name=op.f("fk_nudges_sent_by_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nudges")),
    )
    with op.batch_alter_table("nudges") as batch_op:
        batch_op.create_index(batch_op.f("ix_nudges_organization_id"), ["organization_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_nudges_release_id"), ["release_id"], unique=False)

    op.create_table(
        "renewal_requests",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("contract_id", sa.Integer(), nullable=False),
        sa.Column("term_ends_on", sa.Date(), nullable=False),
        sa.Column("asked_by_id", sa.Integer(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["asked_by_id"], ["users.id"], name=op.f("fk_renewal_requests_asked_by_id_users")),
        sa.ForeignKeyConstraint(["contract_id"], ["contracts.id"], name=op.f("fk_renewal_requests_contract_id_contracts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_renewal_requests")),
        sa.UniqueConstraint("contract_id", "term_ends_on", name=op.f("uq_renewal_requests_contract_id_term_ends_on")),
    )

    with op.batch_alter_table("builds") as batch_op:
        batch_op.add_column(
            sa.Column(
                "kind",
                sa.Enum(
                    "installer",
                    "portable",
                    "symbols",
                    "document",
                    name="buildkind_known",
                    native_enum=False,
                    create_constraint=True,
                    length=20,
                ),
                nullable=False,
                server_default="installer",
            )
        )
        batch_op.add_column(sa.Column("architecture", sa.String(length=40), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("blake2b", sa.String(length=128), nullable=True))
        batch_op.add_column(sa.Column("signature", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("damaged_at", sa.DateTime(timezone=True), nullable=True))

    # The defaults were for the rows that are there; new ones say what they are.
    with op.batch_alter_table("builds") as batch_op:
        batch_op.alter_column("kind", existing_type=sa.String(20), existing_nullable=False, server_default=None)
        batch_op.alter_column("architecture", existing_type=sa.String(40), existing_nullable=False, server_default=None)

    with op.batch_alter_table("products") as batch_op:
        batch_op.add_column(sa.Column("signing_key", sa.String(length=120), nullable=True))

    with op.batch_alter_table("releases") as batch_op:
        batch_op.add_column(sa.Column("scheduled_for", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("safe_release_id", sa.Integer(), nullable=True))
        batch_op.create_index(batch_op.f("ix_releases_scheduled_for"), ["scheduled_for"], unique=False)
        batch_op.create_foreign_key(batch_op.f("fk_releases_safe_release_id_releases"), "releases", ["safe_release_id"], ["id"])

        batch_op.drop_constraint(batch_op.f("ck_releases_releasestate_known"), type_="check")
        batch_op.create_check_constraint(
            batch_op.f("ck_releases_releasestate_known"), "state IN ('draft', 'scheduled', 'published', 'withdrawn')"
        )


def downgrade() -> None:
    op.execute("UPDATE releases SET state = 'draft' WHERE state = 'scheduled'")
    with op.batch_alter_table("releases") as batch_op:
        batch_op.drop_constraint(batch_op.f("ck_releases_releasestate_known"), type_="check")
        batch_op.create_check_constraint(batch_op.f("ck_releases_releasestate_known"), "state IN ('draft', 'published', 'withdrawn')")
        batch_op.drop_constraint(batch_op.f("fk_releases_safe_release_id_releases"), type_="foreignkey")
        batch_op.drop_index(batch_op.f("ix_releases_scheduled_for"))
        batch_op.drop_column("safe_release_id")
        batch_op.drop_column("scheduled_for")

    with op.batch_alter_table("products") as batch_op:
        batch_op.drop_column("signing_key")

    with op.batch_alter_table("builds") as batch_op:
        batch_op.drop_column("damaged_at")
        batch_op.drop_column("signature")
        batch_op.drop_column("blake2b")
        batch_op.drop_column("architecture")
        batch_op.drop_constraint(batch_op.f("ck_builds_buildkind_known"), type_="check")
        batch_op.drop_column("kind")

    with op.batch_alter_table("nudges") as batch_op:
        batch_op.drop_index(batch_op.f("ix_nudges_release_id"))
        batch_op.drop_index(batch_op.f("ix_nudges_organization_id"))

    op.drop_table("nudges")
    op.drop_table("renewal_requests")
