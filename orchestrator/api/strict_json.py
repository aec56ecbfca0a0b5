"""JSON as RFC 8259 wishes it were written: refuses what readers understand differently.

Keys that come twice, NaN and infinities, nesting without end, texts that no database takes.
"""

import json
import re
from http import HTTPStatus
from typing import Any, NoReturn, cast

from orchestrator.api.problems import Declined

DEEPEST = 32
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def parse(data: bytes) -> Any:
    """The value, or `Declined` with where it goes wrong."""
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except json.JSONDecodeError as error:
        raise _bad(f"not JSON from line {error.lineno}, column {error.colno} on") from None
    except UnicodeDecodeError:
        raise _bad("the body is not UTF-8") from None
    except RecursionError:
        raise _bad("nested too deep") from None
    except ValueError:  # a number of thousands of digits
        raise _bad("a number is too long") from None
    _check(value, 0)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _bad("a key comes twice in one object")
    return found


def _no_constant(_name: str) -> NoReturn:
    raise _bad("NaN and infinities are not JSON")


def _check(value: object, depth: int) -> None:
    if depth > DEEPEST:
        raise _bad("nested too deep")
    match value:
        case str():
            if _UNSTORABLE.search(value):
                raise _bad("a text holds a zero or half a character")
        case dict():
            for key, inner in cast("dict[str, object]", value).items():
                _check(key, depth + 1)
                _check(inner, depth + 1)
        case list():
            for inner in cast("list[object]", value):
                _check(inner, depth + 1)
        case _:
            pass


def _bad(detail: str) -> Declined:
    return Declined(HTTPStatus.BAD_REQUEST, "bad-json", detail)
