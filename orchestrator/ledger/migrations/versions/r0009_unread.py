"""How many batches found a source away: else its absence looks like the target's."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the sum; the table is short."""
    op.add_column(
        "response", sa.Column("unread", sa.BigInteger(), server_default="0", nullable=False)
    )
