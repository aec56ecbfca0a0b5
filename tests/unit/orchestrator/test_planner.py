import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import PlanInvalid
from orchestrator.plan import After, Backoff, Gate, Limits, OnConflict, Plan, Scope, Wave
from orchestrator.plan_text.document import plan_from_document
from orchestrator.plan_text.yaml_values import plain, read_yaml
from orchestrator.planner import diagnose, read_plan
from tests.unit.orchestrator.small_kinds import CATALOGUE, Columns, Contacts, Files, Rows

NOW = datetime(2026, 1, 1, tzinfo=UTC)

SMALL = """\
version: 1
name: small
incident: {as_of: 2009-10-01T00:00:00-07:00}
sources:
  core: {kind: files, path: core}
targets:
  pim: {kind: files, path: pim}
phases:
  - {restore: contacts, to: pim}
"""

FULL = """\
# a plan with everything in it
version: 1
name: sidekick-2009
incident:
  reference: INC-1042
  as_of: 2009-10-01T00:00:00-07:00
  service_start: 2004-01-01T00:00:00Z
users: {from: lists/affected.csv, decline: /srv/erased.csv}
census: census.csv
sources:
  core:
    kind: rows
    url: env:CORE_DB_URL
    password: file:/run/secrets/core
    tables: {contacts: {user: owner, body: card}, notes: {body: text}}
    share: 12.5%
    rate: 90/m
  backup: {kind: files, path: /mnt/backup, suffixes: [vcf, .ics]}
targets:
  pim: {kind: files, path: restored}
  scores: {kind: rows, url: "sqlite:///scores.db"}
waves:
  - {name: canary, users: 20}
  - {name: tenth, share: 10%}
  - {name: everyone}
defaults: {on_conflict: keep-both, attempts: 3, backoff: 1m..2h, gate: {failed: 2%, soak: 18h}}
phases:
  - restore: contacts
    to: pim
    from: [backup]
    on_conflict: keep-live
    gate: {settled: 99.5%, failed: 0.5%, approve: 1}
    limits: {rate: 200/s, bytes: 1.5MiB/s}
    repairs: all
    photo_size: 64KiB
  - {restore: notes, to: scores, scope: user, after: settled, attempts: 9, backoff: 30s}
approvals: 2
"""


def read(text: str | bytes) -> Plan:
    data = text.encode() if isinstance(text, str) else text
    return read_plan(
        data, path="a/plan.yaml", base=Path("/plans"), clock=lambda: NOW, catalogue=CATALOGUE
    )


def look(text: str | bytes):
    data = text.encode() if isinstance(text, str) else text
    return diagnose(
        data, "a/plan.yaml", base=Path("/plans"), clock=lambda: NOW, catalogue=CATALOGUE
    )


def test_a_small_plan_gets_every_default():
    plan = read(SMALL)
    assert plan.name == "small"
    assert plan.version == 1
    assert plan.approvals == 1
    assert plan.census is None
    assert plan.users.listed is None
    assert plan.waves == (Wave(name="everyone"),)
    (phase,) = plan.phases
    assert phase.sources == ("core",)
    assert phase.on_conflict is OnConflict.NEWEST
    assert phase.scope is Scope.WAVE
    assert phase.after is After.TERMINAL
    assert phase.gate == Gate()
    assert phase.limits == Limits()
    assert phase.attempts == 5
    assert phase.backoff == Backoff()
    assert phase.repairs == ("derive-name", "join-lines")
    assert phase.options == Contacts()


def test_a_full_plan_says_what_it_says():
    plan = read(FULL)
    assert plan.incident.as_of == datetime(2009, 10, 1, 7, tzinfo=UTC)
    assert plan.incident.service_start == datetime(2004, 1, 1, tzinfo=UTC)
    assert plan.incident.reference == "INC-1042"
    assert (plan.users.listed, plan.users.decline) == ("lists/affected.csv", "/srv/erased.csv")
    assert plan.census == "census.csv"
    assert list(plan.sources) == ["core", "backup"]
    assert plan.sources["core"].options == Rows(
        url="env:CORE_DB_URL",
        password="file:/run/secrets/core",
        tables={"contacts": Columns(user="owner", body="card"), "notes": Columns(body="text")},
        share=0.125,
        rate=1.5,
    )
    assert plan.sources["backup"].options == Files(
        path=Path("/mnt/backup"), suffixes=("vcf", ".ics")
    )
    assert plan.waves == (
        Wave(name="canary", users=20),
        Wave(name="tenth", share=0.1),
        Wave(name="everyone"),
    )
    contacts, notes = plan.phases
    assert contacts.sources == ("backup",)
    assert contacts.on_conflict is OnConflict.KEEP_LIVE
    assert contacts.gate == Gate(settled=0.995, failed=0.005, approve=1, soak=timedelta(hours=18))
    assert contacts.limits == Limits(rate=200.0, bytes=1_572_864)
    assert contacts.repairs == ("derive-name", "drop-photo", "join-lines")
    assert contacts.attempts == 3
    assert contacts.backoff == Backoff(first=timedelta(minutes=1), most=timedelta(hours=2))
    assert contacts.options == Contacts(photo_size=65536)
    assert notes.sources == ("core", "backup")
    assert notes.on_conflict is OnConflict.KEEP_BOTH
    assert (notes.scope, notes.after) == (Scope.USER, After.SETTLED)
    assert notes.gate == Gate(failed=0.02, soak=timedelta(hours=18))
    assert notes.attempts == 9
    assert notes.backoff == Backoff(first=timedelta(seconds=30), most=timedelta(seconds=30))
    assert plan.approvals == 2


