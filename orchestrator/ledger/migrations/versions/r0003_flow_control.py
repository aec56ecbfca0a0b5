"""How targets answer, which circuits are open, what of a limit is used up: for flow control."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the three tables; empty, they mean that every target is well."""
    sums = ("ended", "troubled", "writes", "spent_ms", "retry_at")
    op.create_table(
        "response",
        sa.Column("run", sa.String(length=16), nullable=False),
        sa.Column("phase", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("slot", sa.SmallInteger(), autoincrement=False, nullable=False),
        *(sa.Column(name, sa.BigInteger(), server_default="0", nullable=False) for name in sums),
        sa.PrimaryKeyConstraint("run", "phase", "slot"),
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "circuit",
        sa.Column("run", sa.String(length=16), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("pause_ms", sa.BigInteger(), nullable=False),
        sa.Column("probe_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run", "target"),
    )
    op.create_table(
        "allowance",
        sa.Column("run", sa.String(length=16), nullable=False),
        sa.Column("phase", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("items_until", sa.BigInteger(), nullable=False),
        sa.Column("bytes_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run", "phase"),
        postgresql_with={"fillfactor": 50},
    )
