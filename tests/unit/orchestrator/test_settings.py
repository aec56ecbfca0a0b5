from pathlib import Path

import pytest

from orchestrator.errors import Refused
from orchestrator.settings import AUTO, Settings, unknown_variables


def read(**variables: str) -> Settings:
    return Settings.read({f"REINSTATE_{name}": value for name, value in variables.items()})


def test_nothing_given_means_an_embedded_ledger_in_the_home_folder():
    settings = Settings.read({})
    assert settings.ledger_url == f"sqlite:///{settings.home / 'ledger.db'}"
    assert settings.broker_url == AUTO
    assert settings.lease_seconds == 60
    assert settings.home.is_absolute()


def test_reading_touches_no_disk(tmp_path):
    home = tmp_path / "absent"
    assert read(HOME=str(home)).home == home
    assert not home.exists()


def test_a_child_reads_the_same_settings():
    settings = read(
        HOME="/srv/reinstate",
        LEDGER_URL="postgresql://a:b@db/x",
        BROKER_URL="rediss://u:p@cache:6380/3",
        BROKER_PREFIX="two:",
        KEY="c2VjcmV0",
        WORKERS="6",
        LEASE_SECONDS="9",
        LOG="warning json",
        LOG_FILE="/var/log/reinstate.log",
    )
    assert Settings.read(settings.environment()) == settings


@pytest.mark.parametrize("where", ["0.0.0.0:9730", "[::1]:9730", "unix:/run/reinstate/metrics"])
def test_a_child_exports_its_metrics_where_its_settings_say(where):
    settings = read(METRICS=where)
    assert settings.metrics is not None
    assert settings.environment()["REINSTATE_METRICS"] == where
    assert Settings.read(settings.environment()) == settings


@pytest.mark.guarantee(9)
def test_secrets_are_not_in_the_repr():
    shown = repr(
        read(LEDGER_URL="postgresql://a:hunter2@db/x", BROKER_URL="redis://:hunter3@r", KEY="k3y")
    )
    assert "hunter" not in shown
    assert "k3y" not in shown


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("valkey://host:6379/2", "redis://host:6379/2"),
        ("valkeys://host/2", "rediss://host/2"),
        ("REDIS://host", "redis://host"),
        ("redis+socket:///run/r.sock?virtual_host=1", "redis+socket:///run/r.sock?virtual_host=1"),
        ("sentinel://a:1;sentinel://b:2", "sentinel://a:1;sentinel://b:2"),
        (" auto ", AUTO),
    ],
)
def test_a_broker_is_named_as_celery_names_it(given, meant):
    assert read(BROKER_URL=given).broker_url == meant


@pytest.mark.parametrize(
    "address", ["redis+cluster://h", "rediscluster://h", "redis://a:1,b:2/0", "redis://u:p@a:1,b:2"]
)
def test_a_redis_cluster_is_refused_with_the_reason(address):
    with pytest.raises(Refused, match="cluster"):
        read(BROKER_URL=address)


@pytest.mark.guarantee(18)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BROKER_URL", "localhost:6379"),
        ("BROKER_URL", "pickle://hunter2"),
        ("METRICS", "9730"),
        ("METRICS", "unix:metrics"),
        ("LEDGER_URL", "mysql://hunter2"),
        ("WORKERS", "0"),
        ("WORKERS", "many"),
        ("WORKERS", "²"),
        ("LEASE_SECONDS", "1"),
        ("LEASE_SECONDS", "-5"),
        ("LOG", "loud"),
        ("BROKER_PREFIX", "a\nb"),
    ],
)
def test_nonsense_is_refused_and_not_repeated(name, value):
    with pytest.raises(Refused) as refused:
        read(**{name: value})
    assert name in refused.value.message
    assert "hunter2" not in refused.value.message + refused.value.hint
    assert refused.value.hint


def test_a_mistyped_variable_is_noticed():
    environ = {
        "REINSTATE_LEDGR_URL": "x",
        "REINSTATE_HOME": "/x",
        "REINSTATE_CORPUS": "/y",
        "PATH": "",
    }
    assert unknown_variables(environ) == ["REINSTATE_LEDGR_URL"]


def test_the_home_folder_is_for_its_owner_alone(tmp_path):
    home = read(HOME=str(tmp_path / "a" / "b")).ensure_home()
    assert home.stat().st_mode & 0o777 == 0o700


def test_a_home_that_cannot_be_made_is_refused(tmp_path):
    blocked = Path(tmp_path / "file")
    blocked.touch()
    with pytest.raises(Refused, match="cannot be made"):
        read(HOME=str(blocked / "home")).ensure_home()
