"""A user's own page by a signed link: what they are told, what they choose, and who may look."""

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest

from orchestrator import VERSION
from orchestrator.errors import Unavailable
from orchestrator.ledger import leases
from orchestrator.lifecycle import RunState
from orchestrator.plan import Choice
from tests.in_process import Service
from tests.site import Site
from workers.sources import memory as source
from workers.targets import memory as target

PLAN = """
version: 1
name: sidekick-2009
incident: {as_of: 2009-10-01T00:00:00Z}
users: {from: users.csv, decline: erased.csv}
sources: {core: {kind: memory, name: own}}
targets: {live: {kind: memory, name: own}}
waves: [{name: canary, users: 1}, {name: everyone}]
defaults: {attempts: 1, gate: {failed: 100%}}
phases:
  - {restore: contacts, to: live, gate: {approve: 1}}
  - {restore: notes, to: live}
approvals: 0
"""
USERS = [f"canary-user-{number}@example.org" for number in range(4)]
AFTER = datetime(2009, 10, 3, tzinfo=UTC)
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
CARD = (
    "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{uid}\r\nREV:20090701T000000Z\r\n"
    "FN:Bo\r\nN:Cee;Bo;;;\r\n{more}END:VCARD\r\n"
)


def contents() -> dict:
    """Everybody has two contacts and a note; one contact of each is cut off."""
    return {
        user: {
            "contacts": {
                "a.vcf": CARD.format(uid="a", more="TEL:1\r\n").encode(),
                "b.vcf": b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:cut off in the mid",
            },
            "notes": {"n.json": json.dumps({"id": "n", "body": "canary-content"}).encode()},
        }
        for user in USERS
    }


@pytest.fixture
def site(tmp_path):
    """The first user's contacts are done, and one of them is their own; the rest waits."""
    made = Site(tmp_path)
    (tmp_path / "users.csv").write_text("user\n" + "\n".join(USERS))
    (tmp_path / "erased.csv").write_text("user\n")
    source.put("own", contents())
    target.forget("own")
    live = CARD.format(uid="a", more="TEL:2\r\n").encode()
    target.store("own").put("contacts", USERS[0], "a", live, at=AFTER)
    made.run = made.service.submit(PLAN, users=USERS, census=[(USERS[0], "contacts", 9)])
    made.service.go_on()
    yield made
    made.close()


def finish(site: Site) -> None:
    while not site.service.status(site.run).over:
        site.service.runs.promote(site.run, who="jo", reason="looks good")
        site.service.go_on()


def link(site: Site, user: int = 0, **wish) -> str:
    kim = site.client("support", holder="kim")
    made = kim.post(f"/api/v1/runs/{site.run}/users/%23{user}/link", json=wish)
    assert made.status_code == 200, made.text
    return urlsplit(made.json()["url"]).path


def put_choice(site: Site, path: str, choice: str, category: str = ""):
    body = f"choice={choice}&category={category}"
    return site.anonymous().post(path, content=body, headers=FORM)


def test_a_user_is_told_what_came_back_what_did_not_and_why(site):
    page = site.anonymous().get(link(site))
    assert page.status_code == 200
    for sentence in (
        "0 of 9 are there now.",
        "1 was changed since, and nothing of that was touched.",
        "1 was found damaged and kept; some may be mended.",
        "8 were found nowhere.",
        "Only a part of it was left.",
        "It is still being restored.",
        "tell our support how many",
    ):
        assert sentence in page.text, sentence
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    assert "noindex" in page.headers["x-robots-tag"]
    assert "set-cookie" not in page.headers


@pytest.mark.guarantee(9)
def test_neither_link_nor_page_says_who_somebody_is(site):
    path = link(site)
    page = site.anonymous().get(path).text
    reference = site.installation.progress.reference(site.run, 0)
    for mark in (USERS[0], reference, "canary-content", site.run):
        assert mark not in page
        assert mark not in path


def test_every_link_that_opens_nothing_is_answered_alike(site):
    good = link(site, 1)
    anybody = site.anonymous()
    wrong = anybody.get("/mine/nonsense")
    assert wrong.status_code == 404
    assert "What you can do" in wrong.text

    def opens_nothing(path: str) -> None:
        for answer in (anybody.get(path), put_choice(site, path, "merge")):
            assert (answer.status_code, answer.content) == (404, wrong.content)
            assert answer.headers.keys() == wrong.headers.keys()

    opens_nothing(good[:-1])
    opens_nothing(f"{good}x")
    assert anybody.get(good).status_code == 200

    short = link(site, 1, days=1)
    site.service.clock.advance(days=2)
    opens_nothing(short)
    assert anybody.get(good).status_code == 200

    ada = site.client("admin", holder="ada")
    revoke = f"/api/v1/runs/{site.run}/links/revoke"
    assert ada.post(revoke, json={"reason": "sent to the wrong people"}).status_code == 204
    opens_nothing(good)
    again = link(site, 1)
    assert anybody.get(again).status_code == 200

    site.service.runs.decline(site.run, [USERS[1]], who="mia")
    opens_nothing(again)
    refused = ada.post(f"/api/v1/runs/{site.run}/users/%231/link", json={})
    assert refused.json()["code"] == "refused"

    last = link(site, 2)
    site.service.runs.cancel(site.run, who="mia", reason="for the test")
    site.installation.aftercare.close(site.run, who="ada", reason="over", early=True)
    opens_nothing(last)


