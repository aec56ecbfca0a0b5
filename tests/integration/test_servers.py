"""Claims of `tests/servers.py` itself: others build on it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
import sqlalchemy

from tests.servers import Postgres


def test_a_fresh_database_is_empty_and_takes_tables(fresh_database):
    engine = sqlalchemy.create_engine(fresh_database)
    with engine.begin() as connection:
        assert sqlalchemy.inspect(connection).get_table_names() == []
        connection.execute(sqlalchemy.text("CREATE TABLE kept (id int)"))
        assert sqlalchemy.inspect(connection).get_table_names() == ["kept"]
    engine.dispose()


@pytest.mark.parametrize("turn", ["first", "second"])
def test_no_two_tests_share_a_fresh_database(fresh_database, turn):
    engine = sqlalchemy.create_engine(fresh_database)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(f"CREATE TABLE mine AS SELECT '{turn}' AS turn"))
        assert connection.scalar(sqlalchemy.text("SELECT turn FROM mine")) == turn
    engine.dispose()


def test_a_fresh_database_goes_even_where_someone_is_still_connected(postgres, request):
    url = request.getfixturevalue("fresh_database")
    name = url.split("/")[3].split("?")[0]
    kept = psycopg.connect(host=str(postgres.folder), user="postgres", dbname=name)
    request.addfinalizer(kept.close)


def test_stopping_a_server_leaves_nothing_behind():
    server = Postgres()
    pid = int((server.folder / "data" / "postmaster.pid").read_text().splitlines()[0])
    server.stop()
    assert not server.folder.exists()
    assert gone(pid)


def test_a_server_ends_with_the_tests_that_were_killed():
    program = (
        "from tests.servers import Postgres; import time; s = Postgres();"
        "print(s.folder, flush=True); time.sleep(60)"
    )
    tests = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    with tests:
        folder = Path(tests.stdout.readline().decode().strip())
        pid = int((folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        tests.send_signal(signal.SIGKILL)
    assert gone(pid)
    assert until(lambda: not folder.exists())


def gone(pid):
    def ended():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False

    return until(ended)


def until(condition):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False
