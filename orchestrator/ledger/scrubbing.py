"""Sees to it that what was erased in the ledger is gone from its files, too.

Databases keep old versions of a row until they need the room. On SQLite the file is rewritten and
its write-ahead log cut; on PostgreSQL the table of keys is rewritten, so what is left of it is in
the server's own log (WAL) and in backups for as long as those are kept.
"""

from orchestrator.ledger.database import Ledger

WAITS = "10s"


def scrub(ledger: Ledger) -> bool:
    """Whether it could be done now; where somebody was in the way, say it once more later."""
    raw = ledger.engine.raw_connection()
    try:
        cursor = raw.cursor()
        if ledger.engine.dialect.name == "postgresql":
            cursor.execute(f"SET lock_timeout = '{WAITS}'")
            cursor.execute("VACUUM FULL data_key")
            cursor.execute("RESET lock_timeout")
            return True
        cursor.execute("VACUUM")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        busy = cursor.fetchone()
        return busy is None or not busy[0]
    except ledger.engine.dialect.loaded_dbapi.Error:
        return False
    finally:
        raw.close()
