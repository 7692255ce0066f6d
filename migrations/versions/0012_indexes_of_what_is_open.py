"""Of deliveries, only those that wait or are in a worker's hands are in the indexes that find these.

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

WAITS = sa.text("next_attempt_at IS NOT NULL")
HELD = sa.text("lease_id IS NOT NULL")


def upgrade() -> None:
    op.drop_index("ix_deliveries_due", "deliveries")
    op.drop_index("ix_deliveries_lease_id", "deliveries")
    op.create_index("ix_deliveries_due", "deliveries", ["urgent", "next_attempt_at", "id"], sqlite_where=WAITS, postgresql_where=WAITS)
    op.create_index("ix_deliveries_lease_id", "deliveries", ["lease_id"], sqlite_where=HELD, postgresql_where=HELD)


def downgrade() -> None:
    op.drop_index("ix_deliveries_due", "deliveries")
    op.drop_index("ix_deliveries_lease_id", "deliveries")
    op.create_index("ix_deliveries_due", "deliveries", ["urgent", "next_attempt_at", "id"])
    op.create_index("ix_deliveries_lease_id", "deliveries", ["lease_id"])
