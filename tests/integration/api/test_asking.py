"""What the API makes of requests that are odd, repeated, stale or made up."""

import json

import pytest

from orchestrator.api.gate import LARGEST_BODY
from orchestrator.api.openapi import FILE
from orchestrator.api.strict_json import DEEPEST
from orchestrator.ledger.schema import metadata
from tests.installed import Furnished, approve, furnished, shared, submission
from tests.site import Client

__all__ = ["furnished", "shared"]


def code(response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == response.status_code
    assert document["type"] == f"urn:reinstate:problem:{document['code']}"
    return response.status_code, document["code"]


def post(client: Client, path: str, content: bytes, **headers: str):
    headers = {"Content-Type": "application/json", **headers}
    return client.post(path, content=content, headers=headers)


TOKENS = "/api/v1/tokens"
WISH = {"holder": "kim", "role": "viewer"}

# Bodies -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b'{"holder": "a", "holder": "b", "role": "viewer"}',
        b'{"holder": "a", "role": "viewer"',
        b'{"holder": NaN, "role": "viewer"}',
        b'{"holder": "\xff", "role": "viewer"}',
        b'{"holder": "\\ud800", "role": "viewer"}',
        b'{"holder": "a\\u0000", "role": "viewer"}',
        b'{"holder": ' + b"[" * 100_000,
        b'{"holder": ' + b"[" * (DEEPEST + 2) + b"]" * (DEEPEST + 2) + b"}",
        b'{"days": ' + b"9" * 5_000 + b"}",
        b"\xef\xbb\xbf{}",
    ],
)
def test_json_that_readers_understand_differently_is_refused(shared, body):
    assert code(post(shared.ada, TOKENS, body)) == (400, "bad-json")


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"{}", b""])
def test_json_of_another_shape_is_refused(shared, body):
    assert code(post(shared.ada, TOKENS, body)) == (422, "malformed")


def test_an_unknown_field_is_refused_without_repeating_it(shared):
    response = shared.ada.post(TOKENS, json={**WISH, "ann@example.org": "zoe@example.org"})
    assert code(response) == (422, "malformed")
    assert "example.org" not in response.text


def test_a_body_that_is_too_large_is_refused_whether_or_not_it_says_so(shared):
    large = b" " * (LARGEST_BODY + 1)
    assert code(post(shared.ada, TOKENS, large)) == (413, "too-large")

    async def parts():
        for _ in range(LARGEST_BODY // 65_536 + 2):
            yield b" " * 65_536

    assert code(post(shared.ada, TOKENS, parts())) == (413, "too-large")


def test_a_body_of_another_kind_is_refused(shared):
    response = shared.ada.post(TOKENS, data={"holder": "kim"})
    assert code(response) == (415, "media-type")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "TRACE"])
def test_other_methods_are_refused(shared, method):
    assert code(shared.ada.request(method, "/api/v1/runs")) == (405, "method-not-allowed")


@pytest.mark.parametrize(
    "path", ["/api/v1/runs/%00", "/api/v1/runs/..%2f..", "/api/v1/nothing", "/api/v2/runs"]
)
def test_an_address_that_is_none_is_a_problem_like_any_other(shared, path):
    assert shared.ada.get(path).status_code in {404, 422, 400}
    assert shared.ada.get(path).headers["content-type"] == "application/problem+json"


# Plans --------------------------------------------------------------------------------------------


def test_a_plan_with_errors_comes_back_with_every_place(shared):
    folder = shared.service.folder
    text = submission(folder)["text"].replace("notes", "nots").replace("kind: vdir", "kind: vdr")
    response = shared.mia.post("/api/v1/runs", json=submission(folder, text))
    assert code(response) == (422, "invalid")
    problems = response.json()["problems"]
    assert {(found["code"], found["line"]) for found in problems} >= {("unknown-category", 8)}
    assert any("did you mean" in found["hint"] for found in problems)


