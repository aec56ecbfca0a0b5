"""What every test may ask for."""

from tests.servers import fresh_database, postgres, postgres_url

__all__ = ["fresh_database", "postgres", "postgres_url"]
