from pathlib import Path

from orchestrator.embedded.brokers import SOCKET, redis_program, runtime_folder


def test_sockets_lie_in_the_home_where_its_path_is_short():
    assert runtime_folder(Path("/home/ann/.local/share/reinstate")) == Path(
        "/home/ann/.local/share/reinstate/run"
    )


def test_sockets_of_a_deep_home_lie_in_a_short_place_of_its_own():
    one, two = Path("/deep" * 30, "one"), Path("/deep" * 30, "two")
    short = runtime_folder(one, temporary=Path("/tmp"))
    assert len(str(short / SOCKET)) < 100
    assert short == runtime_folder(one, temporary=Path("/tmp"))
    assert short != runtime_folder(two, temporary=Path("/tmp"))


def test_a_home_is_measured_in_bytes():
    assert runtime_folder(Path("/", "é" * 50)).name.startswith("reinstate-")


def test_the_private_redis_has_no_port_and_evicts_nothing():
    words = redis_program(Path("/usr/bin/redis-server"), Path("/run/x")).command
    pairs = dict(zip(words[1::2], words[2::2], strict=True))
    assert pairs["--port"] == "0"
    assert pairs["--unixsocketperm"] == "700"
    assert pairs["--maxmemory-policy"] == "noeviction"
    assert pairs["--save"] == ""
