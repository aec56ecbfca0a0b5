import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import PlanInvalid
from orchestrator.items import UserId
from orchestrator.plan import Incident, Plan, Users
from orchestrator.user_lists import Expected, check_lists, read_census, read_declined, read_users


@pytest.fixture
def written(tmp_path: Path):
    def write(content: bytes | str) -> Path:
        path = tmp_path / "list.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.mark.parametrize(
    "content",
    [
        "user\nanna\nbjörn\nc-3\n",
        "anna\nbjörn\nc-3",
        "User,name\nanna,Anna\nbjörn,Björn\nc-3,\n",
        'name,user\r\n"A, B",anna\r\n"",björn\r\n\r\nx,"c-3"\r\n',
        b"\xef\xbb\xbfuser\nanna\nbj\xc3\xb6rn\n\nc-3\n",
        b"\xef\xbb\xbfanna\nbj\xc3\xb6rn\nc-3\n",
    ],
)
def test_a_csv_and_a_plain_list_give_the_same_users(written, content):
    assert list(read_users(written(content))) == ["anna", "björn", "c-3"]


def faults(reader, path: Path) -> list[tuple[str, int]]:
    with pytest.raises(PlanInvalid) as caught:
        list(reader(path))
    return [(problem.code, problem.line) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", [("empty-file", 1)]),
        (b"\n \n", [("empty-file", 1)]),
        ("user\n", [("selects-nobody", 1)]),
        ("anna\nbert\nanna\n", [("user-twice", 3)]),
        ("user\nanna\nbert\n\nanna\n", [("user-twice", 5)]),
        ("user_id\nanna\n", [("wrong-columns", 1)]),
        ("account,mail\nanna,a\n", [("wrong-columns", 1)]),
        ("user;mail\nanna;a\n", [("wrong-columns", 1)]),
        ("user,user\nanna,a\n", [("wrong-columns", 1)]),
        ("user,mail\nanna\nbert,b\ncarl,c,d\n", [("wrong-columns", 2), ("wrong-columns", 4)]),
        (b"anna\nb\xffrt\ncarl\n", [("not-utf-8", 2)]),
        ("user\nanna\n".encode("utf-16"), [("not-utf-8", 1)]),
        ("anna\n bert\ncarl \n", [("bad-user-id", 2), ("bad-user-id", 3)]),
        ("anna\nbe\u200brt\nca\x07rl\n", [("bad-user-id", 2), ("bad-user-id", 3)]),
        ('user,x\nanna,"\nbert,b\n', [("bad-quotes", 3)]),
        ('user,x\n"",b\n', [("bad-user-id", 2)]),
        ("anna\n" + "x" * 600 + "\n", [("bad-user-id", 2)]),
        ("anna\n" + "x" * 70_000 + "\n", [("too-long", 2)]),
    ],
)
def test_what_is_wrong_with_a_list_is_told_by_its_line(written, content, expected):
    assert faults(read_users, written(content)) == expected


def test_no_message_repeats_a_user_id(written):
    path = written("user,x\nsecret-anna,1\nsecret-anna,1\n secret-bert,1\nsecret-carl\n")
    with pytest.raises(PlanInvalid) as caught:
        list(read_users(path, called="affected.csv"))
    assert len(caught.value.problems) == 3
    said = str(caught.value) + repr(caught.value.problems)
    assert "secret" not in said
    assert "affected.csv:3" in said


@pytest.mark.guarantee(18)
def test_a_missing_list_is_an_error_and_never_an_empty_one(tmp_path: Path):
    for reader in (read_users, read_declined, read_census):
        assert faults(reader, tmp_path / "away.csv") == [("missing-file", 1)]
        assert faults(reader, tmp_path) == [("missing-file", 1)]


def test_a_pipe_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    assert faults(read_declined, tmp_path / "pipe") == [("missing-file", 1)]


@pytest.mark.guarantee(18)
def test_a_decline_list_without_a_byte_is_refused_but_its_header_alone_is_not(written):
    assert faults(read_declined, written(b"")) == [("empty-file", 1)]
    assert list(read_declined(written("user\n"))) == []