def test_a_secret_in_a_plan_is_never_repeated(shared):
    text = submission(shared.service.folder)["text"].replace(
        "{kind: vdir, path: restored, exclusive: true}",
        "{kind: sql, url: 'postgresql://u:hunter2@host/db'}",
    )
    checked = shared.mia.post("/api/v1/plans/check", json={"text": text})
    stored = shared.mia.post("/api/v1/plans", json={"text": text})
    assert not checked.json()["valid"]
    assert code(stored) == (422, "invalid")
    assert "hunter2" not in checked.text + stored.text


def test_users_in_lists_are_never_repeated(shared):
    body = submission(shared.service.folder)
    body["files"] = {"users.csv": "user\nzoe@example.org\nzoe@example.org\n", "erased.csv": "user"}
    for path in ("/api/v1/runs", "/api/v1/plans/check"):
        response = shared.mia.post(path, json=body)
        assert "user-twice" in response.text
        assert "zoe" not in response.text


def test_plans_are_stored_changed_and_compared(shared):
    text = submission(shared.service.folder)["text"]
    stored = shared.mia.post("/api/v1/plans", json={"text": text})
    path = stored.headers["Location"]
    newer = text.replace("approvals: 1", "approvals: 2")
    assert code(shared.mia.put(path, json={"text": newer})) == (428, "if-match-missing")
    tag = stored.headers["ETag"]
    changed = shared.mia.put(path, json={"text": newer}, headers={"If-Match": tag})
    assert changed.json()["version"] == 2
    stale = shared.mia.put(path, json={"text": text}, headers={"If-Match": tag})
    assert code(stale) == (412, "changed")
    diff = shared.mia.get(f"{path}/diff").json()["diff"]
    assert "-approvals: 1" in diff
    assert "+approvals: 2" in diff
    same = shared.mia.get(f"{path}/diff", params={"version": 1, "run": shared.run}).json()
    assert same == {"same": True, "diff": ""}
    assert [row["version"] for row in shared.mia.get(f"{path}/versions").json()["rows"]] == [2, 1]
    assert shared.mia.get(path, params={"version": 1}).json()["text"] == text


def test_a_preview_tells_what_would_be_done_and_binds_the_run(furnished):
    body = submission(furnished.service.folder)
    begun = furnished.mia.post("/api/v1/previews", json=body)
    assert begun.status_code == 202
    furnished.service.go_on()
    found = furnished.mia.get(begun.headers["Location"]).json()
    assert found["terminal"]
    assert found["categories"][0]["category"] == "contacts"
    refused = furnished.mia.post("/api/v1/runs", json={**body, "preview": "0" * 64})
    assert (refused.status_code, refused.json()["code"]) == (409, "refused")
    bound = furnished.mia.post("/api/v1/runs", json={**body, "preview": found["digest"]})
    assert bound.status_code == 201


# Once ---------------------------------------------------------------------------------------------


def test_the_same_key_does_it_once_and_answers_the_same(shared):
    before = len(shared.ada.get(TOKENS).json()["rows"])
    key = {"Idempotency-Key": "make kim's token"}
    first = shared.ada.post(TOKENS, json=WISH, headers=key)
    again = shared.ada.post(TOKENS, json=WISH, headers=key)
    assert again.content == first.content
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert len(shared.ada.get(TOKENS).json()["rows"]) == before + 1


def test_the_same_key_with_another_request_is_refused(shared):
    key = {"Idempotency-Key": "make lee's token"}
    assert shared.ada.post(TOKENS, json={**WISH, "holder": "lee"}, headers=key).status_code == 201
    other = shared.ada.post(TOKENS, json=WISH, headers=key)
    assert code(other) == (422, "key-reused")
    elsewhere = shared.ada.post("/api/v1/plans", json={"text": ""}, headers=key)
    assert code(elsewhere) == (422, "key-reused")