def test_links_for_everybody_come_as_lines_that_can_be_gone_on_with(site):
    mia = site.client("operator", holder="mia")
    path = f"/api/v1/runs/{site.run}/links"
    assert mia.post(path, json={}).status_code == 422  # without a reason
    site.service.runs.decline(site.run, [USERS[2]], who="mia")
    lines = mia.post(path, json={"reason": "mail-out"}).text.splitlines()
    found = [json.loads(line) for line in lines]
    assert [one["user"] for one in found] == [USERS[0], USERS[1], USERS[3]]
    assert site.anonymous().get(urlsplit(found[2]["url"]).path).status_code == 200
    rest = mia.post(path, json={"reason": "mail-out", "after": found[0]["number"]}).text
    assert [json.loads(line)["number"] for line in rest.splitlines()] == [1, 3]
    canary = mia.post(path, json={"reason": "mail-out", "wave": "canary"}).text
    assert [json.loads(line)["number"] for line in canary.splitlines()] == [0]
    assert mia.post(path, json={"reason": "mail-out", "wave": "none"}).status_code == 422
    ada = site.client("admin")
    rows = ada.get("/api/v1/audit-log", params={"action": "issue_links"}).json()["rows"]
    assert [row["who"] for row in rows] == ["mia"] * 3


# Choosing -----------------------------------------------------------------------------------------


def test_a_choice_is_honoured_when_the_turn_comes(site):
    path = link(site)
    target.store("own").put(
        "notes", USERS[0], "n", json.dumps({"id": "n", "body": "mine"}).encode(), at=AFTER
    )
    assert put_choice(site, path, "keep-both").status_code == 303
    page = site.anonymous().get(path).text
    assert "keep both" in page.partition("You have chosen:")[2]
    finish(site)
    notes = site.service.progress.user(site.run, "#0").categories[1]
    assert notes.books.beside == 1
    contacts = site.service.progress.user(site.run, "#0").categories[0]
    assert contacts.books.superseded == 1  # it was done before: too late, as the page said
    rows = site.client("admin").get("/api/v1/audit-log", params={"action": "choose"}).json()["rows"]
    assert [(row["who"], row["detail"]["category"]) for row in rows] == [("the user", "notes")]


def test_after_its_end_a_choice_is_too_late_and_the_page_says_what_helps(site):
    finish(site)
    path = link(site)
    assert "It is too late to choose here" in site.anonymous().get(path).text
    late = put_choice(site, path, "keep-both")
    assert late.status_code == 409
    assert "our support can still help" in late.text


def test_until_a_deadline_what_was_done_is_gone_over_once_more(site):
    finish(site)
    mia = site.client("operator", holder="mia")
    until = (site.service.clock.now + timedelta(days=3)).isoformat()
    changed = mia.put(
        f"/api/v1/runs/{site.run}/public-page", json={"slug": "ours", "choose_until": until}
    )
    assert changed.status_code == 200
    path = link(site)
    assert "You can choose until" in site.anonymous().get(path).text
    assert put_choice(site, path, "merge", "contacts").status_code == 303
    site.service.go_on()
    contacts = site.service.progress.user(site.run, "#0").categories[0]
    assert (contacts.books.merged, contacts.books.superseded) == (1, 0)
    site.service.clock.advance(days=4)
    assert put_choice(site, path, "keep-mine", "contacts").status_code == 409


@pytest.mark.parametrize("body", ["", "choice=everything", "choice=merge&category=photos"])
def test_what_cannot_be_chosen_is_said(site, body):
    answer = site.anonymous().post(link(site), content=body, headers=FORM)
    assert answer.status_code in {409, 422}
    assert "What became of your data" in answer.text


@pytest.fixture(params=["sqlite", "postgresql"])
def dispatched(request, tmp_path):
    """A service whose run has a batch on its way, on both ledgers; and the run."""
    url = request.getfixturevalue("fresh_database") if request.param == "postgresql" else None
    service = Service(tmp_path, ledger_url=url)
    source.put("own", contents())
    target.forget("own")
    live = CARD.format(uid="a", more="TEL:2\r\n").encode()
    target.store("own").put("contacts", USERS[0], "a", live, at=AFTER)
    run = service.submit(PLAN.replace("users: {from: users.csv, decline: erased.csv}\n", ""))
    while not service.rings.waiting or service.progress.state(run) is not RunState.RUNNING:
        service.answer()
        service.conductor.tick()
    yield service, run
    service.work.close()


def test_nobody_chooses_what_a_worker_has_read_already(dispatched):
    """It would be kept, and not honoured: the worker has read what was chosen by then."""
    service, run = dispatched
    ring = service.rings.waiting.pop(0)
    with service.ledger.begin() as connection:
        now = service.ledger.clock(connection)
        held = leases.claim(connection, ring, now=now, lease_ms=1_000, worker="w", release=VERSION)
    assert held is not None
    with pytest.raises(Unavailable):
        service.runs.choose(run, held.first, Choice.KEEP_BOTH, who="the user")
    service.runs.choose(run, held.first, Choice.KEEP_BOTH, who="the user", category="notes")


def test_what_is_chosen_while_a_batch_is_on_its_way_is_honoured(dispatched):
    service, run = dispatched
    service.runs.choose(run, 0, Choice.KEEP_BOTH, who="the user")
    service.go_on()
    contacts = service.progress.user(run, "#0").categories[0]
    assert (contacts.books.beside, contacts.books.superseded) == (1, 0)
