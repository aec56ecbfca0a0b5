"""The files that a plan names: who is in scope, who is declined, what each user had.

Read line by line in bounded memory (a million users cost a set of their hashes). Everything wrong
is told by file and line, never by user id. What is wrong is known for sure only at the end: take
what these readers yield inside a transaction, and drop it when `PlanInvalid` comes.
"""

import csv
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

from msgspec import Struct

from orchestrator.catalogue import suggest
from orchestrator.errors import PlanInvalid, Problem
from orchestrator.items import UserId
from orchestrator.plan import Plan
from orchestrator.plan_text.kind_options import quoted
from orchestrator.plan_text.yaml_values import CONTROL, INVISIBLE

LONGEST_ID = 512
"""Characters of a user id."""
_LONGEST_LINE = 64 * 1024
_MOST_PROBLEMS = 20
_MOST_EXPECTED = 10**12
_BOM = b"\xef\xbb\xbf"
_LIKE_A_HEADER = frozenset({"users", "user_id", "userid", "user-id", "uid", "id", "username"})
_CENSUS = ("user", "category", "expected")


class Expected(Struct, frozen=True, gc=False):
    """So many items of a category did a user have before the loss."""

    user: UserId
    category: str
    items: int


class _Row(Struct, frozen=True, gc=False):
    line: int
    cells: list[str]


class _Stop(Exception):
    """Nothing after this line can be read."""


class _Faults:
    """What is wrong with one file; more than a screenful helps nobody."""

    def __init__(self, called: str) -> None:
        self.called = called
        self.problems: list[Problem] = []
        self.more = 0

    def add(self, code: str, message: str, line: int = 1, hint: str = "") -> None:
        if len(self.problems) >= _MOST_PROBLEMS:
            self.more += 1
            return
        self.problems.append(
            Problem(
                code=code,
                message=f"{self.called}:{line}: {message}",
                line=line,
                column=1,
                path=self.called,
                hint=hint,
            )
        )

    def settle(self) -> None:
        """Raise when there was anything."""
        if self.problems:
            count = len(self.problems) + self.more
            first = self.problems[0]
            rest = f" (and {count - 1} more)" if count > 1 else ""
            raise PlanInvalid(f"{first.message}{rest}", problems=self.problems, hint=first.hint)


def read_users(path: Path, *, called: str = "") -> Iterator[UserId]:
    """Everyone in scope, in the order of the file: its `user` column, or one id a line.

    Raises `PlanInvalid` where the file is missing or empty, a line is no id, or an id comes twice.
    """
    yield from _ids(path, called or path.name, twice=False, may_be_empty=False)


def read_declined(path: Path, *, called: str = "") -> Iterator[UserId]:
    """Users that are never restored; the same file format.

    An id may come twice: requests do. Nobody at all may be declined, but then the file says so
    with its header, `user`: a file without a byte may be one that was lost, and is refused.
    """
    yield from _ids(path, called or path.name, twice=True, may_be_empty=True)


def read_census(
    path: Path, *, called: str = "", categories: Collection[str] | None = None
) -> Iterator[Expected]:
    """What each user had: a CSV file with the columns user, category, expected.

    `categories` are those that exist; None: any. Raises `PlanInvalid` as `read_users` does.
    """
    faults = _Faults(called or path.name)
    seen: set[bytes] = set()
    count = 0
    try:
        for row in _table(path, faults, _CENSUS):
            user, category, number = row.cells
            count += 1
            wrong = _wrong_id(user)
            if wrong:
                faults.add("bad-user-id", wrong, row.line)
            elif categories is not None and category not in categories:
                hint = suggest(category, tuple(sorted(categories)))
                message = f"{quoted(category)} is not a category"
                faults.add("unknown-category", message, row.line, hint)
            elif not (number.isascii() and number.isdigit() and len(number) <= 13):  # noqa: PLR2004  as below
                faults.add("bad-number", "expected is a whole number of items", row.line)
            elif int(number) > _MOST_EXPECTED:
                faults.add("out-of-range", f"at most {_MOST_EXPECTED:,} items", row.line)
            elif _again(seen, f"{user}\x00{category}"):
                faults.add("user-twice", "this user's category is counted twice", row.line)
            else:
                yield Expected(UserId(user), category, int(number))
        if not count and not faults.problems:
            faults.add("empty-list", "the census counts nothing")
    except _Stop:
        pass
    faults.settle()


def check_lists(plan: Plan, base: Path, *, categories: Collection[str]) -> list[Problem]:
    """Everything wrong with the files that a plan names; `base` is the plan's folder."""
    problems: list[Problem] = []
    named: Sequence[tuple[str | None, Callable[[Path, str], Iterator[object]]]] = (
        (plan.users.listed, lambda path, called: read_users(path, called=called)),
        (plan.users.decline, lambda path, called: read_declined(path, called=called)),
        (
            plan.census,
            lambda path, called: read_census(path, called=called, categories=categories),
        ),
    )
    for name, read in named:
        if name is None:
            continue
        try:
            for _ in read(base / name, name):
                pass
        except PlanInvalid as invalid:
            problems.extend(invalid.problems)
    return problems


