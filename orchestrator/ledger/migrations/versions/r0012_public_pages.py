"""How runs show themselves to the public and to their users."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; empty, nobody sees anything."""
    op.create_table(
        "public_page",
        sa.Column("run", sa.String(length=16), nullable=False),
        sa.Column("slug", sa.String(length=63), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("support", sa.Text(), nullable=False),
        sa.Column("choose_until", sa.BigInteger(), nullable=True),
        sa.Column("links", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("run"),
    )
    op.create_index("public_page_by_slug", "public_page", ["slug"], unique=True)
