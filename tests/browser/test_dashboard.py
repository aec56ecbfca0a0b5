"""What people see and do on the pages, in a real browser."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from orchestrator.identity.roles import Role
from tests.browsers import browser
from tests.populated import PLAN, populated, served, user
from workers.targets import memory as target

__all__ = ["browser"]

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
"""What may be different in dark: the rest of a page is the same."""
PAGES = (
    "/",
    "/runs/{run}",
    "/runs/{run}/users?q=state:settled",
    "/runs/{run}/users?q=nonsense",
    "/runs/{run}/users/{user}",
    "/runs/{run}/failures",
    "/runs/{run}/failures?q=category:nothing",
    "/runs/{run}/failures/{cause}",
    "/runs/{run}/retry",
    "/runs/{run}/quarantine",
    "/runs/{run}/losses",
    "/runs/{run}/plan",
    "/runs/{run}/afterwards",
    "/runs/{run}/verify",
    "/runs/{run}/undo?q=category:notes",
    "/runs/{run}/deliveries",
    "/runs/{run}/bulletins",
    "/runs/{run}/claims",
    "/plans",
    "/plans/new",
    "/workers",
    "/audit?check=yes",
    "/login",
    "/nowhere",
)
BUDGET = 150 * 1024
WEIGHT = """() => ["navigation", "resource"].flatMap((kind) => performance.getEntriesByType(kind))
    .reduce((sum, entry) => sum + entry.decodedBodySize, 0)"""


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A site whose run is over, with failures; looked at, never changed."""
    site, run = populated(tmp_path_factory.mktemp("shown"), over=True)
    with served(site) as address:
        yield site, run, address
    site.close()


@pytest.fixture
def moving(tmp_path):
    """A site whose run waits at a gate."""
    site, run = populated(tmp_path)
    with served(site) as address:
        yield site, run, address
    site.close()


def logged_in(browser, site, address, role=Role.ADMIN, holder="ada", **how):
    """A browser's context of somebody with that role, and a page in it."""
    token, _ = site.installation.tokens.create(
        holder=holder, role=role, scopes=(), runs=None, who="tests"
    )
    page = browser.new_context(base_url=address, **how).new_page()
    page.goto("/login")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{address}/")
    return page


def cause_of(site, run):
    return site.installation.progress.causes(run)[0].fingerprint


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_have_no_fault_that_keeps_anybody_out(browser, shown, scheme):
    site, run, address = shown
    page = logged_in(browser, site, address, color_scheme=scheme, reduced_motion="reduce")
    reference = site.installation.progress.reference(run, 0)
    faults = {}
    for path in PAGES:
        page.goto(path.format(run=run, user=reference, cause=cause_of(site, run)))
        page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
        rules = RULES if scheme == "light" else COLOURS
        found = Axe().run(page, options=rules).response["violations"]
        if found:
            faults[path] = [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]
    assert faults == {}
    page.context.close()


def test_a_page_weighs_little_with_all_that_it_loads(browser, shown):
    site, run, address = shown
    page = logged_in(browser, site, address)
    for path in PAGES:
        place = path.format(run=run, user="%230", cause=cause_of(site, run))
        page.goto(place, wait_until="load")
        loaded = page.evaluate(WEIGHT)
        assert 1_000 < loaded < BUDGET, (path, loaded)
    page.context.close()


def test_pages_fit_on_a_narrow_screen(browser, shown):
    """WCAG 1.4.10: at 320 pixels only tables and code scroll sideways, each by itself."""
    site, run, address = shown
    page = logged_in(browser, site, address, viewport={"width": 320, "height": 640})
    wide = {}
    for path in PAGES:
        page.goto(path.format(run=run, user="%230", cause=cause_of(site, run)))
        width = page.evaluate("document.scrollingElement.scrollWidth")
        if width > 320:
            wide[path] = width
    assert wide == {}
    page.context.close()


@pytest.mark.guarantee(17)
def test_the_numbers_of_the_overview_are_those_of_the_ledger(browser, shown):
    site, run, address = shown
    page = logged_in(browser, site, address)
    page.goto(f"/runs/{run}")
    status = site.installation.progress.status(run)
    totals = dict(
        zip(
            page.locator(".totals dt").all_inner_texts(),
            page.locator(".totals dd").all_inner_texts(),
            strict=True,
        )
    )
    assert totals["Failed"] == str(sum(phase.failed for phase in status.phases)) != "0"
    assert totals["Done"] == str(sum(phase.settled for phase in status.phases))
    assert totals["Users in scope"] == str(status.run.users)
    assert totals["Items lost or in quarantine"] == str(status.losses) != "0"
    text = page.locator(".sums").inner_text()
    sums = [int(n) for n in re.findall(r"\d+(?= (?:done|in p|failed|canc|rest))", text)]
    assert sum(sums[:4]) == sums[4]
    page.context.close()


