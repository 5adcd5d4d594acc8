"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _versions()
    _flags()
    _rollouts()
    _rollout_events()
    _telemetry()
    _latencies()
    _telemetry_batches()
    _keys()
    _audit()


def _versions() -> None:
    op.create_table(
        "versions",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_versions")),
    )


def _flags() -> None:
    op.create_table(
        "flags",
        sa.Column("environment", sa.String(length=100), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("stable_name", sa.String(length=100), nullable=True),
        sa.Column("stable_version", sa.Text(), nullable=True),
        sa.Column("idle_name", sa.String(length=100), nullable=True),
        sa.Column("idle_version", sa.Text(), nullable=True),
        sa.Column("updated_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("environment", "key", name=op.f("pk_flags")),
    )


def _rollouts() -> None:
    op.create_table(
        "rollouts",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("environment", sa.String(length=100), nullable=False),
        sa.Column("flag", sa.String(length=200), nullable=False),
        sa.Column("key", sa.String(length=300), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("canary_name", sa.String(length=100), nullable=False),
        sa.Column("stable_name", sa.String(length=100), nullable=False),
        sa.Column("stable_version", sa.Text(), nullable=True),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("sha", sa.String(length=100), nullable=True),
        sa.Column("repository", sa.String(length=300), nullable=True),
        sa.Column("pull_request", sa.Integer(), nullable=True),
        sa.Column("run_url", sa.Text(), nullable=True),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("phase", sa.String(length=20), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("needs_hands", sa.Boolean(), nullable=False),
        sa.Column("refuses_version", sa.Boolean(), nullable=False),
        sa.Column("next_deadline", sa.Float(precision=53), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("clear_at", sa.Float(precision=53), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("attempt_at", sa.Float(precision=53), nullable=False),
        sa.Column("updated_at", sa.Float(precision=53), nullable=False),
        sa.Column("superseded_by", sa.String(length=40), nullable=True),
        sa.ForeignKeyConstraint(
            ["environment", "flag"],
            ["flags.environment", "flags.key"],
            name=op.f("fk_rollouts_environment"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_rollouts")),
        sa.UniqueConstraint("id", name=op.f("uq_rollouts_id")),
    )
    op.create_index(
        "ix_rollouts_active",
        "rollouts",
        ["environment", "flag"],
        unique=True,
        sqlite_where=sa.text("active"),
        postgresql_where=sa.text("active"),
    )
    op.create_index("ix_rollouts_key", "rollouts", ["environment", "flag", "key"], unique=True)
    op.create_index("ix_rollouts_next_deadline", "rollouts", ["next_deadline"], unique=False)


def _rollout_events() -> None:
    op.create_table(
        "rollout_events",
        sa.Column("rollout", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("event_id", sa.String(length=200), nullable=True),
        sa.Column("at", sa.Float(precision=53), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("verb", sa.String(length=20), nullable=False),
        sa.Column("phase", sa.String(length=20), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("share", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("actions", sa.Text(), nullable=False),
        sa.Column("refusal", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["rollout"], ["rollouts.id"], name=op.f("fk_rollout_events_rollout"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("rollout", "number", name=op.f("pk_rollout_events")),
    )
    op.create_index("ix_rollout_events_event_id", "rollout_events", ["rollout", "event_id"], unique=True)


def _telemetry() -> None:
    op.create_table(
        "telemetry",
        sa.Column("environment", sa.String(length=100), nullable=False),
        sa.Column("flag", sa.String(length=200), nullable=False),
        sa.Column("rollout", sa.String(length=40), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("variant", sa.String(length=200), nullable=False),
        sa.Column("bucket", sa.BigInteger(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("errors", sa.BigInteger(), nullable=False),
        sa.Column("exposures", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "environment", "flag", "rollout", "attempt", "variant", "bucket", name=op.f("pk_telemetry")
        ),
    )
    op.create_index("ix_telemetry_bucket", "telemetry", ["bucket"], unique=False)
    op.create_index("ix_telemetry_rollout", "telemetry", ["rollout", "attempt", "variant"], unique=False)


def _latencies() -> None:
    op.create_table(
        "latencies",
        sa.Column("environment", sa.String(length=100), nullable=False),
        sa.Column("flag", sa.String(length=200), nullable=False),
        sa.Column("rollout", sa.String(length=40), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("variant", sa.String(length=200), nullable=False),
        sa.Column("bucket", sa.BigInteger(), nullable=False),
        sa.Column("below_ms", sa.Float(precision=53), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "environment", "flag", "rollout", "attempt", "variant", "bucket", "below_ms", name=op.f("pk_latencies")
        ),
    )
    op.create_index("ix_latencies_bucket", "latencies", ["bucket"], unique=False)


def _telemetry_batches() -> None:
    op.create_table(
        "telemetry_batches",
        sa.Column("environment", sa.String(length=100), nullable=False),
        sa.Column("batch", sa.String(length=100), nullable=False),
        sa.Column("client", sa.String(length=200), nullable=False),
        sa.Column("at", sa.Float(precision=53), nullable=False),
        sa.Column("dropped", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("environment", "batch", name=op.f("pk_telemetry_batches")),
    )
    op.create_index("ix_telemetry_batches_at", "telemetry_batches", ["environment", "at"], unique=False)


def _keys() -> None:
    op.create_table(
        "keys",
        sa.Column("selector", sa.String(length=40), nullable=False),
        sa.Column("verifier", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("environment", sa.String(length=100), nullable=True),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("revoked_at", sa.Float(precision=53), nullable=True),
        sa.PrimaryKeyConstraint("selector", name=op.f("pk_keys")),
    )


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", sa.Float(precision=53), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.String(length=60), nullable=False),
        sa.Column("environment", sa.String(length=100), nullable=True),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("before", sa.Text(), nullable=True),
        sa.Column("after", sa.Text(), nullable=True),
        sa.Column("why", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit")),
    )
    op.create_index("ix_audit_at", "audit", ["at"], unique=False)


def downgrade() -> None:
    op.drop_table("audit")
    op.drop_table("keys")
    op.drop_table("telemetry_batches")
    op.drop_table("latencies")
    op.drop_table("telemetry")
    op.drop_table("rollout_events")
    op.drop_table("rollouts")
    op.drop_table("flags")
    op.drop_table("versions")
