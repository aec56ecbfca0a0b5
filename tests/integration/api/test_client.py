"""The client that commands are made of: in process as over a network, and each thing done once."""

import gc
import re
import threading
from collections.abc import Iterator

import httpx
import pytest
from starlette.routing import Match

from orchestrator.api.app import SUBJECTS, create_app
from orchestrator.api.installation import Installation
from orchestrator.api.openapi import routes_of
from orchestrator.client.asking import Client
from orchestrator.client.here import InProcess, administrator, asking_of
from orchestrator.errors import NotFound, PlanInvalid, Refused, Unavailable
from orchestrator.run_standing import Status
from tests.installed import Furnished, shared

__all__ = ["shared"]

FAR = "http://far.test"


@pytest.fixture
def here(shared: Furnished) -> Iterator[Client]:
    with asking_of(shared.installation) as http:
        yield Client(http, caller=administrator, name="mia")


class Lossy(httpx.BaseTransport):
    """A network that loses the first answers to what changes something."""

    def __init__(self, inner: InProcess, losses: int) -> None:
        self.inner, self.losses, self.sent = inner, losses, 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self.inner.handle_request(request)
        if request.method == "POST":
            self.sent += 1
            if self.sent <= self.losses:
                response.read()
                raise httpx.RemoteProtocolError("the answer was lost", request=request)
        return response

    def close(self) -> None:
        self.inner.close()


@pytest.fixture
def far(shared: Furnished):
    """Makes clients that tokens identify."""
    made: list[httpx.Client] = []

    def client(role: str, *, losses: int = 0) -> tuple[Client, Lossy]:
        tokens = shared.installation.tokens
        token, _ = tokens.create(holder=f"far-{role}", role=role, who="tests")
        transport = Lossy(InProcess(shared.app), losses)
        headers = {"Authorization": f"Bearer {token}"}
        made.append(httpx.Client(transport=transport, base_url=FAR, headers=headers))
        return Client(made[-1], where=FAR, sleep=lambda _: None), transport

    yield client
    for http in made:
        http.close()


# In process ---------------------------------------------------------------------------------------


def test_whoever_has_the_ledger_is_its_administrator_in_their_own_name(here):
    me = here.get("/me", dict)
    assert (me["holder"], me["role"]) == ("mia", "admin")
    assert here.named("jo").get("/me", dict)["holder"] == "jo"


def test_nothing_that_comes_over_a_network_says_who_asks(shared):
    for name in ("reinstate_caller", "caller", "X-Reinstate-Caller"):
        answer = shared.anonymous().get("/api/v1/me", headers={name: "mia"})
        assert answer.status_code == 401


def test_what_an_application_does_not_foresee_is_raised_to_whoever_asks_in_process():
    async def app(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"oh"})
        raise ZeroDivisionError

    with (
        httpx.Client(transport=InProcess(app), base_url="http://x") as http,
        pytest.raises(ZeroDivisionError),
    ):
        http.get("/")