@pytest.mark.parametrize(
    ("repairs", "expected"),
    [
        ("none", ()),
        ("[]", ()),
        ("[join-lines, drop-photo, join-lines]", ("drop-photo", "join-lines")),
        ("all", ("derive-name", "drop-photo", "join-lines")),
        ("", ("derive-name", "join-lines")),
    ],
)
def test_repairs_that_lose_something_are_off_unless_named(repairs, expected):
    text = SMALL.replace("to: pim}", f"to: pim, repairs: {repairs}}}")
    assert read(text).phases[0].repairs == expected


def test_repairs_off_in_the_defaults_can_be_switched_on_in_a_phase():
    text = SMALL + "defaults: {repairs: none}\n"
    assert read(text).phases[0].repairs == ()
    text = text.replace("to: pim}", "to: pim, repairs: [join-lines]}")
    assert read(text).phases[0].repairs == ("join-lines",)


@pytest.mark.parametrize("text", [SMALL, FULL])
@pytest.mark.guarantee(15)
def test_a_stored_document_gives_the_same_plan(text):
    plan = read(text)
    stored = json.loads(json.dumps(plan.document))
    again = plan_from_document(stored, catalogue=CATALOGUE)
    assert again == plan
    assert again.digest == plan.digest
    assert list(again.sources) == list(plan.sources)


@pytest.mark.parametrize("text", [SMALL, FULL])
def test_comments_spacing_and_spelling_do_not_change_the_digest(text):
    digest = read(text).digest
    assert len(digest) == 64
    assert (
        read("# more\n" + text.replace("\n", "   # remark\n").replace("{", "{ ")).digest == digest
    )
    assert read(text.replace("\n", "\r\n")).digest == digest
    assert read("\ufeff" + text).digest == digest
    assert (
        read(text.replace("-07:00", "+00:00").replace("T00:00:00+", "T07:00:00+")).digest == digest
    )
    assert read(text.replace("18h", "1080m").replace("12.5%", "12.50 %")).digest == digest
    assert read("---\n" + text + "...\n").digest == digest


def test_a_default_written_out_does_not_change_the_digest():
    text = SMALL.replace("to: pim}", "to: pim, attempts: 5, gate: {failed: 1%}, from: [core]}")
    assert read(text + "waves: [{name: everyone}]\n").digest == read(SMALL).digest


def shuffled(value, rng, *, keep=False):
    if isinstance(value, dict):
        keys = list(value)
        if not keep:
            rng.shuffle(keys)
        return {key: shuffled(value[key], rng, keep=key == "sources") for key in keys}
    if isinstance(value, list):
        return [shuffled(part, rng) for part in value]
    return value


@settings(max_examples=40, deadline=None)
@given(seed=st.integers())
def test_the_order_of_keys_does_not_change_the_digest(seed: int):
    plan = read(FULL)
    root = read_yaml(FULL).root
    assert root is not None
    text = json.dumps(shuffled(plain(root), random.Random(seed)))
    assert read(text).digest == plan.digest


@pytest.mark.guarantee(7)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: sidekick-2009", "name: sidekick-2010"),
        ("INC-1042", "INC-1043"),
        ("T00:00:00-07:00", "T00:00:01-07:00"),
        ("2004-01-01", "2004-01-02"),
        ("affected.csv", "affected2.csv"),
        ("erased.csv", "erased2.csv"),
        ("census: census.csv", "census: other.csv"),
        ("env:CORE_DB_URL", "env:OTHER_DB_URL"),
        ("secrets/core", "secrets/other"),
        ("user: owner", "user: holder"),
        ("/mnt/backup", "/mnt/backups"),
        ("suffixes: [vcf, .ics]", "suffixes: [.ics, vcf]"),
        ("path: restored", "path: restored2"),
        ("users: 20", "users: 21"),
        ("share: 10%", "share: 11%"),
        ("keep-both", "newest"),
        ("attempts: 3", "attempts: 4"),
        ("1m..2h", "1m..3h"),
        ("failed: 2%", "failed: 3%"),
        ("soak: 18h", "soak: 19h"),
        ("from: [backup]", "from: [backup, core]"),
        ("keep-live", "newest"),
        ("settled: 99.5%", "settled: 99.4%"),
        ("approve: 1", "approve: 2"),
        ("200/s", "201/s"),
        ("1.5MiB/s", "2MiB/s"),
        ("repairs: all", "repairs: none"),
        ("64KiB", "65KiB"),
        ("scope: user, ", ""),
        ("after: settled, ", ""),
        ("approvals: 2", "approvals: 3"),
        ("restore: notes, to: scores", "restore: notes, to: pim"),
    ],
)
def test_any_change_of_meaning_changes_the_digest(old, new):
    assert old in FULL
    assert read(FULL.replace(old, new)).digest != read(FULL).digest


