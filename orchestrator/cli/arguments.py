"""What has to be true of every word of a command line, and of names and reasons in it."""

import os
from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

from orchestrator.cli.help import Takes
from orchestrator.cli.where import Where
from orchestrator.errors import PlanInvalid
from orchestrator.options.references import holds_a_secret, names_a_secret

LONGEST_NAME = 100
_WHERE = {"--server": "URL", "--token-file": "FILE"}
_TOKEN = "rst_"  # noqa: S105  how one begins
LONGEST_REASON = 1_000


def checked(words: Sequence[str]) -> list[str]:
    """The words as text. Raises `PlanInvalid` where one is none, or holds a secret."""
    texts = [_text(word) for word in words]
    for word in texts:
        option, _, value = word.partition("=")
        secret = option.startswith("-") and names_a_secret(option.lstrip("-"))
        if secret or ("://" in word and holds_a_secret(value or word)) or _has_password(word):
            raise PlanInvalid(
                "a secret never goes on a command line: others can see it there",
                hint="plans name it, env:NAME or file:/path; REINSTATE_TOKEN, or the file that "
                "--token-file names, holds a server's token",
            )
    return texts


def _has_password(word: str) -> bool:
    return ("://" in word and holds_a_secret(word)) or word.startswith(_TOKEN)


def where_of(words: Sequence[str]) -> tuple[list[str], Where]:
    """The words without those that say which server is asked, and those."""
    rest: list[str] = []
    found: dict[str, str] = {}
    given = iter(words)
    for word in given:
        option, equals, value = word.partition("=")
        if option not in _WHERE:
            rest.append(word)
            continue
        value = value if equals else next(given, "")
        if not value or value.startswith("-"):
            raise PlanInvalid(f"{option} needs {_WHERE[option]}", hint=f"{option} {_WHERE[option]}")
        found[option] = value
    return rest, Where(server=found.get("--server"), token_file=found.get("--token-file"))


def _text(word: str) -> str:
    """A word in a locale that does not know its letters, and one that has none."""
    try:
        return os.fsencode(word).decode()
    except UnicodeError as error:
        raise PlanInvalid("an argument is not UTF-8", hint="spell or rename it in UTF-8") from error


def _one_line(longest: int, value: str | None) -> None:
    if value is not None and (len(value) > longest or not value.isprintable()):
        raise ValueError(f"one line of at most {longest} characters is expected here")


def _is_name(_kind: object, value: str | None) -> None:
    _one_line(LONGEST_NAME, value)
    if value is not None and not value.strip():
        raise ValueError("a name is expected here")


def _are_names(_kind: object, value: Sequence[str] | None) -> None:
    for name in value or ():
        _is_name(_kind, name)


def _is_reason(_kind: object, value: str) -> None:
    _one_line(LONGEST_REASON, value)


def _is_limit(_kind: object, value: int) -> None:
    if value < 0:
        raise ValueError("0 or more")


Run = Annotated[str, Parameter(help="A run: its id, the beginning of it, or `last`.")]
Author = Annotated[
    str | None,
    Parameter(name="--author", help="Who submits it; default: you.", validator=_is_name),
    Takes("NAME"),
]
Approvers = Annotated[
    list[str] | None,
    Parameter(
        help="Approve in the name of somebody who is not the author; may be given again.",
        validator=_are_names,
    ),
    Takes("NAME"),
]
Who = Annotated[
    str | None,
    Parameter(name="--as", help="In whose name; default: yours.", validator=_is_name),
    Takes("NAME"),
]
Reason = Annotated[
    str, Parameter(help="Why; it is kept in the audit log.", validator=_is_reason), Takes("TEXT")
]
Limit = Annotated[
    int, Parameter(help="At most so many lines; 0: all of them.", validator=_is_limit)
]
Wait = Annotated[
    bool,
    Parameter(
        help="Watch until it ends, on a machine where nothing runs with an engine of its own."
    ),
]
