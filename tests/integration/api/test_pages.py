"""What can be done on pages, without a browser: looked at first, confirmed, else refused."""

import re

from sqlalchemy import select

from orchestrator.ledger.keys import keys_of
from orchestrator.ledger.schema import quarantine, run_user
from orchestrator.lifecycle import RunState
from tests.installed import FILES, PLAN, Furnished, clear_the_way, furnished, shared

__all__ = ["furnished", "shared"]


def seen(client, run):
    """What a form of the run's pages sends back of what was looked at."""
    return re.search(r'name="seen" value="([^"]+)"', client.get(f"/runs/{run}/undo").text)[
        1
    ].replace("&#34;", '"')


def post(client, path, **form):
    return client.post(path, data=form)


def landed(answer):
    """The page that a form led to."""
    assert answer.status_code == 303, answer.text
    return answer.headers["Location"]


def test_lists_are_filtered_by_the_query_language_and_say_what_is_wrong_with_it(shared):
    ada, run = shared.ada, shared.run
    rows = {
        f"/runs/{run}/users?q=state:failed": 2,
        f"/runs/{run}/users?q=outcome:restored+category:contacts": 2,
        f"/runs/{run}/users?q=reason:cut": 1,
        f"/runs/{run}/losses?q=category:contacts": 1,
        f"/runs/{run}/losses?q=category:notes": 0,
        f"/runs/{run}/losses?q=outcome:nameless": 1,
        f"/runs/{run}/failures/{shared.cause['fingerprint']}?q=category:contacts": 2,
        f"/runs/{run}/quarantine?q=user:bob": 1,
        f"/runs/{run}/quarantine?q=user:cat": 0,
        f"/runs/{run}/quarantine?q=state:settled+reason:cut": 1,
    }
    for path, expected in rows.items():
        text = ada.get(path).text
        assert (
            text.count('<tr><td><a href="/runs/') + text.count('<tr><td class="num">') == expected
        ), path
    for path in ("users", "losses", "quarantine", "failures"):
        answer = ada.get(f"/runs/{run}/{path}?q=colour:red")
        assert answer.status_code == 200
        assert "a query is made of word:value" in answer.text, path
    assert "a query is made of word:value" in ada.get("/?q=red").text
    assert "each word is given once" in ada.get("/audit?q=by:a+by:b").text


def test_runs_and_the_audit_log_are_filtered_too(shared):
    ada, run = shared.ada, shared.run
    assert f"/runs/{run}" in ada.get("/?q=state:finished+purpose:restore").text
    assert "Nothing matches" in ada.get("/?q=state:paused").text
    assert "Nothing matches" in ada.get("/audit?q=action:never").text
    assert "approve" in ada.get(f"/audit?q=action:approve+run:{run}+by:jo").text
    assert "The log is whole" in ada.get("/audit?check=yes").text


def test_a_cause_that_nobody_has_is_not_found(shared):
    assert shared.ada.get(f"/runs/{shared.run}/failures/000000").status_code == 404


def test_a_viewer_sees_a_cause_without_whom_it_concerns(shared):
    page = shared.client("viewer").get(f"/runs/{shared.run}/failures/{shared.cause['fingerprint']}")
    assert page.status_code == 200
    assert "Whom it concerns" not in page.text


def test_items_are_shown_with_what_became_of_them_and_without_their_names(shared):
    text = shared.ada.get(f"/runs/{shared.run}/users/%231").text
    assert re.search(r"<code>i_[0-9a-f]{10}</code>", text)
    assert "uid-bob" not in text


# Quarantine ---------------------------------------------------------------------------------------


def test_a_copy_is_opened_with_a_reason_mended_on_the_page_and_restored(furnished):
    ada, run = furnished.ada, furnished.run
    where = f"/runs/{run}/quarantine/1"
    assert post(ada, f"{where}/open", reason="").status_code == 422
    page = post(ada, f"{where}/open", reason="they called")
    assert "BEGIN:VCARD\nUID:cut" in page.text
    mended = "BEGIN:VCARD\nVERSION:3.0\nUID:cut\nFN:B\nN:B;;;;\nEND:VCARD\n"
    fields = {"reason": (None, "completed it"), "text": (None, mended), "lines": (None, "crlf")}
    assert ada.post(f"{where}/release", files={"text": (None, mended)}).status_code == 422
    assert landed(ada.post(f"{where}/release", files=fields)) == f"/runs/{run}/quarantine"
    furnished.service.go_on()
    assert "handed back" in ada.get(f"/runs/{run}/quarantine").text
    restored = "".join(
        path.read_text() for path in (furnished.service.folder / "restored" / "bob").rglob("*.vcf")
    )
    assert "UID:cut" in restored


