"""A PostgreSQL database whose clock a test sets: what all of its clients are told is shifted."""

import psycopg

SHADOW = """
CREATE TABLE public.shift (by interval NOT NULL);
INSERT INTO public.shift VALUES ('0 s');
CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql
    AS 'SELECT pg_catalog.clock_timestamp() + by FROM public.shift';
DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog', current_database());
END $$;
"""


class Clock:
    """Of one database; right until it is set."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("+psycopg", "")
        self._run(SHADOW)

    def set(self, seconds: float) -> None:
        """From now on it is so many seconds ahead; behind where negative."""
        self._run(f"UPDATE public.shift SET by = make_interval(secs => {seconds})")

    def _run(self, commands: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(commands)
