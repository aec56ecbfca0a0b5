"""What single users want where the plan would decide for everyone."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; empty, the plan decides for everyone."""
    op.create_table(
        "choice",
        sa.Column("run", sa.String(length=16), nullable=False),
        sa.Column("user", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("choice", sa.String(length=9), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run", "user", "category"),
    )
