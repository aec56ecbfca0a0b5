"""What a conductor looks for at every tick is found among what is done: four partial indexes."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

READY = "state = 'ready'"
UNDONE = "state IN ('waiting', 'ready', 'dispatched', 'running') AND members IS NULL"
DUE = "state = 'waiting' AND batch IS NULL AND awaits IS NULL"
AWAITING = "state = 'waiting' AND batch IS NULL AND awaits IS NOT NULL"


def upgrade() -> None:
    """Make them; both tables are short next to that of the units."""
    _index("batch_in_order", "batch", ["run", "priority", "wave", "phase", "id"], READY)
    _index("batch_by_place", "batch", ["run", "phase", "wave", "first"], UNDONE)
    _index("exception_due", "exception", ["run", "not_before"], DUE)
    _index("exception_awaiting", "exception", ["run", "user", "phase"], AWAITING)


def _index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(
        name,
        table,
        columns,
        postgresql_where=sa.text(where),
        sqlite_where=sa.text(where),
        if_not_exists=True,
    )