def _ids(path: Path, called: str, *, twice: bool, may_be_empty: bool) -> Iterator[UserId]:
    faults = _Faults(called)
    seen: set[bytes] = set()
    count = 0
    try:
        for row in _rows_of_ids(path, faults):
            user = row.cells[0]
            count += 1
            wrong = _wrong_id(user)
            if wrong:
                faults.add("bad-user-id", wrong, row.line)
            elif not _again(seen, user):
                yield UserId(user)
            elif not twice:
                faults.add("user-twice", "this user id comes a second time", row.line)
        if not count and not may_be_empty and not faults.problems:
            faults.add("selects-nobody", "the list selects nobody")
    except _Stop:
        pass
    faults.settle()


def _again(seen: set[bytes], text: str) -> bool:
    """Whether it was seen before; 16 bytes each, however long the ids are."""
    key = blake2b(text.encode(), digest_size=16).digest()
    if key in seen:
        return True
    seen.add(key)
    return False


def _wrong_id(user: str) -> str:
    """What is wrong with a user id, without repeating it."""
    if not user:
        return "a user id is empty"
    if len(user) > LONGEST_ID:
        return f"a user id has more than {LONGEST_ID} characters"
    if user != user.strip():
        return "white space around a user id"
    if not user.isascii() or not user.isprintable():
        if CONTROL.search(user) or "\t" in user or "\n" in user or "\r" in user:
            return "a control character in a user id"
        if INVISIBLE.search(user):
            return "an invisible character in a user id"
    return ""


# Rows -----------------------------------------------------------------------------------------


def _rows_of_ids(path: Path, faults: _Faults) -> Iterator[_Row]:
    """One cell a row: the `user` column of a CSV file, or the lines of a plain list."""
    lines = _lines(path, faults)
    first = next(lines, None)
    if first is None:
        hint = "where nobody is on the list, write the header: user"
        faults.add("empty-file", "the file is empty", hint=hint)
        raise _Stop
    number, header = first
    if any(mark in header for mark in ',;\t"') or header.strip().casefold() == "user":
        yield from _columns(header, number, lines, faults, ("user",))
        return
    if header.strip().casefold() in _LIKE_A_HEADER:
        faults.add("wrong-columns", "the column of ids is called user", number)
        raise _Stop
    yield _Row(number, [header])
    for line, text in lines:
        yield _Row(line, [text])


def _table(path: Path, faults: _Faults, wanted: tuple[str, ...]) -> Iterator[_Row]:
    lines = _lines(path, faults)
    first = next(lines, None)
    if first is None:
        faults.add("empty-file", "the file is empty", hint=f"its header is {','.join(wanted)}")
        raise _Stop
    yield from _columns(first[1], first[0], lines, faults, wanted)


def _columns(
    header: str,
    number: int,
    lines: Iterator[tuple[int, str]],
    faults: _Faults,
    wanted: tuple[str, ...],
) -> Iterator[_Row]:
    """The wanted cells of each row; other columns are allowed and not looked at."""
    try:
        names = [name.strip().casefold() for name in next(csv.reader([header], strict=True))]
    except csv.Error:
        names = []
    if any(names.count(name) != 1 for name in wanted):
        hint = "separate columns by commas" if ";" in header or "\t" in header else ""
        faults.add("wrong-columns", f"the header has to name {', '.join(wanted)}", number, hint)
        raise _Stop
    places = [names.index(name) for name in wanted]
    current = number

    def texts() -> Iterator[str]:
        nonlocal current
        for current, text in lines:  # noqa: B007  read below, after each row
            yield text + "\n"

    rows = csv.reader(texts(), strict=True)
    while True:
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error:
            faults.add("bad-quotes", "quotes that do not match", current)
            raise _Stop from None
        if len(cells) != len(names):
            message = f"{len(cells)} columns where the header has {len(names)}"
            faults.add("wrong-columns", message, current)
            continue
        yield _Row(current, [cells[place] for place in places])


def _lines(path: Path, faults: _Faults) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers, without their ends."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            faults.add("missing-file", "this is not a file")
            raise _Stop
        with path.open("rb") as stream:
            number = 0
            while raw := stream.readline(_LONGEST_LINE + 1):
                number += 1
                if len(raw) > _LONGEST_LINE:
                    faults.add("too-long", f"a line of more than {_LONGEST_LINE:,} bytes", number)
                    raise _Stop
                text = _decoded(raw.removeprefix(_BOM) if number == 1 else raw, number, faults)
                if text and not text.isspace():
                    yield number, text
    except OSError as error:
        hint = "relative paths start at the plan's folder"
        faults.add("missing-file", f"cannot be read: {error.strerror or 'error'}", hint=hint)
        raise _Stop from None


def _decoded(raw: bytes, number: int, faults: _Faults) -> str:
    try:
        return raw.removesuffix(b"\n").removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        faults.add("not-utf-8", "this line is not UTF-8", number, "save the list as UTF-8")
        if b"\x00" in raw:  # UTF-16, most likely: every line would be wrong
            raise _Stop from None
        return ""
