import base64
import json
import time

import pytest
from sqlalchemy import create_engine, text, update

import orchestrator
from orchestrator.doctor import Check, examine, examine_here, healthy
from orchestrator.embedded.one_machine import Engine
from orchestrator.ledger import versions
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.schema import VERSION, schema_version
from orchestrator.ledger.versions import stamp
from orchestrator.sealing import load_sealer
from orchestrator.settings import Settings
from tests.brokers import RedisServer, redis_server
from tests.faults.clocks import Clock

__all__ = ["redis_server"]
KEY = base64.b64encode(bytes(32)).decode()


def look(home, **variables: str) -> dict[str, Check]:
    environ = {"REINSTATE_HOME": str(home / "home")} | {
        f"REINSTATE_{name}": value for name, value in variables.items()
    }
    return {check.name: check for check in examine(Settings.read(environ), environ)}


def test_a_fresh_machine_is_healthy_and_looking_changes_nothing(tmp_path):
    checks = look(tmp_path)
    assert healthy(list(checks.values())), checks
    assert list(tmp_path.iterdir()) == []


def test_every_failed_check_says_what_to_do(tmp_path):
    checks = look(
        tmp_path,
        BROKER_URL="redis://localhost:1",
        LEDGER_URL="postgresql://nobody:hunter2@localhost:1/none",
        LEDGR_URL="x",
    )
    failed = {name for name, check in checks.items() if not check.ok}
    assert failed == {"settings", "key", "ledger", "broker"}
    assert all(checks[name].fix for name in failed)
    assert "hunter2" not in json.dumps([str(check) for check in checks.values()])


def test_nonsense_in_the_environment_is_a_failed_check(monkeypatch):
    monkeypatch.setenv("REINSTATE_WORKERS", "many")
    assert [check.ok for check in examine_here()] == [True, False]


@pytest.mark.guarantee(18)
def test_a_ledger_whose_key_is_gone_is_found(tmp_path):
    home = tmp_path / "home"
    settings = Settings.read({"REINSTATE_HOME": str(home)})
    load_sealer(settings)
    Ledger(settings.ledger_url).prepare()
    assert look(tmp_path)["key"].ok
    settings.key_file.chmod(0o640)
    assert "chmod 600" in look(tmp_path)["key"].fix
    settings.key_file.unlink()
    assert not look(tmp_path)["key"].ok
    assert not settings.key_file.exists()


def test_a_home_that_cannot_be_written_is_found(tmp_path):
    (tmp_path / "home").touch()
    assert not look(tmp_path)["home"].ok


def test_the_ledgers_schema_clock_and_durability_are_looked_at(tmp_path, fresh_database):
    checks = look(tmp_path, LEDGER_URL=fresh_database, KEY=KEY)
    assert checks["ledger"].found == "postgresql answers"
    assert checks["clock"].ok
    assert checks["schema"].found.startswith("none yet")
    assert checks["durability"].ok
    ledger = Ledger(fresh_database)
    ledger.prepare()
    ledger.close()
    assert look(tmp_path, LEDGER_URL=fresh_database, KEY=KEY)["schema"].ok


@pytest.mark.guarantee(18)
def test_a_redis_that_would_evict_the_queue_is_found(tmp_path):
    server = RedisServer("--maxmemory-policy", "allkeys-lru")
    try:
        checks = look(tmp_path, BROKER_URL=server.url)
    finally:
        server.stop()
    assert checks["broker"].ok
    assert checks["redis mode"].ok
    assert not checks["redis eviction"].ok
    assert "noeviction" in checks["redis eviction"].fix


def test_a_redis_cluster_is_found(tmp_path):
    server = RedisServer("--cluster-enabled", "yes")
    try:
        checks = look(tmp_path, BROKER_URL=server.url)
    finally:
        server.stop()
    assert not checks["redis mode"].ok


def test_no_workers_are_found_missing(tmp_path, redis_server):
    checks = look(tmp_path, BROKER_URL=redis_server.url)
    assert checks["redis eviction"].ok
    assert not checks["workers"].ok


