"""Every bad plan of docs/guarantees.md gets its code at its place, and no secret comes back."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import Problem
from orchestrator.plan_text.diagnostics import render
from orchestrator.planner import diagnose
from tests.unit.orchestrator.small_kinds import CATALOGUE

NOW = datetime(2026, 1, 1, tzinfo=UTC)

LINES = """\
version: 1
name: small
incident: {as_of: 2009-10-01T00:00:00-07:00}
users: {from: affected.csv, decline: erased.csv}
sources:
  core: {kind: files, path: core}
  more: {kind: rows, url: env:MORE_URL}
targets:
  pim: {kind: files, path: pim}
waves:
  - {name: first, users: 5}
  - {name: rest}
defaults: {attempts: 3}
phases:
  - {restore: contacts, to: pim}
  - {restore: notes, to: pim}
approvals: 1
""".splitlines()


def look(text: str | bytes) -> list[Problem]:
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    plan, problems = diagnose(
        data, "plan.yaml", base=Path("/plans"), clock=lambda: NOW, catalogue=CATALOGUE
    )
    assert (plan is None) == any(problem.severity == "error" for problem in problems)
    shown = render(problems, data, "plan.yaml")
    assert "hunter2" not in shown + repr(problems)
    return problems


def spots(text: str | bytes) -> list[tuple[str, int, int]]:
    return [(problem.code, problem.line, problem.column) for problem in look(text)]


def with_line(number: int, *lines: str) -> str:
    """The small plan with one line replaced."""
    return "\n".join([*LINES[: number - 1], *lines, *LINES[number:]]) + "\n"


def test_the_plan_that_the_bad_ones_are_made_of_is_good():
    assert look("\n".join(LINES)) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("empty", 1, 1)),
        (" \n\n", ("empty", 1, 1)),
        ("# only a remark", ("empty", 1, 1)),
        ("---\n", ("empty", 1, 1)),
        ("~", ("empty", 1, 1)),
        ("- a list", ("not-a-plan", 1, 1)),
        ("just words", ("not-a-plan", 1, 1)),
        (b"version: 1\nname: \xff\n", ("not-utf-8", 2, 7)),
        ("version: 1\n".encode("utf-16"), ("not-utf-8", 1, 1)),
        ("#" * ((1 << 20) + 1), ("too-large", 1, 1)),
        ("[" * 100_000, ("too-deep", 1, 1001)),
        ("{a: " * 100_000, ("too-deep", 1, 129)),
        ("- " * 100_000, ("too-deep", 1, 65)),
        ("[" + "a," * 200_000 + "]", ("too-many-values", 1, 200_000)),
        ("version: 1\n---\nversion: 1\n", ("second-document", 2, 1)),
        ("version: [1\nname: x\n", ("syntax", 2, 5)),
        ("version: 'a\n\nb\n", ("syntax", 4, 1)),
        ("version: 2\nfuture: words\n", ("unknown-version", 1, 10)),
        ("version: -1\n", ("unknown-version", 1, 10)),
    ],
)
def test_a_text_that_is_no_plan_says_why(text, expected):
    assert spots(text) == [expected]


def test_what_is_wrong_with_the_frame_of_a_text_shows_among_the_rest():
    assert ("too-deep", 1, 65) in spots("? " * 100_000)
    assert ("tag", 1, 1) in spots("%TAG !a! tag:x,2009:\n---\nversion: 1\n")


@pytest.mark.parametrize(
    ("number", "line", "expected"),
    [
        # characters
        (2, "name:\tsmall", [("tab", 2, 6)]),
        (6, "\tcore: {kind: files, path: core}", [("tab", 6, 1)]),
        (2, "name: sm\x07all", [("control-character", 2, 9)]),
        (2, "name: sm\u2028all", [("control-character", 2, 9)]),
        (2, "name: small # \u202egnp", [("invisible-character", 2, 15)]),
        (2, "name: sm\u200ball", [("invisible-character", 2, 9)]),
        # YAML that a plan has no use for
        (2, "name: &n small", [("anchor", 2, 7)]),
        (2, "name: *n", [("alias", 2, 7)]),
        (2, "name: !!str small", [("tag", 2, 7)]),
        (2, "name: !!python/object/apply:os.system [ls]", [("tag", 2, 7)]),
        (13, "defaults: {<<: {attempts: 3}}", [("merge-key", 13, 12)]),
        (13, "defaults: {[a]: 3}", [("bad-key", 13, 12)]),
        (13, "defaults: {attempts: 3, attempts: 4}", [("duplicate-key", 13, 25)]),
        (13, "name: again", [("duplicate-key", 13, 1)]),
        # numbers
        (13, "defaults: {attempts: 0}", [("out-of-range", 13, 22)]),
        (13, "defaults: {attempts: 101}", [("out-of-range", 13, 22)]),
        (13, "defaults: {attempts: 2.5}", [("wrong-type", 13, 22)]),
        (13, "defaults: {attempts: '3'}", [("wrong-type", 13, 22)]),
        (13, "defaults: {attempts: .inf}", [("not-finite", 13, 22)]),
        (13, "defaults: {attempts: .NaN}", [("not-finite", 13, 22)]),
        (13, "defaults: {attempts: 1e999}", [("number-too-long", 13, 22)]),
        (13, f"defaults: {{attempts: {'9' * 5000}}}", [("number-too-long", 13, 22)]),
        (13, f"defaults: {{attempts: -0.{'9' * 5000}}}", [("number-too-long", 13, 22)]),
        (17, "approvals: -1", [("out-of-range", 17, 12)]),
        (17, "approvals: 10", [("out-of-range", 17, 12)]),
        (17, "approvals: yes", [("wrong-type", 17, 12)]),
        (17, "approvals: true", [("wrong-type", 17, 12)]),
        (11, "  - {name: first, users: 0}", [("out-of-range", 11, 26)]),
        (1, "version: one", [("wrong-type", 1, 10)]),
        (1, "version: true", [("wrong-type", 1, 10)]),
        (1, "version: '1'", [("wrong-type", 1, 10)]),
        # quantities
        (13, "defaults: {backoff: 30}", [("bad-duration", 13, 21)]),
        (13, "defaults: {backoff: 30..10m}", [("bad-duration", 13, 21)]),
        (13, "defaults: {backoff: 10m..30s}", [("out-of-range", 13, 21)]),
        (13, "defaults: {backoff: 0s}", [("out-of-range", 13, 21)]),
        (13, "defaults: {backoff: 30 seconds}", [("bad-duration", 13, 21)]),
        (13, "defaults: {gate: {soak: 18}}", [("bad-duration", 13, 25)]),
        (13, "defaults: {gate: {soak: -1h}}", [("bad-duration", 13, 25)]),
        (13, "defaults: {gate: {soak: 9999999d}}", [("out-of-range", 13, 25)]),
        (13, "defaults: {gate: {failed: 0.01}}", [("bad-share", 13, 27)]),
        (13, "defaults: {gate: {failed: 101%}}", [("out-of-range", 13, 27)]),
        (13, "defaults: {gate: {settled: 100.1%}}", [("out-of-range", 13, 28)]),
        (13, "defaults: {gate: {approve: 10}}", [("out-of-range", 13, 28)]),
        (13, "defaults: {gate: {approve: -1}}", [("out-of-range", 13, 28)]),
        (13, "defaults: {limits: {rate: 200}}", [("bad-rate", 13, 27)]),
        (13, "defaults: {limits: {rate: 0/s}}", [("out-of-range", 13, 27)]),
        (13, "defaults: {limits: {bytes: 200MB/s}}", [("bad-rate", 13, 28)]),
        (13, "defaults: {limits: {bytes: 1B/h}}", [("out-of-range", 13, 28)]),
        # times
        (3, "incident: {as_of: 2009-10-01T00:00:00}", [("no-zone", 3, 19)]),
        (3, "incident: {as_of: 2009-10-01}", [("bad-time", 3, 19)]),
        (3, "incident: {as_of: 2009-02-30T00:00:00Z}", [("bad-time", 3, 19)]),
        (3, "incident: {as_of: 0001-01-01T00:00:00+14:00}", [("bad-time", 3, 19)]),
        (3, "incident: {as_of: 2026-01-01T00:00:01Z}", [("time-in-future", 3, 19)]),
        (
            3,
            "incident: {as_of: 2009-10-01T00:00:00Z, service_start: 2009-10-01T00:00:00Z}",
            [("start-after-loss", 3, 56)],
        ),
        (3, "incident: {reference: x}", [("missing-key", 3, 11)]),
        (3, "incident:", [("wrong-type", 3, 10)]),
        # names
        (2, "name: a/b", [("bad-name", 2, 7)]),
        (2, 'name: "a\\nb"', [("bad-name", 2, 7)]),
        (2, 'name: "a\\u202eb"', [("bad-name", 2, 7)]),
        (2, 'name: "a\\u200bb"', [("bad-name", 2, 7)]),
        (2, "name: ..", [("bad-name", 2, 7)]),
        (2, "name: ''", [("bad-name", 2, 7)]),
        (2, f"name: {'n' * 64}", [("bad-name", 2, 7)]),
        (2, "name: 2009", [("wrong-type", 2, 7)]),
        (2, "name: [a]", [("wrong-type", 2, 7)]),
        (12, "  - {name: a/b}", [("bad-name", 12, 12)]),
        (12, "  - {name: first}", [("name-twice", 12, 12)]),
        (6, "  co/re: {kind: files, path: core}", [("bad-name", 6, 3)]),
        (6, '  "co\\u202ere": {kind: files, path: core}', [("bad-name", 6, 3)]),
        # unknown words, with the nearest known
        (13, "default: {attempts: 3}", [("unknown-key", 13, 1)]),
        (13, "defaults: {atempts: 3}", [("unknown-key", 13, 12)]),
        (13, "defaults: {gate: {faild: 1%}}", [("unknown-key", 13, 19)]),
        (13, "defaults: {on_conflict: newst}", [("unknown-word", 13, 25)]),
        (13, "defaults: {scope: everyone}", [("unknown-word", 13, 19)]),
        (13, "defaults: {restore: contacts}", [("unknown-key", 13, 12)]),
        (6, "  core: {kind: filez, path: core}", [("unknown-kind", 6, 16)]),
        (6, "  core: {kind: files, path: core, sufixes: []}", [("unknown-key", 6, 35)]),
        (
            6,
            "  core: {kind: files, pth: core}",
            [("missing-key", 6, 9), ("unknown-key", 6, 23)],
        ),
        (6, "  core: {path: core}", [("missing-key", 6, 9)]),
        (6, "  core: {kind: 5, path: core}", [("wrong-type", 6, 16)]),
        (6, "  core: files", [("wrong-type", 6, 9)]),
        (6, "  core: {kind: files, path: 5}", [("wrong-type", 6, 29)]),
        (6, "  core: {kind: fussy, low: 3, high: 2}", [("bad-option", 6, 9)]),
        (6, "  core: {kind: tape, path: x}", [("kind-unavailable", 6, 16)]),
        (
            6,
            "  core: {kind: fussy, opened: {a: [{at: 2009-10-01T00:00:00}]}}",
            [("no-zone", 6, 41)],
        ),
        (
            6,
            "  core: {kind: fussy, opened: {a: [{at: 2009-10-01T00:00:00Z, ratio: 1}]}}",
            [("out-of-range", 6, 70)],
        ),
        (
            6,
            "  core: {kind: fussy, opened: {a: [{at: 2009-10-01T00:00:00Z, ratoi: 1}]}}",
            [("unknown-key", 6, 63)],
        ),
        (6, "  core: {kind: fussy, opened: [a]}", [("wrong-type", 6, 31)]),
        (
            7,
            "  more: {kind: rows, url: env:U, tables: {a: {user: u, bdy: b}}}",
            [("missing-key", 7, 46), ("unknown-key", 7, 56)],
        ),
        (7, "  more: {kind: rows, url: env:U, mode: fats}", [("unknown-word", 7, 40)]),
        (15, "  - {restore: contact, to: pim}", [("unknown-category", 15, 15)]),
        (15, "  - {restore: contacts, to: pin}", [("unknown-target", 15, 29)]),
        (15, "  - {restore: contacts, to: pim, from: [cor]}", [("unknown-source", 15, 41)]),
        (15, "  - {restore: contacts, to: pim, from: []}", [("empty-list", 15, 40)]),
        (15, "  - {restore: contacts, to: pim, from: core}", [("wrong-type", 15, 40)]),
        (15, "  - {restore: contacts, to: pim, from: [core, core]}", [("name-twice", 15, 47)]),
        (15, "  - {restore: contacts, to: pim, repairs: [join]}", [("unknown-repair", 15, 44)]),
        (15, "  - {restore: contacts, to: pim, repairs: some}", [("unknown-word", 15, 43)]),
        (15, "  - {restore: contacts, to: pim, repairs: [5]}", [("wrong-type", 15, 43)]),
        (15, "  - {restore: contacts, to: pim, skew: 5}", [("bad-duration", 15, 40)]),
        (15, "  - {restore: contacts, to: pim, photo_sise: 5B}", [("unknown-key", 15, 34)]),
        (15, "  - {restore: contacts}", [("missing-key", 15, 5)]),
        (15, "  - contacts", [("wrong-type", 15, 5)]),
        (15, "  - {restor: contacts, to: pim}", [("missing-key", 15, 5), ("unknown-key", 15, 6)]),
        # what does not go together
        (16, "  - {restore: contacts, to: pim}", [("category-twice", 16, 15)]),
        (
            13,
            "defaults: {gate: {settled: 99.5%, failed: 1%}}",
            [("gate-contradicts", 13, 43)],
        ),
        (9, "  pim: {kind: files, path: core}", [("source-is-target", 9, 28)]),
        (9, "  pim: {kind: files, path: ./x//../core/}", [("climbing-path", 9, 28)]),
        (9, "  pim: {kind: files, path: /plans/core}", [("source-is-target", 9, 28)]),
        (9, "  pim: {kind: files, path: core/restored}", [("source-is-target", 9, 28)]),
        (9, "  pim: {kind: files, path: /plans}", [("source-is-target", 9, 28)]),
        (9, "  pim: {kind: rows, url: env:MORE_URL}", [("source-is-target", 9, 26)]),
        (9, "  pim: {kind: rows, url: 'sqlite:///core'}", [("source-is-target", 9, 26)]),
        (13, "defaults: {on_conflict: replace}", [("replace-needs-approvals", 13, 25)]),
        (
            15,
            "  - {restore: contacts, to: pim, on_conflict: replace}",
            [("replace-needs-approvals", 15, 47)],
        ),
        (11, "  - {name: first}", [("wave-after-everyone", 12, 5)]),
        (11, "  - {name: first, users: 5, share: 5%}", [("users-and-share", 11, 36)]),
        (
            11,
            "  - {name: first, share: 50%}\n  - {name: b, share: 60%}",
            [("shares-over-100", 12, 22)],
        ),
        # paths
        (4, "users: {from: ../a.csv, decline: b.csv}", [("climbing-path", 4, 15)]),
        (4, "users: {from: a/../b.csv, decline: b.csv}", [("climbing-path", 4, 15)]),
        (4, "users: {from: 'a\\..\\b.csv', decline: b.csv}", [("climbing-path", 4, 15)]),
        (4, 'users: {from: "a\\0b", decline: b.csv}', [("bad-path", 4, 15)]),
        (4, "users: {from: ~/a.csv, decline: b.csv}", [("bad-path", 4, 15)]),
        (4, "users: {from: [a], decline: b.csv}", [("wrong-type", 4, 15)]),
        (4, "users: everyone", [("wrong-type", 4, 8)]),
        (13, "census: ../census.csv", [("climbing-path", 13, 9)]),
        (6, "  core: {kind: files, path: ../core}", [("climbing-path", 6, 29)]),
        (7, "  more: {kind: rows, url: 'sqlite:///../x.db'}", [("climbing-path", 7, 27)]),
        # not here yet, and never ignored
        (4, "users: {query: 'select 1', decline: b.csv}", [("not-available", 4, 9)]),
        # who is told
        (13, "notify: {webhook: {url: env:HOOK_URL, secret: env:HOOK_SECRET}}", []),
        (13, "notify: {webhook: {url: 'https://h.example/x', secret: file:/run/s}}", []),
        (13, "notify: {operators: env:APPRISE_URL}", []),
        (13, "notify: {webhook: {url: env:HOOK_URL}}", [("missing-key", 13, 19)]),
        (13, "notify: {webhook: {url: env:U, secret: hunter2}}", [("inline-secret", 13, 40)]),
        (13, "notify: {webhook: {url: 'ftp://h/', secret: env:S}}", [("bad-url", 13, 25)]),
        (13, "notify: {webhok: {}}", [("unknown-key", 13, 10)]),
        (13, "notify: {operators: 'mailto://a:hunter2@h'}", [("inline-secret", 13, 21)]),
        (13, "notify: env:HOOK_URL", [("wrong-type", 13, 9)]),
        # only what consists of fields is merged
        (13, "defaults: {on_conflict: merge}", [("cannot-merge", 16, 15)]),
        (15, "  - {restore: contacts, to: pim, on_conflict: merge}", []),
        (16, "  - {restore: notes, to: pim, on_conflict: merge}", [("cannot-merge", 16, 44)]),
        # secrets
        (7, "  more: {kind: rows, url: env:U, password: hunter2}", [("inline-secret", 7, 44)]),
        (7, "  more: {kind: rows, url: env:U, password: ''}", [("bad-reference", 7, 44)]),
        (7, "  more: {kind: rows, url: env:U, password: file:x}", [("inline-secret", 7, 44)]),
        (7, "  more: {kind: rows, url: 'pg://a:hunter2@h/d'}", [("inline-secret", 7, 27)]),
        (7, "  more: {kind: rows, url: 'pg://h/d?password=hunter2'}", [("inline-secret", 7, 27)]),
        (2, "name: http://a:hunter2@h/", [("inline-secret", 2, 7)]),
    ],
)
def test_every_bad_line_gets_its_code_at_its_place(number, line, expected):
    found = [
        (problem.code, problem.line, problem.column)
        for problem in look(with_line(number, line))
        if problem.severity == "error"
    ]
    assert found == [(code, at, column) for code, at, column in expected]


@pytest.mark.parametrize("key", ["version", "name", "incident", "sources", "targets", "phases"])
def test_a_missing_part_points_at_the_plan(key):
    start = next(n for n, line in enumerate(LINES) if line.startswith(f"{key}:"))
    end = next(
        (n for n in range(start + 1, len(LINES)) if not LINES[n].startswith(" ")), len(LINES)
    )
    problems = look("\n".join(LINES[:start] + LINES[end:]))
    assert ("missing-key", f"'{key}' is missing") in [(p.code, p.message) for p in problems]


@pytest.mark.parametrize("section", ["sources", "targets", "phases", "waves"])
def test_an_empty_or_shapeless_section_is_an_error(section):
    start = next(n for n, line in enumerate(LINES) if line.startswith(f"{section}:"))
    end = next(n for n in range(start + 1, len(LINES)) if not LINES[n].startswith(" "))
    empty = "{}" if section in {"sources", "targets"} else "[]"
    for value, code in ((empty, "empty-list"), ("5", "wrong-type")):
        text = "\n".join([*LINES[:start], f"{section}: {value}", *LINES[end:]])
        column = len(section) + 3
        assert (code, start + 1, column) in spots(text)


def hints(number: int, line: str) -> list[str]:
    return [problem.hint for problem in look(with_line(number, line))]


def test_a_mistyped_word_gets_the_nearest_known_one():
    assert hints(15, "  - {restore: contact, to: pim}") == ["did you mean 'contacts'?"]
    assert hints(15, "  - {restore: contacts, to: pin}") == ["did you mean 'pim'?"]
    assert hints(6, "  core: {kind: filez, path: core}") == ["did you mean 'files'?"]
    assert hints(13, "defaults: {on_conflict: newst}") == ["did you mean 'newest'?"]
    assert hints(13, "defaults: {gate: {setled: 1%}}") == ["did you mean 'settled'?"]
    assert hints(15, "  - {restor: contacts, to: pim}") == [
        "is it 'restor'?",
        "did you mean 'restore'?",
    ]
    assert hints(15, "  - {restore: contacts, to: pim, photo_sise: 5B}") == [
        "did you mean 'photo_size'?"
    ]
    assert hints(13, "defaults: {attempts: 3, attempts: 4}") == ["first in line 13"]


def test_a_mistyped_word_deep_in_the_options_gets_the_nearest_one():
    line = "  core: {kind: fussy, opened: {a: [{at: 2009-10-01T00:00:00Z, ratoi: 1}]}}"
    assert hints(6, line) == ["did you mean 'ratio'?"]


@pytest.mark.parametrize(
    ("number", "line", "expected"),
    [
        (4, "", ["everyone", "nobody-declined"]),
        (4, "users: {from: a.csv}", ["nobody-declined"]),
        (4, "users: {decline: a.csv, from: ~}", ["everyone"]),
        (12, "", ["not-everyone"]),
        (12, "  - {name: half, share: 100%}", []),
        (15, "  - {restore: contacts, to: pim, scope: user}", ["no-predecessor"]),
        (9, "  pim: {kind: files, path: pim}\n  more: {kind: files, path: x}", ["unused"]),
        (17, "approvals: 0", ["nobody-approves"]),
    ],
)
def test_what_deserves_a_thought_is_warned_of_and_stops_nothing(number, line, expected):
    problems = look(with_line(number, line))
    assert [problem.code for problem in problems] == expected
    assert all(problem.severity == "warning" for problem in problems)


def test_a_source_that_no_phase_reads_is_warned_of():
    text = with_line(15, "  - {restore: contacts, to: pim, from: [core]}")
    text = text.replace("notes, to: pim", "notes, to: pim, from: [core]")
    assert spots(text) == [("unused", 7, 3)]


def test_all_problems_come_at_once_and_in_the_order_of_the_text():
    text = """\
