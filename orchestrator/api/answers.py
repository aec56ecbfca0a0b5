"""Answers as JSON, and what OpenAPI says of them: one struct is both."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import Struct
from starlette.responses import Response

_SEEN: dict[str, type[Struct]] = {}
_REF = "#/components/schemas/{name}"


class Page(Struct, frozen=True, kw_only=True):
    """A part of a list. `next` is the cursor of the following part; null: there is none."""

    rows: Sequence[Any]
    next: str | None = None


def answer(
    value: Any, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> Response:
    """A value as JSON."""
    return Response(
        msgspec.json.encode(value), status, dict(headers or {}), media_type="application/json"
    )


def nothing() -> Response:
    """It is done, and there is nothing to say."""
    return Response(status_code=HTTPStatus.NO_CONTENT)


def returns(
    kind: type[Struct], status: int = HTTPStatus.OK, *, others: Sequence[str] = ()
) -> dict[int | str, dict[str, Any]]:
    """For `responses=` of a route: its answer, as OpenAPI shows it; `others`: in other forms."""
    _SEEN[kind.__name__] = kind
    found = _content(status, {"$ref": _REF.format(name=kind.__name__)})
    for media in others:
        found[int(status)]["content"][media] = {"schema": {"type": "string"}}
    return found


def returns_as(*media: str) -> dict[int | str, dict[str, Any]]:
    """The same of an answer that is no JSON; its route has `response_class=Response`."""
    content = {one: {"schema": {"type": "string"}} for one in media}
    return {int(HTTPStatus.OK): {"description": HTTPStatus.OK.phrase, "content": content}}


def returns_page(kind: type[Struct]) -> dict[int | str, dict[str, Any]]:
    """The same of a page of a list."""
    _SEEN[kind.__name__] = kind
    schema = {
        "type": "object",
        "required": ["rows", "next"],
        "properties": {
            "rows": {"type": "array", "items": {"$ref": _REF.format(name=kind.__name__)}},
            "next": {"type": ["string", "null"], "description": "cursor of the following page"},
        },
    }
    return _content(HTTPStatus.OK, schema)


def _content(status: int, schema: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    return {
        int(status): {
            "description": HTTPStatus(status).phrase,
            "content": {"application/json": {"schema": schema}},
        }
    }


def schemas() -> dict[str, Any]:
    """Every struct that a route returns, and what it is made of, for OpenAPI's components."""
    _, components = msgspec.json.schema_components(
        [_SEEN[name] for name in sorted(_SEEN)], ref_template=_REF
    )
    return components
