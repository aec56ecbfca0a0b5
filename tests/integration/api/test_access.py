"""Every route, for every role, with own, foreign and missing objects."""

import re

import pytest

from orchestrator.api.access import ROUTES, may
from orchestrator.api.gate import GatedRoute
from orchestrator.api.installation import Installation
from orchestrator.api.openapi import routes_of
from orchestrator.identity.roles import Caller, Role, Scope
from orchestrator.web import application
from tests.installed import USERS, Furnished, shared

__all__ = ["shared"]

APP = application(Installation.nowhere())
KEYS = sorted(
    f"{method} {route.path_format}"
    for route in routes_of(APP)
    for method in route.methods - {"HEAD"}
)
API = [key for key in KEYS if "/api/v1/" in key]
PAGES = [key for key in KEYS if "/api/v1/" not in key]
OF_RUNS = re.compile("{(run|operation|claim)}")
PAGES_OF_A_RUN = [key for key in PAGES if OF_RUNS.search(key)]
OF_A_RUN = [key for key in API if OF_RUNS.search(key)]
BODIES = {
    "POST /api/v1/runs/{run}/claims": {"user": "bob", "category": "contacts", "had": 9, "sees": 1},
    "POST /api/v1/runs/{run}/bulletins": {"text": "nothing is new"},
    "PUT /api/v1/runs/{run}/public-page": {"slug": "for-tests"},
    "POST /api/v1/runs/{run}/approve": {"digest": "0" * 64},
    "POST /api/v1/runs/{run}/users/find": {"user": "bob"},
    "POST /api/v1/runs/{run}/declines": {"users": ["bob"]},
    "POST /api/v1/runs/{run}/quarantine/release": {"copies": [{"number": 1, "data": ""}]},
    "POST /api/v1/operations/{operation}/confirm": {"units": 7},
}
REASONED = {"reason": "because of a test"}
MISSING = {"run": "0123abcd", "operation": "0123456789ab", "claim": "0123abcd"}


def test_every_route_is_behind_the_gate_and_in_the_table():
    assert set(KEYS) == set(ROUTES)
    assert all(isinstance(route, GatedRoute) for route in routes_of(APP))


def test_routes_outside_the_gate_are_static_files_at_most():
    others = [
        route
        for route in APP.routes
        if not hasattr(route, "original_router") and not isinstance(route, GatedRoute)
    ]
    assert {getattr(route, "path", "") for route in others} <= {"/static"}


def test_nobody_but_an_administrator_has_everything():
    for role in set(Role) - {Role.ADMIN}:
        assert any(role not in access.roles for access in ROUTES.values() if access.scope)


def asked(site: Furnished, client, key: str, **places: str):
    """Use a route as somebody would: with a body that it may understand."""
    method, path = key.split(" ")
    known = {"run": site.run, "user": "%230", "number": "1", "token": "none", "plan": "0123"}
    known |= {"cause": site.cause["fingerprint"], "name": "style.css"}
    known |= {"slug": "no-such-page", "link": "no-such-link"}
    if "{operation}" in path and "operation" not in places:
        known["operation"] = operation(site)
    if "{claim}" in path and "claim" not in places:
        known["claim"] = claim(site)
    for name, value in {**known, **places}.items():
        path = path.replace(f"{{{name}}}", value)
    assert "{" not in path, path
    if key.endswith("/events"):
        path += "?"
    how = {"headers": {"If-Match": "*"}}
    if key in UPLOADS:
        how["files"] = {"file": ("mended", b"", "text/plain")}
    elif key in PAGES and method == "POST":
        how["data"] = {"reason": "because of a test", "user": "bob"}
    elif method in {"POST", "PUT"}:
        how["json"] = BODIES.get(key, REASONED)
    return client.request(method, path, **how)


def operation(site: Furnished) -> str:
    """An operation that is prepared."""
    found = site.mia.get(f"/api/v1/runs/{site.run}/operations").json()["rows"]
    if found:
        return found[0]["id"]
    made = site.mia.post(f"/api/v1/runs/{site.run}/retries", json={})
    return made.json()["id"]


def claim(site: Furnished) -> str:
    """A claim about the run."""
    path = f"/api/v1/runs/{site.run}/claims"
    found = site.mia.get(path).json()["rows"]
    if found:
        return found[0]["id"]
    return site.mia.post(path, json=BODIES["POST /api/v1/runs/{run}/claims"]).json()["id"]


UPLOADS = {"POST /runs/{run}/quarantine/{number}/release"}
STREAMS = {"GET /api/v1/runs/{run}/events"}  # answered for minutes: see test_events


@pytest.mark.guarantee(7)
@pytest.mark.parametrize("key", [key for key in API if key not in STREAMS])
def test_a_route_answers_the_roles_of_the_table_and_no_other(shared, key):
    access = ROUTES[key]
    for role in Role:
        response = asked(shared, shared.client(role), key)
        assert response.status_code < 500, (role, response.text)
        if access.scope is None or role in access.roles:
            assert response.status_code not in {401, 403} or key.endswith("/sessions"), role
        else:
            assert (response.status_code, response.json()["code"]) == (403, "forbidden"), role
    if access.scope is not None:
        assert asked(shared, shared.anonymous(), key).status_code == 401