def test_a_running_engine_and_its_workers_are_found(tmp_path):
    environ = {"REINSTATE_HOME": str(tmp_path / "home"), "REINSTATE_WORKERS": "2"}
    with Engine(Settings.read(environ)):
        deadline = time.monotonic() + 30
        while not (checks := look(tmp_path))["workers"].ok:
            assert time.monotonic() < deadline, checks
        assert healthy(list(checks.values())), checks


def test_workers_on_files_are_found_by_their_engine(tmp_path):
    url = f"filesystem://{tmp_path / 'spool'}"
    assert not look(tmp_path, BROKER_URL=url)["workers"].ok
    environ = {
        "REINSTATE_HOME": str(tmp_path / "home"),
        "REINSTATE_BROKER_URL": url,
        "REINSTATE_WORKERS": "2",
    }
    with Engine(Settings.read(environ)):
        assert look(tmp_path, BROKER_URL=url)["workers"].found == "2 run"


def test_the_newest_facts_of_a_ledger_are_told_with_what_to_do(tmp_path, fresh_database):
    settings = Settings.read({"REINSTATE_HOME": str(tmp_path), "REINSTATE_KEY": KEY})
    ledger = Ledger(fresh_database)
    ledger.prepare(key_check=load_sealer(settings).check)
    checks = look(tmp_path, LEDGER_URL=fresh_database, KEY=KEY)
    told = {"schema", "key of the ledger", "durability", "writable", "pooler"}
    assert all(checks[name].ok for name in told), checks
    assert "synchronous_commit is on" in checks["durability"].found
    another = base64.b64encode(bytes(31) + b"1").decode()
    assert not look(tmp_path, LEDGER_URL=fresh_database, KEY=another)["key of the ledger"].ok
    for stamped, fix in (("0001", "reinstate migrate"), ("9999", "")):
        with ledger.begin() as connection:
            connection.execute(update(stamp).values(version_num=stamped))
        schema = look(tmp_path, LEDGER_URL=fresh_database, KEY=KEY)["schema"]
        assert (stamped in schema.found, fix in schema.fix) == (True, True)
        assert schema.ok is (stamped == "9999" or versions.revisions() == ["0001"])
    with ledger.begin() as connection:
        connection.execute(update(schema_version).values(version=VERSION + 1))
    schema = look(tmp_path, LEDGER_URL=fresh_database, KEY=KEY)["schema"]
    assert (schema.ok, "newer release" in schema.fix) == (False, True)
    ledger.close()


@pytest.mark.guarantee(18)
def test_a_clock_that_differs_from_the_ledgers_is_found(tmp_path, fresh_database):
    Clock(fresh_database).set(-90)
    checks = look(tmp_path, LEDGER_URL=fresh_database, KEY=KEY)
    assert not checks["clock"].ok
    assert checks["clock"].found.startswith(("89", "90"))
    assert "NTP" in checks["clock"].fix


@pytest.mark.guarantee(18)
def test_commits_that_a_crash_could_lose_are_found(tmp_path, fresh_database):
    engine = create_engine(fresh_database, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        name = connection.execute(text("SELECT current_database()")).scalar_one()
        connection.execute(text(f"ALTER DATABASE {name} SET synchronous_commit = off"))
    engine.dispose()
    checks = look(tmp_path, LEDGER_URL=fresh_database, KEY=KEY)
    assert (checks["durability"].ok, checks["fsync"].ok) == (False, False)
    assert "must not lose" in checks["durability"].fix


def test_workers_say_which_release_they_are_of(tmp_path):
    environ = {"REINSTATE_HOME": str(tmp_path / "home"), "REINSTATE_WORKERS": "1"}
    with Engine(Settings.read(environ)):
        deadline = time.monotonic() + 30
        while not (found := look(tmp_path)["workers"]).ok:
            assert time.monotonic() < deadline, found
    assert f"release {orchestrator.VERSION}" in found.found
