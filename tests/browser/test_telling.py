"""What users and the public see, and how support answers a claim, in a real browser."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from orchestrator.identity.roles import Role
from orchestrator.public.links import Link, written
from tests.browser.test_dashboard import BUDGET, RULES, WEIGHT, logged_in
from tests.browsers import browser
from tests.populated import populated, served

__all__ = ["browser"]

PHONE = {"width": 390, "height": 844}
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A run that waits at a gate, with a bulletin, a claim that was searched for, and its pages."""
    site, run = populated(tmp_path_factory.mktemp("told"))
    made = site.installation
    made.bulletins.change(
        run,
        slug="sidekick",
        title="Your Sidekick",
        support="help@example.org",
        choose_until=None,
        who="mia",
    )
    made.bulletins.publish(run, made.bulletins.draft(run).text, next_due=None, who="mia")
    claim = made.claims.open(run, 0, "contacts", had=9, sees=4, who="kim", reason="")
    site.service.go_on()
    with served(site) as address:
        yield site, run, address, claim
    site.close()


def own_page(site, run: str, number: int) -> str:
    link = Link(run=run, user=number, expires=2**32 - 1, generation=0)
    return f"/mine/{written(site.installation.sealer, link)}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_whoever_needs_to_know_is_kept_out_by_no_fault_and_no_weight(browser, told, scheme):
    site, run, address, claim = told
    page = logged_in(browser, site, address, color_scheme=scheme, viewport=PHONE)
    faults = {}
    for path in (
        "/status/sidekick",
        "/status/nothing",
        own_page(site, run, 0),
        "/mine/nothing",
        f"/runs/{run}/bulletins",
        f"/runs/{run}/claims",
        f"/claims/{claim}",
    ):
        page.goto(path, wait_until="load")
        found = Axe().run(page, options=RULES).response["violations"]
        if found:
            faults[path] = [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]
        assert page.evaluate(OVERFLOW) <= 0, path
        assert 1_000 < page.evaluate(WEIGHT) < BUDGET, path
    assert faults == {}
    page.context.close()


@pytest.mark.parametrize("script", [True, False])
def test_a_user_chooses_on_their_own_page(browser, told, script):
    site, run, address, _ = told
    number = 8 + script
    page = browser.new_context(
        base_url=address, viewport=PHONE, java_script_enabled=script
    ).new_page()
    page.goto(own_page(site, run, number))
    expect(page.locator("body")).to_contain_text("4 of 6 are there now.")
    page.get_by_label("Combine them").check()
    page.get_by_label("With what").select_option("notes")
    page.get_by_role("button", name="Choose").click()
    expect(page.get_by_role("status")).to_contain_text("notes: combine them")
    page.reload()
    expect(page.get_by_role("status")).to_contain_text("notes: combine them")
    page.get_by_role("link", name="status page").click()
    expect(page.locator("h1")).to_have_text("Your Sidekick")
    page.goto("/mine/nothing")
    expect(page.locator("main")).to_contain_text("Open the link in the newest message")
    page.context.close()


def test_support_answers_a_claim(browser, told):
    site, run, address, _ = told
    page = logged_in(browser, site, address, Role.SUPPORT, "kim")
    reference = site.installation.progress.reference(run, 7)
    page.goto(f"/runs/{run}/users/{reference}")
    page.get_by_label("they had").fill("300")
    page.get_by_label("and see").fill("64")
    page.get_by_role("button", name="Search every source").click()
    page.wait_for_url(re.compile(r"/claims/[0-9a-f]+$"))
    expect(page.get_by_role("status")).to_contain_text("Searching")
    site.service.go_on()
    page.get_by_role("link", name="Look again").click()
    answer = page.locator("#tell")
    expect(answer).to_contain_text("You told us that you had 300 contacts and see 64.")
    expect(answer).to_contain_text("4 we brought back")
    expect(answer).to_contain_text("are in none of our copies")
    assert "canary-" not in page.content()
    page.get_by_role("link", name="Claims").click()
    expect(page.locator("main")).to_contain_text("300")
    page.goto(f"/runs/{run}/users/{reference}")
    page.get_by_role("button", name="Link to their own page").click()
    link = page.locator("#link").inner_text()
    page.goto(link.replace("http://127.0.0.1:8730", address))
    expect(page.locator("main")).to_contain_text("You told us that contacts are missing")
    page.context.close()
