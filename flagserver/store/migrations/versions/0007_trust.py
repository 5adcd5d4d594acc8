"""Trust policies, the sessions of the jobs that they admit, and the tokens that were spent on them."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "trust_policies",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("environment", sa.String(length=100), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trust_policies")),
    )
    op.create_table(
        "sessions",
        sa.Column("selector", sa.String(length=40), nullable=False),
        sa.Column("verifier", sa.String(length=64), nullable=False),
        sa.Column("policy", sa.String(length=40), nullable=False),
        sa.Column("environment", sa.String(length=100), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("grant", sa.Text(), nullable=False),
        sa.Column("rollout", sa.String(length=40), nullable=True),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("until", sa.Float(53), nullable=False),
        sa.Column("ends_at", sa.Float(53), nullable=False),
        sa.Column("revoked_at", sa.Float(53), nullable=True),
        sa.PrimaryKeyConstraint("selector", name=op.f("pk_sessions")),
    )
    op.create_index("ix_sessions_until", "sessions", ["until"], unique=False)
    op.create_index("ix_sessions_policy", "sessions", ["policy"], unique=False)
    op.create_table(
        "spent_tokens",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("until", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_spent_tokens")),
    )
    op.create_index("ix_spent_tokens_until", "spent_tokens", ["until"], unique=False)


def downgrade() -> None:
    for table in ("spent_tokens", "sessions", "trust_policies"):
        op.drop_table(table)
