"""Claims: "I had 9, I see 2". What is searched, where each item is, and what is brought back."""

import json
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from orchestrator.audit import audit
from orchestrator.books import Outcome
from orchestrator.lifecycle import RunState
from orchestrator.public.claims import placed
from orchestrator.query import Query
from orchestrator.telling import _SEARCHED, Place
from tests.site import Site
from workers.sources import memory as source
from workers.targets import memory as target

PLAN = """
version: 1
name: sidekick-2009
incident: {as_of: 2009-10-01T00:00:00Z}
users: {from: users.csv}
sources:
  core: {kind: memory, name: claims-core}
  phones: {kind: memory, name: claims-phones}
targets: {live: {kind: memory, name: claims}}
defaults: {attempts: 1, gate: {failed: 100%}}
phases:
  - {restore: notes, to: live, from: [core]}
  - {restore: contacts, to: live, from: [core], scope: user, after: settled}
approvals: 1
"""
ANN, BOB = "canary-ann@example.org", "canary-bob@example.org"
AFTER = datetime(2009, 10, 3, tzinfo=UTC)
CUT = b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:cut off in the mid"


def card(uid: str, *, name: str = "") -> bytes:
    name = name or uid.upper()
    head = f"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:canary-{uid}\r\nREV:20090701T000000Z\r\n"
    return f"{head}FN:{name}\r\nN:{name};;;;\r\nEND:VCARD\r\n".encode()


def cards(*idents: str) -> dict[str, bytes]:
    return {f"{ident}.vcf": card(ident) for ident in idents}


def held() -> dict[str, bytes]:
    """What Ann has."""
    return target.store("claims").contents("contacts", ANN)


@pytest.fixture
def site(request, tmp_path):
    """A run that is over. Ann's phone has two contacts that the plan did not look for there."""
    postgresql = getattr(request, "param", "") == "postgresql"
    made = Site(
        tmp_path, ledger_url=request.getfixturevalue("fresh_database") if postgresql else None
    )
    (tmp_path / "users.csv").write_text(f"user\n{ANN}\n{BOB}\n")
    source.put("claims-core", {ANN: {"contacts": {**cards("a", "b", "c"), "z.vcf": CUT}}, BOB: {}})
    source.put("claims-phones", {ANN: {"contacts": cards("a", "d", "e")}})
    target.forget("claims")
    target.store("claims").put("contacts", ANN, "canary-b", card("b", name="Mine"), at=AFTER)
    made.run = made.service.submit(PLAN, users=[ANN, BOB])
    made.service.go_on()
    made.service.runs.approve(made.run, who="jo", reason="read")
    made.service.go_on()
    assert made.service.ended(made.run) is RunState.FINISHED
    made.kim = made.client("support", holder="kim")
    made.jo = made.client("approver", holder="jo")
    yield made
    made.close()


def claimed(site: Site, *, user: str = ANN, category: str = "contacts", had: int = 9) -> str:
    wish = {"user": user, "category": category, "had": had, "sees": 2}
    made = site.kim.post(f"/api/v1/runs/{site.run}/claims", json=wish)
    assert made.status_code == 201, made.text
    return made.headers["Location"]


def searched(site: Site, **wish) -> tuple[str, dict]:
    path = claimed(site, **wish)
    assert site.kim.get(path).json()["state"] == "searching"
    site.service.go_on()
    found = site.kim.get(path).json()
    assert found["state"] == "searched", found["why"]
    return path, found


def test_a_search_says_of_each_item_where_it_is_and_writes_nothing(site):
    before = held()
    _, found = searched(site)
    assert found["places"] == {
        "restored": 2,  # a, c
        "kept": 1,  # b: hers is newer
        "found": 2,  # d, e: on the phone
        "quarantined": 1,
        "never-found": 3,
    }
    assert {(one["place"], one["source"]) for one in found["items"]} == {
        ("restored", "core"),
        ("kept", "core"),
        ("found", "phones"),
    }
    assert [one["reason"] for one in found["damaged"]] == ["cut"]
    assert found["may_top_up"]
    assert held() == before
    assert found["answer"].splitlines() == [
        f"You told us that you had 9 contacts and see 2. {_SEARCHED}",
        "- 2 we brought back.",
        "- 1 stayed as you changed it since.",
        "- 1 was found damaged; we keep it and try to mend it.",
        "  Only a part of it was left.",
        "- 2 more were found now; they can be brought back.",
        "- 3 are in none of our copies. We are sorry.",
    ]
    assert audit(site.service.ledger, found["search"]) == []


@pytest.mark.guarantee(7)
@pytest.mark.parametrize("site", ["sqlite", "postgresql"], indirect=True)
def test_a_top_up_brings_back_what_was_found_once_somebody_else_approved_it(site):
    path, found = searched(site)
    asked = site.kim.post(f"{path}/top-up", json={"reason": "she called"})
    assert asked.status_code == 202
    top_up = asked.json()["top_up"]
    assert asked.json()["top_up_state"] == "submitted"
    site.service.go_on()
    assert site.kim.get(path).json()["top_up_state"] == "awaiting_approval"
    assert "canary-d" not in held()
    assert site.kim.post(f"{path}/top-up", json={}).json()["code"] == "refused"

    run = site.jo.get(f"/api/v1/runs/{top_up}")
    approved = site.jo.post(
        f"/api/v1/runs/{top_up}/approve",
        json={"digest": run.json()["digest"]},
        headers={"If-Match": run.headers["ETag"]},
    )
    assert approved.status_code == 200
    site.service.go_on()
    done = site.kim.get(path).json()
    assert (done["top_up_state"], done["brought_back"], done["may_top_up"]) == (
        "finished",
        2,
        False,
    )
    assert "- Of those found now, 2 are back." in done["answer"]
    assert {"canary-d", "canary-e"} <= set(held())
    given = site.kim.post(f"/api/v1/runs/{site.run}/users/%230/link", json={}).json()["url"]
    own = site.anonymous().get(urlsplit(given).path).text
    assert "Of those found now, 2 are back." in own
    assert held()["canary-b"] == card("b", name="Mine")
    for made in (found["search"], top_up, site.run):
        assert audit(site.service.ledger, made) == []
    _, again = searched(site)
    assert again["places"] == {
        "restored": 2,
        "kept": 1,
        "there": 2,
        "quarantined": 1,
        "never-found": 3,
    }
    banner = site.kim.get(f"/api/v1/users/{found['user']}/status").json()
    assert banner["run"] == site.run  # not the top-up


