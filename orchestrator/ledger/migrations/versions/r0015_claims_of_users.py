"""What one user misses is looked up for each look at their own page."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index; claims are few."""
    op.create_index("claim_by_user", "claim", ["run", "user", "at"])
