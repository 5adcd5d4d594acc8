"""The users of each arm, and the key that hides them."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rollouts", sa.Column("hash_key", sa.String(length=64), nullable=True))
    rollouts = sa.table("rollouts", sa.column("number", sa.BigInteger), sa.column("hash_key", sa.String))
    connection = op.get_bind()
    for (number,) in connection.execute(sa.select(rollouts.c.number)).all():
        key = secrets.token_hex(16)
        connection.execute(sa.update(rollouts).where(rollouts.c.number == number).values(hash_key=key))
    op.create_table(
        "telemetry_users",
        sa.Column("environment", sa.String(length=100), nullable=False),
        sa.Column("flag", sa.String(length=200), nullable=False),
        sa.Column("rollout", sa.String(length=40), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("variant", sa.String(length=200), nullable=False),
        sa.Column("bucket", sa.BigInteger(), nullable=False),
        sa.Column("sketch", sa.LargeBinary(), nullable=True),
        sa.Column("hashes", sa.LargeBinary(), nullable=True),
        sa.Column("active_users", sa.BigInteger(), nullable=False),
        sa.Column("affected_users", sa.BigInteger(), nullable=False),
        sa.Column("whole", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint(
            "environment", "flag", "rollout", "attempt", "variant", "bucket", name=op.f("pk_telemetry_users")
        ),
    )
    op.create_index("ix_telemetry_users_bucket", "telemetry_users", ["bucket"], unique=False)
    op.create_index("ix_telemetry_users_rollout", "telemetry_users", ["rollout", "attempt", "variant"], unique=False)


def downgrade() -> None:
    op.drop_table("telemetry_users")
    with op.batch_alter_table("rollouts") as batch:
        batch.drop_column("hash_key")
