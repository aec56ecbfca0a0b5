"""What Alembic runs: the revisions, on the connection that it is given, or on this ledger's."""

import os

from alembic import context
from sqlalchemy import Connection

from orchestrator.ledger.database import Ledger
from orchestrator.ledger.schema import metadata
from orchestrator.settings import Settings


def migrate(connection: Connection) -> None:
    """All in the transaction that the connection is in: on both databases it holds for DDL."""
    context.configure(connection=connection, target_metadata=metadata, compare_server_default=True)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:  # the command `alembic`, for whoever writes a revision
    ledger = Ledger(Settings.read(os.environ).ledger_url)
    with ledger.begin() as opened:
        migrate(opened)
    ledger.close()
