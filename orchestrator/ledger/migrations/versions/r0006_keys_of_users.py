"""Keys of single users and runs; runs that are about another run, and when a run was closed."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only add: what was sealed before stays under the master key itself, and opens as before."""
    op.create_table(
        "data_key",
        sa.Column("user_hash", sa.LargeBinary(length=16), nullable=False),
        sa.Column("run", sa.String(length=16), nullable=False),
        sa.Column("maker", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("erased_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("user_hash", "run", "maker"),
    )
    op.create_index("data_key_by_run", "data_key", ["run"], unique=False)
    op.add_column("run", sa.Column("about", sa.String(length=16), nullable=True))
    op.add_column("run", sa.Column("root", sa.String(length=16), nullable=True))
    op.add_column("run", sa.Column("closed_at", sa.BigInteger(), nullable=True))
    op.add_column("run", sa.Column("closed_by", sa.Text(), nullable=True))
    op.create_index("run_by_root", "run", ["root"], unique=False)