version: 1
name: a/b
incident: {as_of: never}
sources: {core: {kind: filez}, more: {kind: rows, url: 5, pol: 3}}
targets: {pim: {kind: files, path: [x]}}
waves: [{name: a, users: 0}, {name: b}, {name: c}]
phases:
  - {restore: photo, to: pin, from: [cor], attempts: 0}
  - {restore: contacts, to: pim, repairs: [x], attempts: 0, gate: {settled: 5}}
aprovals: 2
"""
    assert [code for code, _, _ in spots(text)] == [
        "everyone",
        "nobody-declined",
        "bad-name",
        "bad-time",
        "unknown-kind",
        "wrong-type",
        "unknown-key",
        "wrong-type",
        "out-of-range",
        "wave-after-everyone",
        "unknown-category",
        "unknown-target",
        "unknown-source",
        "out-of-range",
        "unknown-repair",
        "out-of-range",
        "bad-share",
        "unknown-key",
    ]


@pytest.mark.parametrize(
    "text",
    [
        # beside another problem in the same line, before and after it
        "{kind: filez, password: hunter2, path: x}",
        "{password: hunter2, kind: filez}",
        "{kind: rows, url: 'pg://a:hunter2@h/d', pol: 3}",
        # where it has no business at all
        "{kind: 'pg://a:hunter2@h/d'}",
        "{kind: files, path: 'pg://a:hunter2@h/d'}",
        "{kind: files, path: x, suffixes: ['https://hunter2@h/d']}",
        "{kind: files, path: x, api_key: hunter2}",
        "{kind: files, path: x, tokens: {token: [hunter2, hunter2]}}",
        "{kind: rows, url: env:U, mode: 'password=hunter2'}",
        # where the YAML is broken or refused
        "{kind: rows, password: hunter2, password: hunter2}",
        "{kind: rows, <<: {password: hunter2}}",
        "{kind: rows, password: !!str hunter2, a: b}",
        "{kind: rows, password: &a hunter2, a: b}",
        "{kind: rows, password: hunter2, a: [}",
        "{kind: rows, url: pg://a:hunter2@h/d, a: [}",
        "{kind: rows, password: 'hunter2\n     hunter2 \\q', a: [}",
        '{kind: rows, password: "hunter2\n     hunter2 \\q", a: [}',
        "{kind: rows, password: 'hunter2\n\n     hunter2', pol: 3}",
        "\n    kind: rows\n    password: |\n      hunter2\n      hunter2\n    pol: 5",
        "\n    kind: rows\n    password: |\n      hunter2\n      \thunter2\n    pol: 5",
        "\n    kind: rows\n    password:\n      hunter2\n    pol: [",
        "\n    kind: rows # password: hunter2\n    pol: 5",
        "\n    kind: rows # pg://a:hunter2@h/d\n    pol: 5",
        '{kind: rows, "password" : hunter2, pol: {}',
        "{kind: rows, 'url': \"-----BEGIN KEY-----hunter2\", pol: 3}",
        "{kind: rows, password: hunter2\x07}",
        "{kind: rows, pass: hunter2\u200b}",
    ],
)
@pytest.mark.guarantee(9)
def test_a_secret_is_never_repeated(text):
    lines = ["version: 1", "name: x", "sources:", f"  core: {text}", "phases: 5", ""]
    assert look("\n".join(lines))  # `look` looks for the secret everywhere


@settings(max_examples=150, deadline=None)
@given(
    secret=st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789", min_size=8, max_size=20),
    where=st.floats(0, 1),
    piece=st.sampled_from([*"}{][\"':\n|>,!&*", "", "\n  ", ": ", "- "]),
)
@pytest.mark.guarantee(9)
def test_a_secret_is_not_repeated_wherever_the_text_breaks(secret, where, piece):
    secret = f"Z{secret}Z"
    before, after = "version: 1\nsources:\n  core: {kind: rows, ", ", url: x, a: 5}\nname: [x]\n"
    at = int(where * (len(before) + len(after)))
    if at <= len(before):
        before = before[:at] + piece + before[at:]
    else:
        after = after[: at - len(before)] + piece + after[at - len(before) :]
    text = f"{before}password: {secret}{after}"
    problems = look(text)
    assert problems
    assert secret not in render(problems, text.encode(), "p") + repr(problems)


def test_a_problem_is_shown_with_line_column_caret_and_hint():
    text = with_line(15, "  - {restore: contact, to: pim}").encode()
    _, problems = diagnose(text, "plans/x.yaml", clock=lambda: NOW, catalogue=CATALOGUE)
    assert render(problems, text, "plans/x.yaml") == (
        "error[unknown-category]: 'contact' is not an installed category\n"
        "  --> plans/x.yaml:15:15  (phases[0].restore)\n"
        "   |\n"
        "15 |   - {restore: contact, to: pim}\n"
        "   |               ^^^^^^^ did you mean 'contacts'?\n"
        "1 error; nothing was submitted\n"
    )


def test_colours_are_only_added():
    text = with_line(15, "  - {restore: contact, to: pim}").encode()
    problems = look(text)
    painted = render(problems, text, "p", color=True)
    assert "\x1b[" in painted
    assert re.sub(r"\x1b\[\d+m", "", painted) == render(problems, text, "p")


def test_a_caret_stands_under_its_word_after_wide_characters_and_masks():
    text = with_line(
        7, "  more: {kind: rows, url: 'pg://a:hunter2@h/d', mode: \"写真\", pol: 5}"
    ).encode()
    shown = render(look(text), text, "p").splitlines()
    at = next(n for n, line in enumerate(shown) if "unknown-key" in line)
    excerpt, caret = shown[at + 3], shown[at + 4]
    wide = sum(1 for char in excerpt[: excerpt.index("pol")] if char in "写真")
    assert caret.index("^") == excerpt.index("pol") + wide


def test_a_long_line_is_shown_around_its_caret():
    line = f"  - {{restore: contacts, to: pim, from: [{'core, ' * 500}cor]}}"
    text = with_line(15, line).encode()
    problems = [problem for problem in look(text) if problem.code == "unknown-source"]
    shown = render(problems, text, "p").splitlines()
    assert len(shown[3]) < 120
    start = shown[4].index("^")
    assert shown[3][start : start + 3] == "cor"


def test_a_long_line_is_masked_where_it_is_cut():
    line = f"  more: {{kind: rows, url: 'pg://a:{'hunter2' * 50}@h/d', mode: {'x' * 150}, pol: 5}}"
    text = with_line(7, line).encode()
    assert {problem.code for problem in look(text)} == {
        "inline-secret",
        "unknown-word",
        "unknown-key",
    }


def test_escape_sequences_in_a_plan_do_not_reach_the_terminal():
    for text in ('name: "\\e[2Jx"', "name: \x1b[2Jx", 'x"\\e[2J": 1', '"\\e[2J": 1'):
        data = with_line(2, text).encode()
        assert "\x1b" not in render(look(data), data, "p")
        assert "\x1b" not in repr(look(data))


def test_nothing_is_rendered_where_nothing_is_wrong():
    assert render([], b"version: 1", "p") == ""


def test_ten_thousand_lines_are_one_plan():
    many = [f"  - {{name: w{number}, users: {number + 1}}}" for number in range(10_000)]
    assert look("\n".join([*LINES[:10], *many, *LINES[11:]])) == []


def test_ten_thousand_wrong_lines_are_all_told():
    many = [f"  - {{nam: w{number}, users: {number + 1}}}" for number in range(10_000)]
    assert len(look("\n".join([*LINES[:10], *many, *LINES[11:]]))) == 20_000


@pytest.mark.parametrize(
    "text",
    [
        "x" * (1 << 20) + "y",
        "x" * 900_000,
        "name: " + "x" * 900_000,
        "name: a://" + ":" * 900_000,
        "name: " + "a:" * 450_000,
        "name: a://" + "b:c" * 300_000,
        "password" + " " * 900_000,
    ],
    ids=["too large", "one word", "one value", "colons", "schemes", "passwords", "spaces"],
)
@pytest.mark.timeout(60)
def test_a_line_of_a_mebibyte_is_judged_without_a_wait(text):
    assert look(text)
