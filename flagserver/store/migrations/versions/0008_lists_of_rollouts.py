"""Lists of rollouts stay fast, whatever they are asked by; a refused version can be allowed again."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_INDEXES = (
    ("ix_rollouts_environment", ["environment", "number"]),
    ("ix_rollouts_sha", ["sha"]),
    ("ix_rollouts_pull_request", ["repository", "pull_request"]),
    ("ix_rollouts_needs_hands", ["needs_hands", "active"]),
)


def upgrade() -> None:
    for name, columns in _INDEXES:
        op.create_index(name, "rollouts", columns, unique=False)
    op.add_column("rollouts", sa.Column("allowed_by", sa.Text(), nullable=True))


def downgrade() -> None:
    for name, _ in _INDEXES:
        op.drop_index(name, "rollouts")
    with op.batch_alter_table("rollouts") as batch:
        batch.drop_column("allowed_by")
