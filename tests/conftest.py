"""What every test may ask for."""

from tests.dav_servers import radicale_server, xandikos_server
from tests.object_stores import moto_store, rclone_store
from tests.servers import fresh_database, postgres, postgres_url
from tests.webdav_servers import exact_webdav_store, rclone_webdav_store, wsgidav_store

__all__ = [
    "exact_webdav_store",
    "fresh_database",
    "moto_store",
    "postgres",
    "postgres_url",
    "radicale_server",
    "rclone_store",
    "rclone_webdav_store",
    "wsgidav_store",
    "xandikos_server",
]
