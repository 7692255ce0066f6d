"""Contracts' regions and orders; suspensions that are over; invitations that were opened, and the mail they went out by.

Revision ID: 0006
Revises: 0005
"""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("contracts") as batch_op:
        batch_op.add_column(sa.Column("region", sa.String(length=60), nullable=False, server_default=""))
    with op.batch_alter_table("contracts") as batch_op:
        batch_op.alter_column("region", existing_type=sa.String(length=60), server_default=None)

    with op.batch_alter_table("terms") as batch_op:
        batch_op.add_column(sa.Column("order_reference", sa.String(length=80), nullable=False, server_default=""))
    with op.batch_alter_table("terms") as batch_op:
        batch_op.alter_column("order_reference", existing_type=sa.String(length=80), server_default=None)

    with op.batch_alter_table("invitations") as batch_op:
        batch_op.add_column(sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("notice_id", sa.Integer(), nullable=True))
        batch_op.create_foreign_key(batch_op.f("fk_invitations_notice_id_notices"), "notices", ["notice_id"], ["id"], ondelete="SET NULL")
        batch_op.create_index(batch_op.f("ix_invitations_notice_id"), ["notice_id"], unique=False)

    op.create_table(
        "suspensions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("contract_id", sa.Integer(), nullable=False),
        sa.Column("suspended_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resumed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("resumed_at >= suspended_at", name=op.f("ck_suspensions_resumed_after")),
        sa.ForeignKeyConstraint(["contract_id"], ["contracts.id"], name=op.f("fk_suspensions_contract_id_contracts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suspensions")),
    )
    with op.batch_alter_table("suspensions") as batch_op:
        batch_op.create_index(batch_op.f("ix_suspensions_contract_id"), ["contract_id"], unique=False)
    _fill_suspensions()


def _fill_suspensions() -> None:
    """Write down the suspensions that are over already: the audit log knows them."""
    instant = sa.DateTime(timezone=True)
    events = sa.table(
        "audit_events", sa.column("id"), sa.column("at", instant), sa.column("action"), sa.column("subject_type"), sa.column("subject_id")
    )
    suspensions = sa.table("suspensions", sa.column("contract_id"), sa.column("suspended_at", instant), sa.column("resumed_at", instant))
    wanted = (
        sa.select(events.c.subject_id, events.c.action, events.c.at)
        .where(events.c.subject_type == "contract", events.c.action.in_(["contract.suspended", "contract.resumed"]))
        .order_by(events.c.id)
    )
    since: dict[int, datetime] = {}
    over: list[dict[str, Any]] = []
    for contract_id, action, at in op.get_bind().execute(wanted):
        if action == "contract.suspended":
            since[contract_id] = at
        elif contract_id in since:
            began = since.pop(contract_id)
            over.append({"contract_id": contract_id, "suspended_at": began, "resumed_at": max(began, at)})
    if over:
        op.bulk_insert(suspensions, over)


def downgrade() -> None:
    op.drop_table("suspensions")
    with op.batch_alter_table("invitations") as batch_op:
        batch_op.drop_index(batch_op.f("ix_invitations_notice_id"))
        batch_op.drop_constraint(batch_op.f("fk_invitations_notice_id_notices"), type_="foreignkey")
        batch_op.drop_column("notice_id")
        batch_op.drop_column("opened_at")
    with op.batch_alter_table("terms") as batch_op:
        batch_op.drop_column("order_reference")
    with op.batch_alter_table("contracts") as batch_op:
        batch_op.drop_column("region")