def test_an_answer_comes_as_it_is_read_and_what_nobody_reads_ends():
    sent: list[int] = []
    ended = threading.Event()

    async def app(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            for number in range(1000):
                sent.append(number)
                body = f"{number}\n".encode()
                await send({"type": "http.response.body", "body": body, "more_body": True})
        finally:
            ended.set()

    with httpx.Client(transport=InProcess(app), base_url="http://x") as http:
        with http.stream("GET", "/") as answer:
            parts = answer.iter_raw()
            assert [next(parts), next(parts)] == [b"0\n", b"1\n"]
        assert len(sent) < 10
        assert ended.is_set()
    gc.collect()


def test_no_path_of_one_subject_means_a_route_of_another():
    apps = {name: create_app(Installation.nowhere(), subjects=[name]) for name in SUBJECTS}
    for name, app in apps.items():
        for route in routes_of(app):
            path = re.sub(r"\{\w+\}", "0123abcd", route.path_format)
            for method in route.methods - {"HEAD"}:
                scope = {"type": "http", "method": method, "path": path, "headers": []}
                known = {
                    other
                    for other, its in apps.items()
                    if any(one.matches(dict(scope))[0] is Match.FULL for one in its.router.routes)
                }
                assert known == {name}, f"{method} {path}"


def test_a_growing_application_answers_every_question(here, shared):
    assert here.get("/tokens", dict)["rows"]
    assert here.get("/audit-log/verification", dict)["whole"]
    assert here.get(f"/runs/{shared.run}/quarantine/reasons", dict)["rows"]
    with pytest.raises(NotFound, match="there is nothing here"):
        here.get("/nothing", dict)


# Runs by name -------------------------------------------------------------------------------------


def test_a_run_is_found_by_the_beginning_of_its_id(here, shared):
    assert here.run(shared.run) == shared.run
    assert here.run(shared.run[:-1]) == shared.run
    with pytest.raises(NotFound, match="no such run"):
        here.run("fffffff")
    for odd in ("", "%", "LAST", "x" * 40):
        with pytest.raises(NotFound, match="no such run"):
            here.run(odd)


def test_no_id_of_a_user_ever_stands_in_an_address(shared, far):
    asked, transport = far("operator")
    seen: list[str] = []
    inner = transport.inner.handle_request

    def noted(request):
        seen.append(str(request.url))
        return inner(request)

    transport.inner.handle_request = noted
    run = shared.run
    number = asked.user(run, "bob")
    assert number.startswith("#")
    assert list(asked.rows(f"/runs/{run}/units", q=asked.query(run, ("user:bob",))))
    assert seen
    assert not [address for address in seen if "bob" in address]


# Once ---------------------------------------------------------------------------------------------


def test_what_is_asked_again_because_its_answer_was_lost_is_done_once(far):
    asked, transport = far("admin", losses=2)
    before = len(asked.get("/tokens", dict)["rows"])
    asked.post("/tokens", dict, {"holder": "new", "role": "viewer"})
    assert transport.sent == 3
    assert len(asked.get("/tokens", dict)["rows"]) == before + 1


def test_a_server_that_never_answers_is_given_up(far):
    asked, transport = far("admin", losses=100)
    with pytest.raises(Unavailable, match="hung up"):
        asked.post("/tokens", dict, {"holder": "never", "role": "viewer"})
    assert transport.sent == 4


def test_a_token_says_who_asks_so_no_name_is_taken(far):
    asked, _ = far("admin")
    with pytest.raises(PlanInvalid, match="by your token"):
        asked.named("jo")
    assert asked.get("/me", dict)["holder"] == "far-admin"


def test_an_answer_of_another_service_is_no_answer():
    transport = httpx.MockTransport(lambda _: httpx.Response(200, html="<h1>Welcome"))
    with (
        httpx.Client(transport=transport, base_url=FAR) as http,
        pytest.raises(Unavailable, match="does not understand"),
    ):
        Client(http, where=FAR).get("/runs", dict)


def test_a_change_is_made_of_what_stands_there_while_others_change_it(here, shared):
    waiting = shared.submitted()
    looks: list[Status] = []

    def body(status):
        looks.append(status)
        if len(looks) < 3:  # somebody is faster than we are
            shared.service.runs.approve(
                waiting, who=f"fast-{len(looks)}", reason="", digest=status.digest
            )
        return {"digest": status.digest}

    found = here.named("kim").change(waiting, "approve", Status, body)
    assert found.approvals == ("fast-1", "fast-2", "kim")
    assert len(looks) == 3


def test_one_does_not_approve_ones_own(here, shared):
    waiting = shared.submitted()
    with pytest.raises(Refused, match="nobody approves a plan of their own"):
        here.named("MIA").change(waiting, "approve", Status, lambda s: {"digest": s.digest})
