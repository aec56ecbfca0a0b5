"""Every row of the table of decisions, end to end: what a preview says, a run does."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.aftercare import Aftercare
from orchestrator.audit import audit
from orchestrator.books import Books, imbalances
from orchestrator.errors import NotFound, Refused
from orchestrator.items import UserId
from orchestrator.lifecycle import RunState
from orchestrator.plan import Choice, OnConflict
from orchestrator.ports import Fate
from orchestrator.query import Query
from tests.in_process import Service
from workers.sources import memory as source
from workers.targets import memory as target
from workers.targets.memory import Disturbance

AS_OF = datetime(2009, 10, 1, tzinfo=UTC)
EARLIER, AFTER = AS_OF - timedelta(days=200), AS_OF + timedelta(days=2)
ANN = UserId("ann")
PLAN = """
version: 1
name: conflicts
incident: {{as_of: 2009-10-01T00:00:00Z}}
sources:
  core: {{kind: memory, name: core}}
  old: {{kind: memory, name: old}}
targets:
  live: {{kind: memory, name: live}}
defaults: {{attempts: 3, gate: {{failed: 100%}}}}
phases:
  - {{restore: contacts, to: live, on_conflict: {policy}}}
  - {{restore: notes, to: live, on_conflict: {policy}}}
  - {{restore: high_scores, to: live}}
