"""What every test may ask for."""

from tests.dav_servers import radicale_server, xandikos_server
from tests.object_stores import moto_store, rclone_store
from tests.servers import fresh_database, postgres, postgres_url

__all__ = [
    "fresh_database",
    "moto_store",
    "postgres",
    "postgres_url",
    "radicale_server",
    "rclone_store",
    "xandikos_server",
]
