"""Lists of each flag, segments, and the keys that sign tester tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("flags", sa.Column("lists", sa.Text(), nullable=True))
    op.create_table(
        "segments",
        sa.Column("environment", sa.String(length=100), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("users", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=True),
        sa.Column("updated_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("environment", "name", name=op.f("pk_segments")),
    )
    op.create_table(
        "force_keys",
        sa.Column("environment", sa.String(length=100), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("made_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("environment", name=op.f("pk_force_keys")),
    )


def downgrade() -> None:
    op.drop_table("force_keys")
    op.drop_table("segments")
    with op.batch_alter_table("flags") as batch:
        batch.drop_column("lists")