approvals: {approvals}
"""
JULY, JANUARY = "20090701T000000Z", "20090101T000000Z"


def card(uid: str, *lines: str, name: str = "Bo Cee", rev: str = JULY) -> bytes:
    given, _, family = name.partition(" ")
    head = ["BEGIN:VCARD", "VERSION:3.0", f"UID:{uid}", f"REV:{rev}", f"FN:{name}"]
    return "\r\n".join([*head, f"N:{family};{given};;;", *lines, "END:VCARD", ""]).encode()


def note(name: str, body: str, revised: str = "2009-07-01T00:00:00Z") -> bytes:
    return json.dumps({"id": name, "body": body, "revised": revised}).encode()


def store():
    return target.store("live")


def put(category: str, ident: str, content: bytes, at: datetime = AFTER) -> None:
    store().put(category, ANN, ident, content, at=at)


def recovered(*, contacts: dict[str, bytes] | None = None, notes: dict[str, bytes] | None = None):
    source.put("core", {ANN: {"contacts": contacts or {}, "notes": notes or {}}})


@pytest.fixture
def service(request, tmp_path):
    postgresql = getattr(request, "param", "") == "postgresql"
    url = request.getfixturevalue("fresh_database") if postgresql else None
    service = Service(tmp_path, ledger_url=url)
    target.forget("live")
    source.put("core", {})
    source.put("old", {})
    yield service
    service.work.close()


on_both_ledgers = pytest.mark.parametrize("service", ["sqlite", "postgresql"], indirect=True)


def run(service, policy: str = "merge", **more) -> str:
    approvals = 2 if policy == "replace" else 0
    run_id = service.submit(PLAN.format(policy=policy, approvals=approvals), **more)
    service.go_on()
    if service.progress.state(run_id) is RunState.AWAITING_APPROVAL:
        for who in ("jo", "kim"):
            service.runs.approve(run_id, who=who, reason="read")
        service.go_on()
    return run_id


def books(service, run_id: str) -> Books:
    assert service.ended(run_id) is RunState.FINISHED
    assert audit(service.ledger, run_id) == []
    found = service.status(run_id).books
    assert imbalances(found, settled=True) == []
    return found


def live(category: str = "contacts") -> dict[str, str]:
    return {
        ref: held.decode("utf-8", "replace")
        for ref, held in store().contents(category, ANN).items()
    }


def outcomes(service, run_id: str, category: str = "contacts") -> dict[str, str]:
    answer = service.progress.user(run_id, ANN)
    (unit,) = (one for one in answer.categories if one.category == category)
    return {one["ident"]: one["outcome"] for one in unit.items}


# The table ------------------------------------------------------------------------------------


def every_row() -> None:
    """Something of each row, for contacts and notes alike."""
    recovered(
        contacts={
            "nothing": card("nothing", "TEL:1101", name="No Thing"),
            "equal": card("equal", "TEL:2201", name="E Qual"),
            "changed": card("changed", "TEL:33301", "BDAY:19800101", name="Cha Nged"),
            "older": card("older", "TEL:44401", name="Ol Der"),
            "newer": card("newer", "TEL:55501", name="Ne Wer"),
            "deleted": card("deleted", "TEL:66601", name="De Leted"),
            "contained": card("contained", "TEL:77701", name="Con Tained"),
            "typed": card("typed", "TEL:+49 30 88801", "NOTE:sea", name="Ty Ped"),
            "twin": card("twin", "TEL:+49 30 88801", "EMAIL:t@x.org", name="Ty Ped"),
            "triplet": card("triplet", "TEL:+49 30 88801", name="Ped, Ty"),
            "other": card("other", "TEL:+49 30 88801", name="Ot Her"),
        },
        notes={
            "apart": note("apart", "a poem"),
            "longer": note("longer", "milk and eggs"),
            "unreadable": note("unreadable", "x"),
        },
    )
    put("contacts", "equal", card("equal", "TEL:2201", name="E Qual", rev=JANUARY))
    put("contacts", "changed", card("changed", "TEL:33302", "BDAY:19800202", name="Cha Nged"))
    put("contacts", "older", card("older", "TEL:44402", name="Ol Der", rev=JANUARY), EARLIER)
    put("contacts", "newer", card("newer", "TEL:55502", name="Ne Wer"), AS_OF)
    put("contacts", "deleted", card("deleted", name="De Leted"))
    store().delete("contacts", ANN, "deleted", at=AFTER)
    put("contacts", "contained", card("contained", "TEL:77701", "TEL:77702", name="Con Tained"))
    put("contacts", "mine", card("mine", "TEL:004930 88801", name="Ty Ped"))
    put("notes", "apart", note("apart", "a letter"))
    put("notes", "longer", note("longer", "milk"))
    put("notes", "unreadable", b"\xff\xfe")


EXPECTED = {  # restored (replaced and beside of them), merged, present, superseded, declined
    "newest": (3, 1, 0, 0, 1, 9, 1),
    "keep-live": (2, 0, 0, 0, 1, 10, 1),
    "merge": (4, 0, 2, 7, 2, 0, 1),
    "keep-both": (12, 0, 10, 0, 1, 0, 1),
    "replace": (9, 7, 0, 0, 1, 3, 1),
}


@pytest.mark.guarantee(15)
@pytest.mark.parametrize("policy", [policy.value for policy in OnConflict])
def test_a_preview_counts_exactly_what_a_run_does(service, policy):
    every_row()
    before = dict(store().held)
    preview = books(service, run(service, policy, preview=True))
    assert store().held == before
    found = books(service, run(service, policy))
    assert preview == found
    assert found.items == 14
    assert (
        found.restored,
        found.replaced,
        found.beside,
        found.merged,
        found.present,
        found.superseded,
        found.declined,
    ) == EXPECTED[policy]


@pytest.mark.guarantee(3)
@pytest.mark.parametrize("policy", [policy.value for policy in OnConflict])
def test_a_second_run_changes_nothing(service, policy):
    every_row()
    run(service, policy)
    before = live(), live("notes")
    again = books(service, run(service, policy))
    assert (live(), live("notes")) == before
    assert (again.restored, again.merged) == (0, 0)


@on_both_ledgers
def test_each_item_ends_as_its_row_says(service):
    every_row()
    found = run(service)
    assert outcomes(service, found) == {
        "nothing": "restored",
        "equal": "present",
        "changed": "merged",
        "older": "merged",
        "newer": "merged",
        "deleted": "declined",
        "contained": "present",
        "typed": "merged",
        "twin": "merged",
        "triplet": "merged",
        "other": "restored",
    }
    held = {ref: set(content.split("\r\n")) for ref, content in live().items()}
    assert {"TEL:33301", "TEL:33302", "BDAY:19800202", "X-BDAY:19800101"} <= held["changed"]
    assert set(held) == {
        "nothing", "equal", "changed", "older", "newer", "contained", "mine", "other",
    }  # fmt: skip
    assert {"NOTE:sea", "EMAIL:t@x.org", "TEL:004930 88801"} <= held["mine"]


# Merging ---------------------------------------------------------------------------------------


def one_conflict(ident: str = "x") -> None:
    """Somebody's card of before the loss, and what is there now under this ident."""
    recovered(contacts={"x": card("x", "TEL:1101", "EMAIL:bo@x.org", "BDAY:19800101")})
    put("contacts", ident, card(ident, "TEL:2201", "EMAIL:bo@x.org", "BDAY:19800202"))


BOTH = {"TEL:1101", "TEL:2201", "BDAY:19800202", "X-BDAY:19800101"}
ORIGINS = "added: TEL; live one stands: BDAY"


