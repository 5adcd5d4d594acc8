"""GitHub's number of a rollout's repository: its name may change in mid-ramp."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rollouts", sa.Column("repository_id", sa.String(length=40), nullable=True))


def downgrade() -> None:
    op.drop_column("rollouts", "repository_id")
