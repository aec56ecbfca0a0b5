"""Who goes first: units of theirs that are tried again are not to queue behind everybody else's."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; empty, nobody goes first."""
    op.create_table(
        "front",
        sa.Column("run", sa.String(length=16), nullable=False),
        sa.Column("user", sa.Integer(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("run", "user"),
    )
