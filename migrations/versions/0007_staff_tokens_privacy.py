"""Staff tokens, the audit log's origin, retention.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# What nobody may change, not even to erase a person, is all but names, addresses and details.
SQLITE = (
    "CREATE TRIGGER audit_events_fixed BEFORE UPDATE OF id, at, actor_id, action, subject_type, subject_id, person_id, source ON audit_events "
    "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END",
    "CREATE TRIGGER audit_events_unchanged BEFORE UPDATE ON audit_events WHEN NOT EXISTS (SELECT 1 FROM audit_openings) "
    "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END",
    "CREATE TRIGGER audit_events_kept BEFORE DELETE ON audit_events WHEN NOT EXISTS (SELECT 1 FROM audit_openings) "
    "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END",
)
POSTGRESQL = (
    """CREATE FUNCTION audit_events_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' OR NOT EXISTS (SELECT 1 FROM audit_openings) THEN
        RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'restrict_violation';
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    IF ROW(NEW.id, NEW.at, NEW.actor_id, NEW.action, NEW.subject_type, NEW.subject_id, NEW.person_id, NEW.source) IS DISTINCT FROM
       ROW(OLD.id, OLD.at, OLD.actor_id, OLD.action, OLD.subject_type, OLD.subject_id, OLD.person_id, OLD.source) THEN
        RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$""",
    "CREATE TRIGGER audit_events_guard BEFORE UPDATE OR DELETE ON audit_events FOR EACH ROW EXECUTE FUNCTION audit_events_guard()",
    "CREATE TRIGGER audit_events_whole BEFORE TRUNCATE ON audit_events FOR EACH STATEMENT EXECUTE FUNCTION audit_events_guard()",
)


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    _log(dialect)
    op.create_table(
        "staff_tokens",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("label", sa.String(length=80), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_staff_tokens_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_staff_tokens")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_staff_tokens_token_hash")),
    )
    op.create_index(op.f("ix_staff_tokens_user_id"), "staff_tokens", ["user_id"])
    op.create_table(
        "erased_suppressions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("address_hash", sa.String(length=64), nullable=False),
        sa.Column("cause", sa.String(length=20), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erased_suppressions")),
        sa.UniqueConstraint("address_hash", name=op.f("uq_erased_suppressions_address_hash")),
    )
    op.add_column("users", sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("downloads", sa.Column("address", sa.String(length=45), nullable=True))


def _log(dialect: str) -> None:
    op.create_table(
        "audit_openings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_openings")),
    )
    with op.batch_alter_table("audit_events") as batch_op:
        batch_op.add_column(sa.Column("person_id", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("source", sa.String(length=120), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("address", sa.String(length=45), nullable=True))
    with op.batch_alter_table("audit_events") as batch_op:
        batch_op.alter_column("source", server_default=None, existing_type=sa.String(length=120), existing_nullable=False)
    op.create_index(op.f("ix_audit_events_person_id"), "audit_events", ["person_id"])
    op.execute("UPDATE audit_events SET person_id = subject_id WHERE subject_type = 'user'")
    if dialect == "postgresql":
        op.execute("UPDATE audit_events SET person_id = CAST(details ->> 'user_id' AS INTEGER) WHERE details ->> 'user_id' IS NOT NULL")
    else:
        op.execute("UPDATE audit_events SET person_id = json_extract(details, '$.user_id') WHERE json_extract(details, '$.user_id') > 0")
    for statement in POSTGRESQL if dialect == "postgresql" else SQLITE:
        op.execute(statement)


def downgrade() -> None:
    op.drop_column("downloads", "address")
    op.drop_column("users", "erased_at")
    op.drop_table("erased_suppressions")
    op.drop_index(op.f("ix_staff_tokens_user_id"), table_name="staff_tokens")
    op.drop_table("staff_tokens")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER audit_events_whole ON audit_events")
        op.execute("DROP TRIGGER audit_events_guard ON audit_events")
        op.execute("DROP FUNCTION audit_events_guard()")
    else:
        for name in ("fixed", "unchanged", "kept"):
            op.execute(f"DROP TRIGGER audit_events_{name}")
    op.drop_index(op.f("ix_audit_events_person_id"), table_name="audit_events")
    with op.batch_alter_table("audit_events") as batch_op:
        batch_op.drop_column("address")
        batch_op.drop_column("source")
        batch_op.drop_column("person_id")
    op.drop_table("audit_openings")