def line_of(service, run_id: str) -> dict:
    (contacts, *_) = service.progress.user(run_id, ANN).categories
    (line,) = contacts.items
    return line


def begun(service, policy: str = "merge") -> str:
    """A run whose inspection, which probes the store, is over."""
    run_id = service.submit(PLAN.format(policy=policy, approvals=0))
    while service.progress.state(run_id) is not RunState.RUNNING:
        service.conductor.tick()
        service.answer(at_most=1)
    return run_id


@pytest.mark.guarantee(9)
def test_the_account_names_what_came_from_where_and_never_what_it_is(service):
    one_conflict()
    line = line_of(service, run(service))
    assert (line["outcome"], line["note"], line["origins"]) == ("merged", "", ORIGINS)


@pytest.mark.guarantee(10)
def test_undoing_a_merge_brings_back_what_was_there(service):
    one_conflict()
    before = live()
    found = run(service)
    assert live() != before
    undo = Aftercare(service.ledger, service.sealer).undo(found, Query(), who="mia", reason="x")
    service.go_on()
    assert service.ended(undo) is RunState.FINISHED
    assert live() == before


@pytest.mark.guarantee(8)
@pytest.mark.parametrize("ident", ["x", "mine"])
def test_what_its_user_deletes_after_a_merge_stays_deleted(service, ident):
    one_conflict(ident)
    run(service)
    assert set(live()) == {ident}
    store().delete("contacts", ANN, ident, at=AFTER)
    again = run(service)
    assert outcomes(service, again) == {"x": "declined"}
    assert live() == {}


@pytest.mark.guarantee(5)
@pytest.mark.parametrize("ident", ["x", "mine"])
def test_a_merge_takes_effect_only_on_what_was_read(service, ident):
    """An editor is faster, twice: what it wrote is merged with."""
    one_conflict(ident)
    found = begun(service)
    edits = iter(["TEL:3301", "TEL:4401"])

    def edit(category, _write):
        number = next(edits, None) if category == "contacts" else None
        if number is not None:
            put("contacts", ident, card(ident, number, "EMAIL:bo@x.org", "BDAY:19800202"))

    store().disturb = edit
    service.go_on()
    assert outcomes(service, found) == {"x": "merged"}
    assert set(live()[ident].split("\r\n")) >= (BOTH - {"TEL:2201"}) | {"TEL:4401"}
    assert books(service, found).merged == 1


@pytest.mark.guarantee(6)
@pytest.mark.parametrize("ident", ["x", "mine"])
@pytest.mark.parametrize("stored", [True, False])
def test_a_merge_whose_answer_was_lost_is_finished_as_it_was(service, ident, stored):
    one_conflict(ident)
    found = begun(service)
    lost = iter([Disturbance(fate=Fate.UNKNOWN, stored=stored)])
    store().disturb = lambda category, _: next(lost, None) if category == "contacts" else None
    service.go_on()
    assert (line_of(service, found)["outcome"], line_of(service, found)["origins"]) == (
        "merged",
        ORIGINS,
    )
    assert set(live()[ident].split("\r\n")) >= BOTH
    assert books(service, found).merged == 1


@pytest.mark.guarantee(6)
@pytest.mark.parametrize("ident", ["x", "mine"])
def test_a_merge_that_was_cut_off_before_its_account_is_finished_as_it_was(service, ident):
    one_conflict(ident)
    found = begun(service)

    def vanish(_category, _write):
        store().away = True  # from the next call on: the write itself is done

    store().disturb = vanish
    for _ in range(20):
        service.conductor.tick()
        service.answer()
    assert store().away
    first, store().away, store().disturb = live(), False, None
    service.go_on()
    assert live() == first
    assert line_of(service, found)["origins"] == ORIGINS
    assert books(service, found).merged == 1


def test_a_base_in_another_source_keeps_what_its_user_let_go_of_away(service):
    both = card("x", "TEL:1101", "EMAIL:bo@x.org", name="Bo Cee")
    recovered(contacts={"x": card("x", "TEL:1101", "EMAIL:bo@x.org", "NOTE:tea")})
    put("contacts", "x", card("x", "TEL:1101", "TEL:2201"))
    source.put("old", {ANN: {"contacts": {"x": both.replace(JULY.encode(), JANUARY.encode())}}})
    found = run(service)
    assert line_of(service, found)["origins"] == "added: NOTE; left out: EMAIL"
    held = live()["x"].split("\r\n")
    assert {"NOTE:tea", "TEL:2201"} <= set(held)
    assert "EMAIL:bo@x.org" not in held


