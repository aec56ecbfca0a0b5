"""Telling the public over HTTP: drafts, bulletins, the promise of the next one and its alarm."""

from datetime import timedelta

import pytest

from orchestrator.ledger import bulletins
from tests.installed import Furnished, furnished, shared

__all__ = ["furnished", "shared"]


def soon(site: Furnished, **later: float) -> str:
    return (site.service.clock.now + timedelta(**later)).isoformat()


def say(site: Furnished, text: str = "Contacts are back.", **more: object):
    return site.mia.post(f"/api/v1/runs/{site.run}/bulletins", json={"text": text, **more})


def test_a_draft_is_made_of_counters_and_published_as_it_was_edited(furnished):
    run = f"/api/v1/runs/{furnished.run}"
    draft = furnished.mia.get(f"{run}/bulletins/draft").json()
    assert "have their contacts back" in draft["text"]
    assert draft["promised"] is None
    made = say(furnished, draft["text"] + "\n\nSorry.", next_due=soon(furnished, hours=4))
    assert made.status_code == 201
    listed = furnished.mia.get(f"{run}/bulletins").json()["rows"]
    assert listed == [made.json()]
    assert listed[0]["text"].endswith("\n\nSorry.")
    assert listed[0]["who"] == "mia"
    log = furnished.ada.get("/api/v1/audit-log", params={"action": "publish_bulletin"}).json()
    assert log["rows"][0]["detail"]["bulletin"] == listed[0]["id"]


def test_a_promise_that_is_not_kept_is_an_alarm_until_something_is_said(furnished):
    say(furnished, next_due=soon(furnished, hours=1))
    promises = furnished.mia.get("/api/v1/promises").json()["rows"]
    assert [(row["run"], row["late_seconds"]) for row in promises] == [(furnished.run, 0)]
    run = f"/api/v1/runs/{furnished.run}"
    assert furnished.mia.get(run).json()["overdue"] is None

    furnished.service.clock.advance(hours=2)
    late = furnished.mia.get("/api/v1/promises").json()["rows"][0]["late_seconds"]
    assert 3500 < late < 3700
    seen = furnished.mia.get(run).json()
    assert seen["overdue"] == pytest.approx(3600, abs=100)
    assert "the public was promised an update" in seen["warnings"][0]
    with furnished.service.ledger.read() as connection:
        now = furnished.service.clock.ledger(connection)
        assert [one.run for one in bulletins.overdue(connection, now=now)] == [furnished.run]
        assert bulletins.overdue(connection, now=now, runs=["ffffffff"]) == []

    say(furnished, "That was all.")
    assert furnished.mia.get("/api/v1/promises").json()["rows"] == []
    assert furnished.mia.get(run).json()["overdue"] is None


def test_nobody_is_told_of_promises_about_foreign_runs(furnished):
    say(furnished, next_due=soon(furnished, hours=1))
    foreign = furnished.client("viewer", runs=["ffffffff"])
    assert foreign.get("/api/v1/promises").json()["rows"] == []


def test_what_cannot_be_promised_or_said_is_refused(shared):
    assert say(shared, "  \n\n ").json()["code"] == "refused"
    assert say(shared, next_due=soon(shared, hours=-1)).json()["code"] == "refused"
    assert say(shared, next_due=soon(shared, days=90)).json()["code"] == "refused"
    assert say(shared, next_due="2009-10-21T00:00:00").json()["code"] == "malformed"  # which zone?
    assert say(shared, "x" * 6_000).json()["code"] == "malformed"
    assert shared.mia.get(f"/api/v1/runs/{shared.run}/bulletins").json()["rows"] == []


def test_a_page_gets_a_chosen_address_that_no_other_run_has(furnished):
    run = f"/api/v1/runs/{furnished.run}"
    first = furnished.mia.get(f"{run}/public-page").json()
    assert len(first["slug"]) == 12
    assert first["slug"] != furnished.run
    chosen = {"slug": "sidekick", "title": "Your Sidekick", "support": "help@example.org"}
    changed = furnished.mia.put(f"{run}/public-page", json=chosen).json()
    assert changed["url"].endswith("/status/sidekick")
    assert furnished.mia.get(f"{run}/public-page").json() == changed
    other = furnished.submitted()
    taken = furnished.mia.put(f"/api/v1/runs/{other}/public-page", json=chosen)
    assert taken.json()["code"] == "refused"
    for wrong in ({"slug": "A"}, {"slug": "../up"}, {"slug": "ok-1", "support": "javascript:x"}):
        assert furnished.mia.put(f"{run}/public-page", json=wrong).status_code in {409, 422}
