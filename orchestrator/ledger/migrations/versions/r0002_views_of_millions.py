"""Counts of exceptions by cause, and units with losses by index: what pages show of millions."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

WITH_LOSSES = "lost > 0 OR quarantined > 0 OR nameless > 0"


def upgrade() -> None:
    """Make both, and count what there is."""
    op.create_table(
        "trouble",
        sa.Column("run", sa.String(length=16), nullable=False),
        sa.Column("phase", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("cause", sa.String(length=6), nullable=False),
        sa.Column("state", sa.String(length=9), nullable=False),
        sa.Column("slot", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("units", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run", "phase", "cause", "state", "slot"),
        postgresql_with={"fillfactor": 50},
    )
    op.execute(
        "INSERT INTO trouble (run, phase, cause, state, slot, units)"
        " SELECT run, phase, cause, state, 0, count(*) FROM exception"
        " GROUP BY run, phase, cause, state"
    )
    op.create_index(
        "unit_with_losses",
        "unit",
        ["run", "user", "phase"],
        postgresql_where=sa.text(WITH_LOSSES),
        sqlite_where=sa.text(WITH_LOSSES),
        if_not_exists=True,
    )