def test_keys_are_a_persons_own(shared):
    key = {"Idempotency-Key": "everybody likes this key"}
    first = shared.ada.post(TOKENS, json={**WISH, "holder": "max"}, headers=key)
    second = shared.client("admin", holder="eve").post(TOKENS, json=WISH, headers=key)
    assert second.status_code == 201
    assert second.json()["token"] != first.json()["token"]


def test_what_was_refused_may_be_mended_under_the_same_key(shared):
    key = {"Idempotency-Key": "a plan, mended"}
    text = submission(shared.service.folder)["text"]
    broken = {"text": text.replace("notes", "nots")}
    assert shared.mia.post("/api/v1/plans", json=broken, headers=key).status_code == 422
    assert shared.mia.post("/api/v1/plans", json={"text": text}, headers=key).status_code == 201


def test_what_makes_something_needs_a_key_and_stopping_needs_none(furnished):
    without = {"Idempotency-Key": None}
    made = furnished.ada.post(TOKENS, json=WISH, headers=without)
    assert code(made) == (400, "key-missing")
    for wrong in (b"", b"x" * 256, "ä".encode(), b"a\tb"):
        response = furnished.ada.post(TOKENS, json=WISH, headers={"Idempotency-Key": wrong})
        assert response.status_code == 400
    paused = furnished.mia.post(f"/api/v1/runs/{furnished.run}/pause", json={}, headers=without)
    assert code(paused) == (409, "refused")  # it is finished; not: a key or an ETag is missing


def test_a_token_in_an_answer_that_is_kept_is_sealed(shared):
    made = shared.ada.post(TOKENS, json=WISH).json()["token"]
    files = list(shared.service.folder.glob("ledger.db*"))
    assert files
    assert not [path for path in files if made.encode() in path.read_bytes()]


# Pages --------------------------------------------------------------------------------------------


def test_pages_join_up_to_the_whole_list(shared):
    path = f"/api/v1/runs/{shared.run}/units"
    whole = shared.mia.get(path, params={"limit": 500}).json()["rows"]
    assert len(whole) == 8
    rows, cursor = [], None
    while True:
        params = {"limit": 3, **({"cursor": cursor} if cursor else {})}
        page = shared.mia.get(path, params=params).json()
        rows += page["rows"]
        cursor = page["next"]
        if cursor is None:
            break
    assert rows == whole


@pytest.mark.parametrize("change", [lambda c: c[:-2], lambda c: "A" + c, str.lower])
def test_a_forged_cursor_is_refused(shared, change):
    path = f"/api/v1/runs/{shared.run}/units"
    cursor = shared.mia.get(path, params={"limit": 1}).json()["next"]
    forged = shared.mia.get(path, params={"limit": 1, "cursor": change(cursor)})
    assert code(forged) == (400, "cursor")


def test_a_cursor_of_one_list_is_none_of_another(shared):
    path = f"/api/v1/runs/{shared.run}/units"
    cursor = shared.mia.get(path, params={"limit": 1}).json()["next"]
    other = shared.mia.get(path, params={"limit": 1, "cursor": cursor, "q": "user:bob"})
    assert code(other) == (400, "cursor")
    losses = shared.mia.get(f"/api/v1/runs/{shared.run}/losses", params={"cursor": cursor})
    assert code(losses) == (400, "cursor")


# Approvals and versions ---------------------------------------------------------------------------


@pytest.mark.guarantee(7)
def test_nobody_approves_their_own_plan_whatever_the_body_says(furnished):
    mia = furnished.client("approver", holder="Mia ")  # the same person, spelled otherwise
    run = furnished.submitted()
    assert code(approve(mia, run)) == (409, "refused")
    seen = mia.get(f"/api/v1/runs/{run}")
    named = mia.post(
        f"/api/v1/runs/{run}/approve",
        json={"digest": seen.json()["digest"], "who": "jo"},
        headers={"If-Match": "*"},
    )
    assert code(named) == (422, "malformed")
    assert approve(furnished.jo, run).json()["approvals"] == ["jo"]


