"""What everybody may see, over HTTP: the status of a run as page, JSON and feed."""

import xml.etree.ElementTree as ET
from datetime import timedelta

import pytest

from orchestrator.public.status_page import PublicStatuses
from tests.installed import USERS, Furnished, furnished, shared

__all__ = ["furnished", "shared"]

ATOM = "{http://www.w3.org/2005/Atom}"


def say(
    site: Furnished, text: str = "Contacts are back.", *, run: str = "", **later: float
) -> None:
    due = None
    if later:
        due = (site.service.clock.now + timedelta(**later)).isoformat()
    body = {"text": text, "next_due": due}
    said = site.mia.post(f"/api/v1/runs/{run or site.run}/bulletins", json=body)
    assert said.status_code == 201


def address(site: Furnished, run: str = "") -> str:
    slug = site.mia.get(f"/api/v1/runs/{run or site.run}/public-page").json()["slug"]
    return f"/status/{slug}"


def test_a_run_has_a_page_from_its_first_bulletin_on(shared):
    run = shared.submitted()
    path, anybody = address(shared, run), shared.anonymous()
    unknown = anybody.get("/status/nothing-of-the-kind")
    assert anybody.get(path).content == unknown.content
    assert unknown.status_code == 404
    say(shared, "Contacts are back.\n\nWe are sorry.", run=run, hours=3)
    page = anybody.get(path)
    assert page.status_code == 200
    assert "Contacts are back." in page.text
    assert "Next update by" in page.text
    assert run not in page.text
    assert "mia" not in page.text


def test_the_same_is_told_to_programs_and_feed_readers(shared):
    say(shared, "First <b>words</b> & more.")
    say(shared, "Second words.", hours=3)
    path, anybody = address(shared), shared.anonymous()
    told = anybody.get(f"{path}/status.json")
    assert told.headers["access-control-allow-origin"] == "*"
    found = told.json()
    assert (found["version"], found["state"], found["late"]) == (1, "done", False)
    assert [one["text"] for one in found["bulletins"][:2]] == [
        "Second words.",
        "First <b>words</b> & more.",
    ]
    assert {one["category"]: one["percent"] for one in found["categories"]} == {
        "contacts": None,  # 2 of 4: nobody's number
        "notes": 100,
    }
    feed = ET.fromstring(anybody.get(f"{path}/feed.atom").content)
    entries = feed.findall(f"{ATOM}entry")
    assert [one.findtext(f"{ATOM}content") for one in entries][1] == "First <b>words</b> & more."
    assert len({one.findtext(f"{ATOM}id") for one in entries}) == len(entries)
    assert "access-control-allow-origin" not in anybody.get(path).headers


@pytest.mark.guarantee(9)
def test_nothing_of_anybody_is_in_what_everybody_sees(shared):
    say(shared)
    path, anybody = address(shared), shared.anonymous()
    for form in ("", "/status.json", "/feed.atom"):
        text = anybody.get(path + form).text
        for mark in (*USERS[:1], "u_", "uid-", "mia", shared.run):
            assert mark not in text
        assert "set-cookie" not in anybody.get(path + form).headers


def test_a_promise_that_was_not_kept_is_admitted(shared):
    say(shared, hours=1)
    shared.service.clock.advance(hours=2)
    page = shared.anonymous().get(address(shared)).text
    assert "The next update is late." in page
    assert shared.anonymous().get(f"{address(shared)}/status.json").json()["late"]


def test_what_has_not_changed_is_not_sent_again_and_anybody_may_keep_it(shared):
    say(shared)
    path, anybody = address(shared), shared.anonymous()
    first = anybody.get(path)
    assert first.headers["cache-control"].startswith("public, max-age=")
    again = anybody.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    say(shared, "More is back.")
    assert anybody.get(path, headers={"If-None-Match": first.headers["etag"]}).status_code == 200


def test_many_who_look_within_seconds_ask_the_ledger_once(shared):
    say(shared)
    slug = address(shared).rpartition("/")[2]
    asked, now = [], [0.0]

    class Counted:
        def status(self, run: str):
            asked.append(run)
            return shared.service.progress.status(run)

    statuses = PublicStatuses(shared.service.ledger, Counted(), clock=lambda: now[0])
    first = statuses.at(slug)
    assert all(statuses.at(slug) is first for _ in range(100))
    assert statuses.recent(slug) is first
    now[0] += 6
    assert statuses.recent(slug) is None
    assert statuses.at(slug) == first
    assert asked == [shared.run] * 2


def test_the_page_stays_while_the_ledger_is_away(furnished):
    say(furnished)
    slug = address(furnished).rpartition("/")[2]
    now = [0.0]
    statuses = PublicStatuses(
        furnished.service.ledger, furnished.service.progress, clock=lambda: now[0]
    )
    first = statuses.at(slug)
    furnished.service.ledger.close()
    database = furnished.service.folder / "ledger.db"
    database.rename(database.with_suffix(".away"))
    database.mkdir()
    now[0] += 60
    assert statuses.at(slug) is first
    database.rmdir()
    database.with_suffix(".away").rename(database)


def test_an_operator_publishes_and_names_the_page_in_a_browser(shared):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    run = f"/runs/{shared.run}"
    assert "have their contacts back" in shared.mia.get(f"{run}/bulletins").text
    chosen = "slug=our-data&title=Our+data&support=help%40example.org&choose_until=2009-11-01T12:00"
    changed = shared.mia.post(f"{run}/public-page", content=chosen, headers=form)
    assert changed.status_code == 303
    said = shared.mia.post(f"{run}/bulletins", content="text=Soon+back.&next=4", headers=form)
    assert said.status_code == 303
    page = shared.anonymous().get("/status/our-data").text
    assert "Soon back." in page
    assert "Our data" in page
    assert "mailto:help@example.org" in page
    shown = shared.mia.get(f"{run}/bulletins").text
    assert "2009-11-01T12:00" in shown
    wrong = shared.mia.post(f"{run}/bulletins", content="text=x&next=5", headers=form)
    assert wrong.status_code == 422
    shared.service.clock.advance(hours=5)
    for path in ("/", run, f"{run}/failures"):
        assert "The public waits" in shared.mia.get(path).text
