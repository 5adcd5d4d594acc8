"""Who waits for a flag, in the order in which they came."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "queue",
        sa.Column("environment", sa.String(length=100), nullable=False),
        sa.Column("flag", sa.String(length=200), nullable=False),
        sa.Column("key", sa.String(length=300), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("repository", sa.String(length=300), nullable=True),
        sa.Column("pull_request", sa.Integer(), nullable=True),
        sa.Column("ref", sa.String(length=300), nullable=True),
        sa.Column("run_url", sa.Text(), nullable=True),
        sa.Column("since", sa.Float(precision=53), nullable=False),
        sa.Column("asked_at", sa.Float(precision=53), nullable=False),
        sa.Column("replaced_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("environment", "flag", "key", name=op.f("pk_queue")),
    )


def downgrade() -> None:
    op.drop_table("queue")
