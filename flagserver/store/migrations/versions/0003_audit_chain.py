"""The audit log says where a change came from, is chained, and refuses to be changed."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("key", sa.String(length=40)),
    ("request", sa.String(length=64)),
    ("run", sa.Text()),
    ("via", sa.String(length=200)),
    ("flag", sa.String(length=200)),
    ("rollout", sa.String(length=40)),
    ("hash", sa.String(length=64)),
)

_FLOOR = "COALESCE((SELECT version FROM versions WHERE name = 'audit:floor'), 0)"

_SQLITE = (
    """CREATE TRIGGER audit_unchanged BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is only added to'); END""",
    f"""CREATE TRIGGER audit_kept BEFORE DELETE ON audit WHEN OLD.number >= {_FLOOR}
    BEGIN SELECT RAISE(ABORT, 'the audit log is only added to'); END""",
)

_POSTGRES = (
    f"""CREATE FUNCTION audit_guard() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' AND OLD.number < {_FLOOR} THEN RETURN OLD; END IF;
        RAISE EXCEPTION 'the audit log is only added to' USING ERRCODE = 'integrity_constraint_violation';
    END $$""",
    "CREATE TRIGGER audit_guard BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_guard()",
)


def upgrade() -> None:
    for name, kind in _COLUMNS:
        op.add_column("audit", sa.Column(name, kind, nullable=True))
    op.create_index("ix_audit_flag", "audit", ["environment", "flag"], unique=False)
    op.create_index("ix_audit_rollout", "audit", ["rollout"], unique=False)
    op.create_index("ix_telemetry_minute", "telemetry", ["environment", "flag", "bucket"], unique=False)
    for statement in _POSTGRES if op.get_bind().dialect.name == "postgresql" else _SQLITE:
        op.execute(statement)


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER audit_guard ON audit")
        op.execute("DROP FUNCTION audit_guard()")
    else:
        op.execute("DROP TRIGGER audit_unchanged")
        op.execute("DROP TRIGGER audit_kept")
    op.drop_index("ix_telemetry_minute", "telemetry")
    op.drop_index("ix_audit_rollout", "audit")
    op.drop_index("ix_audit_flag", "audit")
    with op.batch_alter_table("audit") as batch:
        for name, _ in _COLUMNS:
            batch.drop_column(name)
