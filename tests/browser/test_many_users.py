"""Pages of a run of many users, in a real browser: light, quick, and with the ledger's numbers.

USERS=1000000 (`make million`) fills a PostgreSQL with six million units first.
"""

import os
import re
import statistics
import sys

import pytest
from playwright.sync_api import expect
from sqlalchemy import text

from benchmarks.pages import filled
from orchestrator.identity.roles import Role
from tests.browser.test_dashboard import BUDGET, WEIGHT
from tests.browsers import browser
from tests.populated import served
from tests.site import Site

__all__ = ["browser"]

USERS = int(os.environ.get("USERS", "3000"))
LOOKS = 5 if USERS > 100_000 else 1
PAGES = (
    "/",
    "/runs/{run}",
    "/runs/{run}/users",
    "/runs/{run}/users?q=state:failed+category:photos",
    "/runs/{run}/users?q=wave:everyone+outcome:lost",
    "/runs/{run}/users/%23{middle}",
    "/runs/{run}/failures",
    "/runs/{run}/failures/aaaaaa?q=wave:everyone",
    "/runs/{run}/losses",
    "/runs/{run}/losses?q=category:photos+wave:everyone",
    "/runs/{run}/quarantine?q=reason:cut",
    "/runs/{run}/retry",
    "/runs/{run}/afterwards",
    "/runs/{run}/undo?q=wave:everyone",
)
TOOK = """() => { const [found] = performance.getEntriesByType("navigation");
    return found.responseEnd - found.requestStart; }"""


@pytest.fixture(scope="module")
def many(postgres, tmp_path_factory):
    with postgres.connect() as connection:
        connection.execute("CREATE DATABASE many_users")
    site = Site(tmp_path_factory.mktemp("many"), ledger_url=postgres.url("many_users"))
    run = filled(site.service.ledger, site.service.sealer, USERS)
    with site.service.ledger.begin() as connection:
        done = "UPDATE run SET state = 'finished', users = :users, started_at = 1, finished_at = 2"
        connection.execute(text(done), {"users": USERS})
    with served(site) as address:
        yield site, run, address
    site.close()
    with postgres.connect() as connection:
        connection.execute("DROP DATABASE many_users WITH (FORCE)")


@pytest.fixture
def page(browser, many):
    site, _, address = many
    token, _ = site.installation.tokens.create(
        holder="ada", role=Role.ADMIN, scopes=(), runs=None, who="tests"
    )
    page = browser.new_context(base_url=address).new_page()
    page.goto("/login")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{address}/")
    yield page
    page.context.close()


@pytest.mark.timeout(1_800)
def test_no_page_of_many_users_is_heavy_and_how_long_each_took_is_said(many, page):
    _, run, _ = many
    for path in PAGES:
        times = []
        for look in range(LOOKS):
            place = path.format(run=run, middle=USERS // 2 + look)
            assert page.goto(place).status == 200, path
            times.append(page.evaluate(TOOK))
        assert page.evaluate(WEIGHT) < BUDGET, path
        middle = statistics.median(times)
        sys.stdout.write(f"{USERS:>9,} users {path:50} {middle:7.1f} ms\n")


@pytest.mark.guarantee(17)
def test_the_sums_of_many_users_are_those_of_the_ledger(many, page):
    site, run, _ = many
    page.goto(f"/runs/{run}")
    with site.service.ledger.read() as connection:
        rows = dict(connection.execute(text("SELECT state, count(*) FROM unit GROUP BY 1")).all())
    shown = [int(n.replace(",", "")) for n in page.locator(".totals dd").all_inner_texts()]
    assert shown[:5] == [USERS, 6 * USERS, rows["settled"], 0, rows["failed"]]
    said = page.locator(".sums").inner_text()
    sums = [
        int(n.replace(",", "")) for n in re.findall(r"[\d,]+(?= (?:done|in p|fail|canc))", said)
    ]
    assert sum(sums) == 6 * USERS


def test_one_of_many_is_found_and_the_next_page_is_reached(many, page):
    _, run, _ = many
    page.goto(f"/runs/{run}/users?q=state:failed")
    first = page.locator("tbody tr").first.inner_text()
    page.get_by_role("link", name="Next page").click()
    expect(page).to_have_url(re.compile("cursor="))
    assert page.locator("tbody tr").first.inner_text() != first
    page.get_by_label("Find user").fill(f"user-{USERS - 1}")
    page.keyboard.press("Enter")
    expect(page.locator(".tags").last).to_contain_text(f"#{USERS - 1}")


def test_a_group_of_many_failures_is_retried_as_a_whole(many, page):
    """Last of all: it changes the run."""
    _, run, _ = many
    failing = len([user for user in range(USERS) if user % 100 == 3 and user % 3 == 0])
    page.goto(f"/runs/{run}/failures/aaaaaa")
    page.get_by_role("link", name="Retry…").first.click()
    page.get_by_role("button", name="See what that is").click()
    expect(page.get_by_label("Type the number")).to_be_visible(timeout=60_000)
    page.get_by_label("Type the number").fill(f"{failing:,}")
    page.get_by_role("button", name="again").click()
    expect(page.locator("h2").first).to_contain_text("started", timeout=120_000)
    expect(page.locator(".legend")).to_contain_text(f"{failing:,} under way")