def test_a_base_is_found_also_where_contents_do_not_fit_into_memory(service, monkeypatch):
    monkeypatch.setattr("workers.reading.CONTENT_BUDGET", 100)
    test_a_base_in_another_source_keeps_what_its_user_let_go_of_away(service)


def test_a_later_run_that_finds_more_merges_it_too(service):
    one_conflict()
    run(service)
    recovered(contacts={"x": card("x", "TEL:1101", "NOTE:tea", rev="20090801T000000Z")})
    again = run(service)
    assert outcomes(service, again) == {"x": "merged"}
    assert set(live()["x"].split("\r\n")) >= BOTH | {"NOTE:tea"}


# Equivalents -----------------------------------------------------------------------------------


def test_what_lay_beside_the_lost_item_before_the_loss_is_another_thing(service):
    one_conflict()
    put("contacts", "mine", card("mine", "EMAIL:bo@x.org"), EARLIER)
    store().delete("contacts", ANN, "x", at=EARLIER)
    found = run(service, "newest")
    assert outcomes(service, found) == {"x": "restored"}


def test_two_recovered_items_that_are_alike_are_both_restored(service):
    recovered(contacts={n: card(n, f"NOTE:{n}", "EMAIL:bo@x.org") for n in ("one", "two")})
    found = run(service)
    assert outcomes(service, found) == {"one": "restored", "two": "restored"}


# Choices ---------------------------------------------------------------------------------------


def choose(service, run_id: str, wanted: Choice, category: str | None = None) -> int:
    with service.ledger.read() as connection:
        number = service.progress.number(connection, run_id, ANN)
    return service.runs.choose(run_id, number, wanted, who="ann", category=category)


@pytest.mark.parametrize(
    ("wanted", "ends"),
    [(Choice.MERGE, "merged"), (Choice.KEEP_BOTH, "restored"), (Choice.KEEP_MINE, "superseded")],
)
def test_a_user_may_choose_while_the_run_goes_on(service, wanted, ends):
    one_conflict()
    found = begun(service, "newest")
    assert choose(service, found, wanted) == 0
    service.go_on()
    assert outcomes(service, found) == {"x": ends}


@on_both_ledgers
@pytest.mark.parametrize(
    ("wanted", "ends"),
    [(Choice.MERGE, "merged"), (Choice.KEEP_BOTH, "restored"), (Choice.KEEP_MINE, "superseded")],
)
def test_a_user_may_choose_after_the_run_has_ended(service, wanted, ends):
    one_conflict()
    found = run(service, "newest")
    assert outcomes(service, found) == {"x": "superseded"}
    assert choose(service, found, wanted) == (0 if wanted is Choice.KEEP_MINE else 1)
    service.go_on()
    assert outcomes(service, found) == {"x": ends}
    books(service, found)


def test_what_was_chosen_for_one_category_counts_more_than_for_all(service):
    one_conflict()
    source.put("old", {ANN: {"notes": {"n": note("n", "a poem")}}})
    put("notes", "n", note("n", "a letter"))
    found = begun(service, "newest")
    choose(service, found, Choice.KEEP_BOTH)
    choose(service, found, Choice.MERGE, "contacts")
    service.go_on()
    assert outcomes(service, found) == {"x": "merged"}
    assert outcomes(service, found, "notes") == {"n": "restored"}


def test_a_choice_that_cannot_be_is_refused(service):
    one_conflict()
    found = begun(service)
    with pytest.raises(NotFound):
        choose(service, found, Choice.MERGE, "photos")
    with pytest.raises(Refused):
        choose(service, found, Choice.MERGE, "high_scores")
    choose(service, found, Choice.MERGE)  # where it can be
    with pytest.raises(Refused):
        choose(service, run(service, preview=True), Choice.MERGE)


# Beside ----------------------------------------------------------------------------------------


def test_a_better_copy_of_what_was_put_beside_takes_its_place(service):
    one_conflict()
    material = {"x": card("x", "TEL:1101"), "y": card("y", "TEL:1101")[:-9]}
    recovered(contacts=material)
    found = run(service, "keep-both")
    (kept,) = service.progress.quarantine(found)
    better = card("x", "TEL:1101", "NOTE:tea", rev="20090801T000000Z")
    service.runs.release(found, {kept["number"]: better}, who="jo", reason="mended")
    service.go_on()
    assert any("NOTE:tea" in content for content in live().values())
    assert len(live()) == 2
    books(service, found)