def test_a_mended_file_comes_before_what_was_written_whatever_bytes_it_holds(furnished):
    ada, run = furnished.ada, furnished.run
    data = b"\r\n--x\r\n\0\xff\r\n" * 50
    answer = ada.post(
        f"/runs/{run}/quarantine/1/release",
        files={"text": (None, "no"), "reason": (None, "mended it"), "file": ("a.vcf", data)},
    )
    landed(answer)
    log = ada.get("/api/v1/audit-log", params={"action": "release"}).json()["rows"]
    assert log[0]["detail"] == {"copies": 1, "reason": "mended it"}
    assert handed_back(furnished, run) == data


def handed_back(site, run):
    """The bytes of the copy that was handed back, as the ledger keeps them."""
    with site.installation.ledger.read() as connection:
        row = connection.execute(select(quarantine)).one()
        keys = keys_of(connection, site.installation.sealer, [user_hash(site, run)], root=run)
    of_user = next(iter(keys.values()))
    context = f"quarantine:{run}:{row.user}:{row.phase}".encode()
    return next(
        opened
        for key in of_user.values()
        if (opened := key.open(row.released, context)) is not None
    )


def user_hash(site, run):
    with site.installation.ledger.read() as connection:
        chosen = select(run_user.c.user_hash).where(run_user.c.run == run, run_user.c.number == 1)
        return connection.execute(chosen).scalar_one()


def test_all_copies_are_a_file_for_whoever_says_why(shared):
    where = f"/runs/{shared.run}/quarantine/export"
    assert post(shared.ada, where, reason="").status_code == 422
    answer = post(shared.ada, where, reason="to mend them")
    assert "attachment" in answer.headers["Content-Disposition"]
    assert answer.text.count("\n") == 1
    assert "to mend them" in shared.ada.get("/audit?q=action:export_quarantine").text


# Afterwards ---------------------------------------------------------------------------------------


def test_a_run_is_verified_from_its_page_and_the_verify_speaks_its_own_words(furnished):
    run = furnished.run
    assert "Verify 8 restores" in furnished.mia.get(f"/runs/{run}/verify").text
    assert "Verify 4 restores" in furnished.mia.get(f"/runs/{run}/verify?q=category:contacts").text
    made = landed(post(furnished.mia, f"/runs/{run}/verify", q="category:contacts", sample="1/1"))
    furnished.service.go_on()
    page = furnished.mia.get(made).text
    assert "as it was left" in page
    assert "not found in any source" not in page
    assert made.removeprefix("/runs/") in furnished.mia.get(f"/runs/{run}/afterwards").text
    assert post(furnished.mia, f"/runs/{run}/verify", sample="some").status_code == 422


def test_an_undo_is_typed_reasoned_approved_and_done(furnished):
    mia, jo, run = furnished.mia, furnished.jo, furnished.run
    form = {"seen": seen(mia, run), "typed": run, "reason": "the wrong people"}
    for without in ("seen", "typed", "reason"):
        answer = post(mia, f"/runs/{run}/undo", **{**form, without: ""})
        assert answer.status_code in {409, 422}, without
    undo = landed(post(mia, f"/runs/{run}/undo", **form))
    furnished.service.go_on()
    page = jo.get(undo).text
    digest = re.search(r'name="digest" value="(\w+)"', page)[1]
    look = re.search(r'name="seen" value="([^"]+)"', page)[1].replace("&#34;", '"')
    landed(post(jo, f"{undo}/approve", seen=look, digest=digest, reason="right"))
    furnished.service.go_on()
    assert "removed or put back" in jo.get(undo).text
    assert not list((furnished.service.folder / "restored").rglob("*.vcf"))