def test_a_top_up_is_taken_back_like_any_run(site):
    path, _ = searched(site)
    top_up = site.kim.post(f"{path}/top-up", json={}).json()["top_up"]
    site.service.go_on()
    site.service.runs.approve(top_up, who="jo", reason="read")
    site.service.go_on()
    assert "canary-d" in held()
    undo = site.installation.aftercare.undo(top_up, Query(), who="mia", reason="for the test")
    site.service.go_on()
    site.service.runs.approve(undo, who="jo", reason="read")
    site.service.go_on()
    assert site.service.ended(undo) is RunState.FINISHED
    assert {"canary-d", "canary-e"}.isdisjoint(held())
    assert "canary-a" in held()


def test_two_do_not_top_up_the_same_at_once(site):
    first, _ = searched(site)
    second, _ = searched(site)
    assert site.kim.post(f"{first}/top-up", json={}).status_code == 202
    refused = site.kim.post(f"{second}/top-up", json={})
    assert refused.status_code == 409
    assert "has not ended" in refused.json()["detail"]


@pytest.mark.guarantee(9)
def test_items_have_no_names_until_somebody_says_why(site):
    path, found = searched(site)
    page = site.kim.get(path.removeprefix("/api/v1")).text
    for text in (json.dumps(found), page, site.kim.get(f"/runs/{site.run}/claims").text):
        assert "canary-" not in text
    assert site.kim.post(f"{path}/reveal", json={}).status_code == 422
    revealed = site.kim.post(f"{path}/reveal", json={"reason": "which ones, she asks"}).json()
    assert {one["ident"] for one in revealed["items"]} >= {"canary-d", "canary-e"}
    viewer = site.client("viewer")
    assert viewer.get(path).status_code == 403
    ada = site.client("admin")
    actions = [row["action"] for row in ada.get("/api/v1/audit-log").json()["rows"]]
    assert {"claim", "reveal_claim"} <= set(actions)


def test_nothing_is_searched_for_who_is_declined_or_of_a_run_that_is_closed(site):
    path, _ = searched(site)
    site.service.runs.decline(site.run, [ANN], who="mia")
    wish = {"user": ANN, "category": "contacts", "had": 9, "sees": 2}
    again = site.kim.post(f"/api/v1/runs/{site.run}/claims", json=wish)
    assert again.json()["code"] == "refused"
    assert site.kim.get(path).json()["state"] == "failed"
    assert site.kim.get(path).json()["items"] == []
    wish = {"user": BOB, "category": "photos", "had": 9, "sees": 2}
    assert site.kim.post(f"/api/v1/runs/{site.run}/claims", json=wish).status_code == 404
    bob, found = searched(site, user=BOB, category="notes", had=2)
    assert found["places"] == {"never-found": 2}
    assert not found["may_top_up"]
    assert site.kim.post(f"{bob}/top-up", json={}).json()["code"] == "refused"
    site.installation.aftercare.close(site.run, who="ada", reason="over", early=True)
    assert "closed" in site.kim.get(bob).json()["why"]


def test_claims_are_listed_and_one_is_answered_on_pages(site):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    user = site.installation.progress.reference(site.run, 0)
    body = "category=contacts&had=9&sees=2"
    path = f"/runs/{site.run}/users/{user}/claims"
    made = site.kim.post(path, content=body, headers=form)
    assert made.status_code == 303
    claim = made.headers["location"]
    assert "Searching" in site.kim.get(claim).text
    site.service.go_on()
    assert "more were found now" in site.kim.get(claim).text
    assert site.kim.post(f"{claim}/top-up", content="", headers=form).status_code == 303
    assert "Top-up" in site.kim.get(claim).text
    assert claim in site.kim.get(f"/runs/{site.run}/claims").text
    for wrong in ("had=many&sees=2", "had=-1&sees=2", "had=9", "had=99999999999999&sees=1"):
        answer = site.kim.post(path, content=f"category=contacts&{wrong}", headers=form)
        assert answer.status_code == 422


@pytest.mark.parametrize(
    ("now", "before", "place"),
    [
        (Outcome.PRESENT, "restored", Place.RESTORED),
        (Outcome.SUPERSEDED, "restored", Place.RESTORED),
        (Outcome.SUPERSEDED, "merged", Place.MERGED),
        (Outcome.PRESENT, None, Place.THERE),
        (Outcome.SUPERSEDED, "superseded", Place.KEPT),
        (Outcome.DECLINED, "restored", Place.DELETED),
        (Outcome.RESTORED, None, Place.FOUND),
        (Outcome.MERGED, "superseded", Place.FOUND),
        (Outcome.QUARANTINED, None, Place.QUARANTINED),
    ],
)
def test_where_an_item_is_follows_from_what_would_become_of_it_and_what_did(now, before, place):
    assert placed(now, before) is place