@pytest.mark.guarantee(9)
def test_no_page_names_anybody_until_somebody_says_why(browser, shown):
    site, run, address = shown
    page = logged_in(browser, site, address)
    reference = site.installation.progress.reference(run, 7)
    for path in PAGES:
        page.goto(path.format(run=run, user=reference, cause=cause_of(site, run)))
        assert "canary-" not in page.content(), path
    page.goto(f"/runs/{run}/users/{reference}")
    page.get_by_label("Why do you need to know").fill("they called and asked")
    page.get_by_role("button", name="Reveal").click()
    expect(page.locator(".notice")).to_contain_text(user(7))
    page.goto("/audit")
    expect(page.locator("main")).to_contain_text("they called and asked")
    page.context.close()


def test_everything_works_without_script(browser, moving):
    site, run, address = moving
    page = logged_in(browser, site, address, java_script_enabled=False, holder="jo")
    page.goto(f"/runs/{run}")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".tags")).to_contain_text("paused")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".tags")).to_contain_text("running")
    while not site.service.status(run).over:
        page.get_by_role("button", name="Let held gates pass").click()
        site.service.go_on()
        page.goto(f"/runs/{run}")
    page.get_by_role("link", name="Retry failed").click()
    page.get_by_label("Reason").fill("the disk is mended")
    page.get_by_role("button", name="See what that is").click()
    units = page.get_by_label("Type the number").locator("xpath=preceding::dd").first.inner_text()
    page.get_by_label("Type the number").fill("1")
    page.get_by_role("button", name="again").click()
    expect(page.locator("h1")).not_to_have_text("sidekick-2009")  # the wrong number: refused
    page.go_back()
    target.store("shown").disturb = None
    page.get_by_label("Type the number").fill(units)
    page.get_by_role("button", name="again").click()
    expect(page.locator("h2").first).to_contain_text("started")
    site.service.go_on()
    page.goto(f"/runs/{run}")
    expect(page.locator(".totals")).to_contain_text(re.compile(r"Failed\s*0"))
    page.context.close()


def test_a_run_is_followed_without_asking_again(browser, moving):
    site, run, address = moving
    page = logged_in(browser, site, address)
    page.goto(f"/runs/{run}")
    before = page.locator(".totals .good dd").inner_text()
    page.wait_for_timeout(1_500)  # the stream has to be open before something happens
    site.service.runs.promote(run, who="jo", reason="looks good")
    site.service.go_on()
    expect(page.locator(".totals .good dd")).not_to_have_text(before, timeout=15_000)
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "find"
    page.context.close()


def test_what_somebody_writes_or_opened_stays_while_the_page_changes(browser, moving):
    site, run, address = moving
    page = logged_in(browser, site, address)
    page.goto(f"/runs/{run}")
    page.get_by_text("End it for good").click()
    page.get_by_label("The run's id").fill("half of it")
    page.get_by_text("Same data as a table").click()
    before = page.locator(".totals .good dd").inner_text()
    page.wait_for_timeout(1_500)
    site.service.runs.promote(run, who="jo", reason="looks good")
    site.service.go_on()
    expect(page.locator(".totals .good dd")).not_to_have_text(before, timeout=15_000)
    expect(page.get_by_label("The run's id")).to_have_value("half of it")
    expect(page.locator("#table table")).to_be_visible()
    page.context.close()


def test_a_failed_group_is_retried_a_few_first_and_followed_to_its_end(browser, moving):
    site, run, address = moving
    while not site.service.status(run).over:
        site.service.runs.promote(run, who="jo", reason="looks good")
        site.service.go_on()
    page = logged_in(browser, site, address, Role.OPERATOR, "kim")
    page.goto(f"/runs/{run}")
    page.get_by_role("link", name="memory: disturbed").click()
    page.get_by_role("link", name="Retry…").click()
    page.get_by_label("How many go first").fill("2")
    page.get_by_label("Reason").fill("the disk is mended")
    page.get_by_role("button", name="See what that is").click()
    page.get_by_label("Type the number").fill("6")
    page.get_by_role("button", name="Try the first 2 again").click()
    expect(page.locator(".legend")).to_contain_text("2 under way")
    stubborn = site.service.progress.reference(run, 55)
    store = target.store("shown")
    store.disturb = only(user(55), store.disturb)
    site.service.go_on()
    expect(page.locator(".legend")).to_contain_text("2 done", timeout=15_000)  # by itself
    page.reload()
    page.get_by_role("button", name="Go on with the rest").click()
    site.service.go_on()
    expect(page.locator(".legend")).to_contain_text("1 failed again", timeout=15_000)
    expect(page.locator("h2").first).to_contain_text("done")
    assert page.locator("section:has(#not) tbody tr").count() == 1
    expect(page.locator("section:has(#not)")).to_contain_text(stubborn)
    page.context.close()


