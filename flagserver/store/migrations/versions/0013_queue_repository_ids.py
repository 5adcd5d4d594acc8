"""GitHub's number of the repository that waits: its name may change meanwhile."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("queue", sa.Column("repository_id", sa.String(length=40), nullable=True))


def downgrade() -> None:
    op.drop_column("queue", "repository_id")