@pytest.mark.guarantee(7)
@pytest.mark.parametrize("key", PAGES)
def test_a_page_shows_itself_to_the_roles_of_the_table_and_to_no_other(shared, key):
    access = ROUTES[key]
    for role in Role:
        if access.scope is None or role in access.roles:
            response = asked(shared, shared.client(role), key)
            assert response.status_code < 500, (role, response.text)
            assert response.status_code not in {401, 403} or key == "POST /login", role
        else:
            response = asked(shared, shared.client(role), key)
            assert response.status_code == 403, role
            assert "<h1>Forbidden</h1>" in response.text
    if access.scope is not None:
        nobody = asked(shared, shared.anonymous(), key)
        looked = key.startswith("GET") and key != "GET /metrics"  # that one is for programs
        assert nobody.status_code == (303 if looked else 401)


@pytest.mark.parametrize("key", PAGES_OF_A_RUN)
def test_a_page_of_a_foreign_object_looks_like_one_of_a_missing_object(shared, key):
    role = min(ROUTES[key].roles & {Role.OPERATOR, Role.APPROVER, Role.ADMIN})
    missing = asked(shared, shared.client(role), key, **MISSING)
    foreign = asked(shared, shared.client(role, runs=["ffffffff"]), key)
    assert missing.status_code == foreign.status_code == 404
    assert missing.content == foreign.content


@pytest.mark.parametrize("key", PAGES)
def test_a_page_says_no_more_than_the_routes_that_a_role_has(shared, key):
    """Whoever may not see users is shown none on any page, by reference or otherwise."""
    if not key.startswith("GET") or key.endswith(("/sso", "/callback", "/{name}")):
        return
    text = asked(shared, shared.client(Role.VIEWER), key).text
    assert "u_" not in text.replace("u_…", "")
    text = asked(shared, shared.client(Role.ADMIN), key).text
    assert not [user for user in USERS if f">{user}<" in text]


@pytest.mark.parametrize("key", API)
def test_a_token_that_is_narrowed_has_only_its_scopes(shared, key):
    access = ROUTES[key]
    if access.scope is None:
        return
    other = next(scope for scope in Scope if scope is not access.scope)
    role = min(access.roles)
    assert asked(shared, shared.client(role, scopes=[other]), key).status_code == 403


@pytest.mark.parametrize("key", OF_A_RUN)
def test_a_foreign_object_is_answered_like_one_that_is_missing(shared, key):
    """The same status and body: nobody learns what there is elsewhere."""
    role = min(ROUTES[key].roles & {Role.OPERATOR, Role.APPROVER, Role.ADMIN})
    missing = asked(shared, shared.client(role), key, **MISSING)
    foreign = asked(shared, shared.client(role, runs=["ffffffff"]), key)
    assert missing.status_code == foreign.status_code == 404
    assert missing.content == foreign.content
    assert missing.headers.keys() == foreign.headers.keys()


def test_lists_leave_out_what_is_foreign(shared):
    own = shared.client("operator", runs=[shared.run])
    foreign = shared.client("operator", runs=["ffffffff"])
    assert shared.run in [row["id"] for row in own.get("/api/v1/runs").json()["rows"]]
    assert foreign.get("/api/v1/runs").json()["rows"] == []
    assert foreign.get("/api/v1/users/bob/status").status_code == 404
    assert own.get("/api/v1/users/bob/status").status_code == 200


def test_support_pauses_only_when_its_token_says_so(shared):
    pause = f"/api/v1/runs/{shared.run}/pause"
    assert shared.client("support").post(pause, json={}).status_code == 403
    lead = shared.client("support", scopes=[Scope.STOP, Scope.USERS])
    assert lead.post(pause, json={}).status_code in {200, 409}  # as the run stands
    assert may_more_than(shared, "support")


def may_more_than(site: Furnished, role: str) -> bool:
    """Whether asking for a scope that a role does not have gives it."""
    greedy = site.client(role, scopes=[Scope.STEER, Scope.APPROVE, Scope.ADMIN])
    refused = [
        greedy.post(f"/api/v1/runs/{site.run}/resume", json={}),
        greedy.post(f"/api/v1/runs/{site.run}/approve", json={"digest": "0" * 64}),
        greedy.get("/api/v1/tokens"),
    ]
    return all(response.status_code == 403 for response in refused)


def test_pausing_is_easier_than_starting():
    pause, resume = (
        ROUTES["POST /api/v1/runs/{run}/pause"],
        ROUTES["POST /api/v1/runs/{run}/resume"],
    )
    assert pause.roles | pause.lead > resume.roles
    assert pause.repeatable
    assert not resume.repeatable


def test_the_table_of_roles_is_documented(shared):
    document = shared.anonymous().get("/api/v1/openapi.json").json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            access = ROUTES[f"{method.upper()} {path}"]
            for role in access.roles:
                assert re.search(rf"roles:.*\b{role}\b", operation["description"], re.DOTALL)


def test_scopes_narrow_and_never_widen():
    for access in ROUTES.values():
        for role in Role:
            whole = Caller(holder="x", role=role)
            for scope in Scope:
                narrowed = Caller(holder="x", role=role, scopes=frozenset({scope}))
                if may(narrowed, access) and access.scope is not None and role not in access.lead:
                    assert may(whole, access)
