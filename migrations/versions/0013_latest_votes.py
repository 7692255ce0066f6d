"""The latest votes for an item are found without reading all of them.

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

LIVE = sa.text("withdrawn_at IS NULL")


def upgrade() -> None:
    op.create_index(
        "ix_feedback_votes_latest", "feedback_votes", ["item_id", "id", "contract_id"], sqlite_where=LIVE, postgresql_where=LIVE
    )


def downgrade() -> None:
    op.drop_index("ix_feedback_votes_latest", "feedback_votes")