def only(unlucky, disturb):
    """The same trouble, for one user alone."""
    return lambda category, write: disturb(category, write) if write.owner == unlucky else None


def test_a_run_is_steered_by_the_keyboard_alone(browser, moving):
    site, run, address = moving
    token, _ = site.installation.tokens.create(
        holder="kay", role=Role.ADMIN, scopes=(), runs=None, who="tests"
    )
    page = browser.new_context(base_url=address).new_page()
    page.goto(f"/runs/{run}")  # to the login, and back
    write(page, "Token", token)
    press(page, "Log in")
    page.wait_for_url(f"{address}/runs/{run}")
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")
    press(page, "Pause")
    expect(page.locator(".tags").first).to_contain_text("paused")
    press(page, "Resume")
    expect(page.locator(".tags").first).to_contain_text("running")
    press(page, "Retry failed…")
    write(page, "Reason", "by keyboard")
    press(page, "See what that is")
    write(page, "Type the number of restores, 1, to begin", "1")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(page.locator("h2").first).to_contain_text("started")
    page.context.close()


def focused(page):
    """What is under the keyboard: its name, as it is said."""
    return page.evaluate(
        """() => { const at = document.activeElement;
        const label = at.labels?.length ? at.labels[0] : at;
        return label.innerText.trim(); }"""
    )


def walk(page, name):
    """Tab until that is reached; what is reached has to be visibly so."""
    for _ in range(80):
        if focused(page).startswith(name):
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", name
            return
        page.keyboard.press("Tab")
    pytest.fail(f"{name} is not reached by the keyboard")


def press(page, name):
    walk(page, name)
    with page.expect_navigation():
        page.keyboard.press("Enter")


def write(page, name, text):
    walk(page, name)
    page.keyboard.type(text)


@pytest.mark.guarantee(7)
def test_a_plan_is_written_mended_submitted_and_approved_by_somebody_else(browser, moving):
    site, _, address = moving
    page = logged_in(browser, site, address, Role.OPERATOR, "kim")
    page.goto("/plans/new")
    text = PLAN.replace("users: {from: users.csv}\n", "").replace("census: census.csv\n", "")
    page.get_by_label("The plan").fill(text.replace("restore: notes", "restore: note"))
    page.get_by_role("button", name="Submit for approval").click()
    expect(page.locator(".problems")).to_contain_text("did you mean 'notes'?")
    page.get_by_label("The plan").fill(text.replace("sidekick-2009", "written-here"))
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_role("status")).to_contain_text("no errors")
    page.get_by_role("button", name="Submit for approval").click()
    page.wait_for_url(re.compile(r"/runs/[0-9a-f]+$"))
    site.service.go_on()
    page.reload()
    assert page.get_by_role("button", name="Approve").count() == 0  # no operator approves
    other = logged_in(browser, site, address, Role.APPROVER, "pat")
    other.goto(page.url)
    other.get_by_role("button", name="Approve").click()
    expect(other.locator(".tags")).to_contain_text("approved by pat")
    page.context.close()
    other.context.close()


def test_what_a_role_may_not_do_is_not_offered(browser, shown):
    site, run, address = shown
    page = logged_in(browser, site, address, Role.VIEWER, "vic")
    page.goto(f"/runs/{run}")
    assert page.get_by_role("link", name="Users", exact=True).count() == 0
    assert page.get_by_role("link", name="Retry").count() == 0
    page.goto(f"/runs/{run}/users")
    expect(page.locator("h1")).to_have_text("Forbidden")
    page.context.close()


def test_whoever_is_nobody_yet_logs_in_first_and_comes_where_they_wanted(browser, shown):
    site, run, address = shown
    page = browser.new_context(base_url=address).new_page()
    page.goto(f"/runs/{run}/losses")
    page.get_by_label("Token").fill("rst_nonsense")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("not valid")
    token, _ = site.installation.tokens.create(
        holder="oz", role=Role.OPERATOR, scopes=(), runs=None, who="tests"
    )
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{address}/runs/{run}/losses")
    page.get_by_role("button", name="Log out").click()
    page.goto("/")
    page.wait_for_url(re.compile("/login"))
    page.context.close()