def test_the_order_of_sources_is_their_trust():
    one, other = "  core: {kind: files, path: core}\n", "  more: {kind: files, path: more}\n"
    first = read(SMALL.replace(one, one + other))
    second = read(SMALL.replace(one, other + one))
    assert list(first.sources) == ["core", "more"]
    assert list(second.sources) == ["more", "core"]
    assert second.phases[0].sources == ("more", "core")
    assert first.digest != second.digest


def test_no_and_times_of_day_stay_texts():
    options = SMALL.replace("path: core", "path: core, suffixes: [no, 22:30, yes, on, 1_000, 0b1]")
    plan = read(options)
    assert plan.sources["core"].options.suffixes == ("no", "22:30", "yes", "on", "1_000", "0b1")


def test_warnings_do_not_stop_a_plan():
    plan, problems = look(SMALL)
    assert plan is not None
    assert {(p.code, p.severity) for p in problems} == {
        ("everyone", "warning"),
        ("nobody-declined", "warning"),
    }


def test_a_plan_that_has_everything_gives_no_warning():
    assert look(FULL)[1] == []


def test_a_stored_document_of_another_catalogue_is_a_plan_invalid():
    document = json.loads(json.dumps(read(FULL).document))
    for spoil in (
        lambda d: d["sources"][0].update(kind="wax"),
        lambda d: d["sources"][0]["options"].update(gone=1),
        lambda d: d["phases"][0].update(restore="bookmarks"),
        lambda d: d["phases"][0].pop("gate"),
        lambda d: d["phases"][0].update(on_conflict="perhaps"),
        lambda d: d.pop("name"),
        lambda d: d.update(waves=5),
        lambda d: d["incident"].update(as_of="yesterday"),
    ):
        spoiled = json.loads(json.dumps(document))
        spoil(spoiled)
        with pytest.raises(PlanInvalid):
            plan_from_document(spoiled, catalogue=CATALOGUE)


def test_the_exception_counts_and_carries_every_problem():
    with pytest.raises(PlanInvalid) as caught:
        read(SMALL.replace("to: pim", "to: pin").replace("contacts", "contact"))
    assert [problem.code for problem in caught.value.problems if problem.severity == "error"] == [
        "unknown-category",
        "unknown-target",
    ]
    assert caught.value.message == "a/plan.yaml: 2 errors"
    assert caught.value.hint == "reinstate check a/plan.yaml"


# Nothing that a text says raises anything else -------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=400))
def test_random_bytes_are_never_more_than_problems(data: bytes):
    plan, problems = look(data)
    assert plan is None
    assert problems


@settings(max_examples=300, deadline=None)
@given(
    cuts=st.lists(
        st.tuples(
            st.integers(0, len(FULL)),
            st.integers(0, 30),
            st.one_of(
                st.text(max_size=8),
                st.sampled_from(
                    [
                        "{",
                        "}",
                        "[",
                        "]",
                        ": ",
                        "\n",
                        "  ",
                        "- ",
                        "&a ",
                        "*a",
                        "!!",
                        '"',
                        "|\n",
                        "null",
                    ]
                ),
            ),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_a_mangled_plan_is_a_plan_or_problems_with_places(cuts):
    text = FULL
    for start, length, piece in cuts:
        text = text[:start] + piece + text[start + length :]
    data = text.encode("utf-8", "surrogatepass")
    plan, problems = look(data)
    assert (plan is None) == any(problem.severity == "error" for problem in problems)
    lines = text.splitlines() or [""]
    for problem in problems:
        assert 1 <= problem.line <= len(lines) + 1
        assert problem.column >= 1
        assert problem.length >= 1


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(["10%", "30s", "1h..2h", "env:X", "contacts", "core", "../x", "200/s"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_value_in_any_place_is_a_plan_or_problems(data):
    root = read_yaml(FULL).root
    assert root is not None
    tree = plain(root)
    node = tree
    for _ in range(data.draw(st.integers(0, 4))):
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            break
        key = data.draw(st.sampled_from(keys))
        if not isinstance(node[key], dict | list) or data.draw(st.booleans()):
            node[key] = data.draw(values)
            break
        node = node[key]
    text = json.dumps(tree, ensure_ascii=True)
    plan, problems = look(text)
    assert (plan is None) == any(problem.severity == "error" for problem in problems)
    if plan is not None:
        stored = json.loads(json.dumps(plan.document))
        assert plan_from_document(stored, catalogue=CATALOGUE) == plan
