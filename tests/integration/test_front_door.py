import contextlib
import http.client
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from orchestrator.embedded.front_door import answers, owners_link, with_free_address
from orchestrator.embedded.one_machine import Engine
from orchestrator.errors import Refused
from orchestrator.settings import Settings


def settings(home, **more):
    return Settings.read(
        {"REINSTATE_HOME": str(home), "REINSTATE_WORKERS": "1", "REINSTATE_LOG": "info,json"} | more
    )


@contextlib.contextmanager
def taken():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield "{}:{}".format(*listening.getsockname())


def test_a_port_that_is_taken_is_left_to_whoever_has_it_unless_it_was_chosen(tmp_path):
    with taken() as address:
        ours = settings(tmp_path, REINSTATE_API=address)
        assert with_free_address(ours, chosen=False).api[1] not in {0, ours.api[1]}
        with pytest.raises(Refused, match="nothing can listen at"):
            with_free_address(ours, chosen=True)
    assert with_free_address(ours, chosen=True).api == ours.api


def test_the_owner_of_a_home_gets_in_by_a_link_that_works_once(tmp_path):
    home = with_free_address(settings(tmp_path, REINSTATE_API="127.0.0.1:0"), chosen=True)
    with Engine(home, answering=True):
        assert answers(home)
        link = urlsplit(owners_link(home, owner="ann"))
        code = link.query.removeprefix("code=")
        first, second = log_in(link.netloc, code), log_in(link.netloc, code)
    assert (first, second) == (303, 401)
    assert not still_answers(link.netloc)


def log_in(address, code):
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Origin": f"http://{address}",
    }
    with contextlib.closing(http.client.HTTPConnection(address, timeout=10)) as connection:
        connection.request("POST", "/login", body=f"code={code}", headers=headers)
        return connection.getresponse().status


def still_answers(address):
    with contextlib.suppress(OSError), socket.create_connection(tuple(address.split(":"))):
        return True
    return False


@pytest.mark.long
def test_up_ends_when_it_is_asked_to_and_says_where_the_pages_are(tmp_path):
    environ = settings(tmp_path, REINSTATE_API="127.0.0.1:0").environment()
    with subprocess.Popen(
        (sys.executable, "-m", "orchestrator.cli.main", "up"),
        env=environ,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as up:
        said = ""
        while "ctrl-c stops everything" not in said:
            line = up.stderr.readline()
            assert line, said
            said += line
        up.terminate()
        said += up.communicate(timeout=40)[1]
    assert "/login?code=" in said
    assert up.returncode == 0
