"""Attempts that ended with their worker while it had a copy in its hands."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only add: a release that knows nothing of it fails such units alone, as before."""
    op.create_table(
        "death",
        sa.Column("batch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("run", sa.String(length=16), nullable=False),
        sa.Column("phase", sa.SmallInteger(), nullable=False),
        sa.Column("user", sa.Integer(), nullable=False),
        sa.Column("copy", sa.LargeBinary(length=16), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("batch", "epoch"),
    )
    op.create_index("death_by_unit", "death", ["run", "phase", "user"], unique=False)
