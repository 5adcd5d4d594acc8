"""Keys that end, that are used from browsers, and whose last use is known."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("keys", sa.Column("expires_at", sa.Float(53), nullable=True))
    op.add_column("keys", sa.Column("last_used_at", sa.Float(53), nullable=True))
    op.add_column("keys", sa.Column("replaces", sa.String(length=40), nullable=True))
    op.add_column("keys", sa.Column("origins", sa.Text(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("keys") as batch:
        for name in ("origins", "replaces", "last_used_at", "expires_at"):
            batch.drop_column(name)