@pytest.mark.guarantee(7)
def test_an_approval_of_another_digest_is_refused(furnished):
    run = furnished.submitted()
    response = furnished.jo.post(
        f"/api/v1/runs/{run}/approve", json={"digest": "0" * 64}, headers={"If-Match": "*"}
    )
    assert code(response) == (409, "refused")


def test_who_looked_at_another_version_changes_nothing(furnished):
    run = furnished.submitted()
    path = f"/api/v1/runs/{run}"
    seen = furnished.jo.get(path)
    kim = furnished.client("approver", holder="kim")
    assert approve(furnished.jo, run).status_code == 200
    stale = kim.post(
        f"{path}/approve",
        json={"digest": seen.json()["digest"]},
        headers={"If-Match": seen.headers["ETag"]},
    )
    assert code(stale) == (412, "changed")
    cancel = furnished.mia.post(f"{path}/cancel", json={"reason": "a mistake"})
    assert code(cancel) == (428, "if-match-missing")


def test_a_run_says_that_it_is_over_and_how(furnished):
    found = furnished.mia.get(f"/api/v1/runs/{furnished.run}").json()
    assert (found["terminal"], found["outcome"]) == (True, "failed")
    listed = furnished.mia.get("/api/v1/runs").json()["rows"][0]
    assert (listed["terminal"], listed["outcome"]) == (True, "failed")


def test_a_get_changes_nothing(furnished):
    def everything() -> dict[str, list]:
        with furnished.service.ledger.read() as connection:
            return {
                table.name: sorted(map(repr, connection.execute(table.select())))
                for table in metadata.sorted_tables
            }

    furnished.ada.get("/api/v1/me")  # notes that the token was used
    before = everything()
    paths = furnished.ada.get("/api/v1/openapi.json").json()["paths"]
    for path, operations in paths.items():
        if "get" in operations and not path.endswith("/events"):
            shown = path.replace("{run}", furnished.run).replace("{user}", "%230")
            assert furnished.ada.get(shown).status_code < 500
    assert everything() == before


# Surroundings -------------------------------------------------------------------------------------


def test_every_answer_is_guarded(shared):
    for response in (
        shared.ada.get("/api/v1/runs"),
        shared.anonymous().get("/api/v1/runs"),
        shared.anonymous().get("/nothing"),
    ):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["x-frame-options"] == "DENY"
        assert response.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert "access-control-allow-origin" not in response.headers


def test_no_other_site_is_let_in(shared):
    response = shared.anonymous().request(
        "OPTIONS",
        "/api/v1/runs",
        headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"},
    )
    assert response.status_code == 405
    assert "access-control-allow-origin" not in response.headers


def test_problems_do_not_show_what_went_wrong_inside(shared, monkeypatch):
    def broken(*_args: object, **_how: object) -> None:
        raise ValueError("zoe@example.org")

    monkeypatch.setattr(shared.installation.progress, "inventory", broken)
    response = shared.mia.get(f"/api/v1/runs/{shared.run}/inventory")
    assert code(response) == (500, "unforeseen")
    assert "zoe" not in response.text


def test_a_ledger_that_is_away_is_said_with_when_to_ask_again(tmp_path):
    site = Furnished(tmp_path)
    site.service.ledger.close()
    (tmp_path / "ledger.db").write_bytes(b"not a database at all" * 100)
    for leftover in ("ledger.db-wal", "ledger.db-shm"):
        (tmp_path / leftover).unlink(missing_ok=True)
    response = site.mia.get("/api/v1/runs")
    assert code(response) == (503, "unavailable")
    assert int(response.headers["Retry-After"]) >= 1
    assert site.anonymous().get("/health").status_code == 200
    assert site.anonymous().get("/ready").status_code == 503
    site.close()


def test_what_is_published_is_what_is_checked_in(shared):
    served = shared.anonymous().get("/api/v1/openapi.json").json()
    assert json.loads(FILE.read_text("utf-8")) == served, "python -m orchestrator.api.openapi"