def test_a_run_is_closed_by_an_administrator_who_types_it(furnished):
    ada, run = furnished.ada, furnished.run
    form = {"seen": seen(ada, run), "typed": run, "reason": "over for good"}
    assert post(ada, f"/runs/{run}/close", **{**form, "typed": "no"}).status_code == 409
    assert post(ada, f"/runs/{run}/close", **form).status_code == 409  # it may be undone still
    assert post(furnished.mia, f"/runs/{run}/close", **form, early="yes").status_code == 403
    landed(post(ada, f"/runs/{run}/close", **form, early="yes"))
    assert "Closed by ada" in ada.get(f"/runs/{run}/afterwards").text
    opened = post(ada, f"/runs/{run}/quarantine/1/open", reason="curious")
    assert "Its key was erased" in opened.text


# One user -----------------------------------------------------------------------------------------


def test_somebody_is_erased_when_their_number_is_typed(furnished):
    mia, where = furnished.mia, f"/runs/{furnished.run}/users/%231"
    assert post(mia, f"{where}/forget", typed="#2", reason="they asked").status_code == 409
    landed(post(mia, f"{where}/forget", typed="#1", reason="they asked"))
    page = mia.get(where).text
    assert "never restored: declined" in page
    assert post(mia, f"{where}/reveal", reason="who was it").status_code == 409


def test_what_one_user_wants_is_kept_or_refused_in_words(furnished):
    where = f"/runs/{furnished.run}/users/%230"
    assert post(furnished.mia, f"{where}/choice", choice="shrug").status_code == 422
    landed(post(furnished.mia, f"{where}/choice", choice="keep-mine", category="contacts"))
    assert "choose" in furnished.ada.get("/audit?q=action:choose").text


# Plans --------------------------------------------------------------------------------------------


def test_a_preview_is_submitted_as_it_was_and_refused_when_the_data_changed(furnished):
    mia, folder = furnished.mia, furnished.service.folder
    (folder / "users.csv").write_text("user\nbob\n")
    (folder / "erased.csv").write_text("user\n")
    form = {"text": PLAN, "folder": str(folder)}
    preview = landed(post(mia, "/plans/preview", **form))
    furnished.service.go_on()
    page = mia.get(preview).text
    assert "would be restored" in page
    look = re.search(r'name="seen" value="([^"]+)"', page)[1].replace("&#34;", '"')
    (folder / "users.csv").write_text("user\nbob\ncat\n")
    made = post(mia, f"{preview}/submit", seen=look)
    if made.status_code == 303:
        run = made.headers["Location"].removeprefix("/runs/")
        furnished.service.go_on()
        assert furnished.service.status(run).run.state is RunState.REFUSED
    (folder / "users.csv").write_text("user\nbob\n")
    run = landed(post(mia, f"{preview}/submit", seen=look)).removeprefix("/runs/")
    furnished.service.go_on()
    assert furnished.service.status(run).run.state is RunState.AWAITING_APPROVAL


def test_the_plan_of_a_run_shows_what_changed_since_the_last_one(furnished):
    changed = PLAN.replace("attempts: 1", "attempts: 2")
    body = {"text": changed, "folder": str(furnished.service.folder), "files": FILES}
    run = furnished.mia.post("/api/v1/runs", json=body).json()["run"]["id"]
    page = furnished.mia.get(f"/runs/{run}/plan").text
    assert '<span class="removed">-defaults: {attempts: 1' in page
    assert '<span class="added">+defaults: {attempts: 2' in page
    only = furnished.client("operator", runs=[run])
    assert 'class="removed"' not in only.get(f"/runs/{run}/plan").text


def test_the_last_of_a_retry_is_shown_only_to_whoever_may_see_users(furnished: Furnished):
    run = furnished.run
    made = landed(post(furnished.mia, f"/runs/{run}/retries", q=""))
    landed(post(furnished.mia, f"{made}/confirm", units="2"))
    furnished.service.go_on()  # what stands in the way still does
    assert furnished.mia.get(made).text.count("<code>u_") == 2
    assert "u_" not in furnished.client("viewer").get(made).text.replace("u_…", "")
    clear_the_way(furnished.service.folder)