def test_a_declined_user_may_be_named_twice(written):
    assert list(read_declined(written("anna\nbert\nanna\n"))) == ["anna", "bert"]


def test_a_census_says_what_each_user_had(written):
    path = written("category,user,expected,source\ncontacts,anna,300,core\nnotes,anna,0,core\n")
    assert list(read_census(path, categories={"contacts", "notes"})) == [
        Expected(UserId("anna"), "contacts", 300),
        Expected(UserId("anna"), "notes", 0),
    ]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("", [("empty-list", 1)]),
        ("anna,contacts,-1\n", [("bad-number", 2)]),
        ("anna,contacts,1.5\n", [("bad-number", 2)]),
        ("anna,contacts,²\n", [("bad-number", 2)]),
        ("anna,contacts," + "9" * 5000 + "\n", [("bad-number", 2)]),
        ("anna,contacts,9000000000000\n", [("out-of-range", 2)]),
        ("anna,contact,1\n", [("unknown-category", 2)]),
        ("anna,contacts,1\nanna,notes,1\nanna,contacts,2\n", [("user-twice", 4)]),
        (",contacts,1\n", [("bad-user-id", 2)]),
        ("anna,contacts\n", [("wrong-columns", 2)]),
    ],
)
def test_what_is_wrong_with_a_census_is_told_by_its_line(written, rows, expected):
    path = written("user,category,expected\n" + rows)
    read = lambda path: read_census(path, categories={"contacts", "notes"})  # noqa: E731  one argument bound
    assert faults(read, path) == expected


def test_a_census_without_its_columns_is_refused(written):
    assert faults(read_census, written("user,expected\nanna,1\n")) == [("wrong-columns", 1)]


def test_every_list_of_a_plan_is_looked_at(tmp_path: Path):
    plan = Plan(
        name="x",
        incident=Incident(as_of=datetime(2009, 10, 1, tzinfo=UTC)),
        users=Users(listed="affected.csv", decline="erased.csv"),
        census="census.csv",
        sources={},
        targets={},
        waves=(),
        phases=(),
    )
    (tmp_path / "affected.csv").write_text("user\nanna\nanna\n")
    (tmp_path / "census.csv").write_text("user,category,expected\nanna,contact,3\n")
    problems = check_lists(plan, tmp_path, categories={"contacts"})
    assert [(problem.path, problem.line, problem.code) for problem in problems] == [
        ("affected.csv", 3, "user-twice"),
        ("erased.csv", 1, "missing-file"),
        ("census.csv", 2, "unknown-category"),
    ]
    assert problems[2].hint == "did you mean 'contacts'?"
    (tmp_path / "affected.csv").write_text("anna\n")
    (tmp_path / "erased.csv").write_text("user\n")
    (tmp_path / "census.csv").write_text("user,category,expected\nanna,contacts,3\n")
    assert check_lists(plan, tmp_path, categories={"contacts"}) == []


def test_a_thousand_faults_are_shown_as_twenty_and_counted(written):
    path = written("".join(f" u{number}\n" for number in range(1000)))
    with pytest.raises(PlanInvalid) as caught:
        list(read_users(path))
    assert len(caught.value.problems) == 20
    assert "999 more" in str(caught.value)


def test_a_list_is_read_line_by_line(written):
    users = read_users(written("".join(f"u{number}\n" for number in range(100_000))))
    assert next(users) == "u0"
    assert sum(1 for _ in users) == 99_999


@settings(max_examples=150, deadline=None)
@given(content=st.binary(max_size=200))
def test_any_bytes_are_users_or_a_plan_invalid(tmp_path_factory, content: bytes):
    path = tmp_path_factory.mktemp("lists") / "list.csv"
    path.write_bytes(content)
    for reader in (read_users, read_declined, read_census):
        problems = ()
        found = []
        try:
            found.extend(reader(path))
        except PlanInvalid as invalid:
            problems = invalid.problems
        assert problems or len(found) == len(set(found))
        assert problems or found or reader is read_declined
