"""The OpenAPI document: FastAPI's, with our answers, problems, tokens and keys.

`python -m orchestrator.api.openapi` writes docs/openapi.json.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from orchestrator.api.access import ROUTES, Access
from orchestrator.api.answers import returns, schemas
from orchestrator.api.gate import GatedRoute
from orchestrator.api.problems import MEDIA_TYPE, Detail

FILE = Path(__file__).parents[2] / "docs" / "openapi.json"
_PROBLEM = {"$ref": "#/components/schemas/Detail"}
_CHANGES = ("post", "put", "patch", "delete")
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "description": "New for each thing that is to be done; the same again is answered as before.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}


def routes_of(app: FastAPI) -> Iterator[GatedRoute]:
    """Every route behind the gate, wherever its router was included."""
    for route in _walk(app.routes):
        if isinstance(route, GatedRoute):
            yield route


def _walk(routes: Any) -> Iterator[Any]:
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is None:
            yield route
        else:
            yield from _walk(inner.routes)


def document(app: FastAPI) -> dict[str, Any]:
    """The document of an application."""
    returns(Detail)
    made = get_openapi(
        title=app.title,
        version="1",
        description="Puts users' data back after a service lost it, and proves what it did.",
        routes=app.routes,
        separate_input_output_schemas=False,
    )
    components = made.setdefault("components", {})
    known = components.setdefault("schemas", {})
    for gone in ("HTTPValidationError", "ValidationError"):
        known.pop(gone, None)
    known.update(schemas())
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "bearerFormat": "rst_…"},
        "session": {"type": "apiKey", "in": "cookie", "name": "reinstate_session"},
    }
    for path, operations in made["paths"].items():
        for method, operation in operations.items():
            access = ROUTES.get(f"{method.upper()} {path}")
            if access is not None:
                _complete(operation, method, access)
    return made


def _complete(operation: dict[str, Any], method: str, access: Access) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    responses["default"] = {
        "description": "A problem (RFC 9457)",
        "content": {MEDIA_TYPE: {"schema": _PROBLEM}},
    }
    if access.scope is None:
        operation["security"] = []
        return
    operation["security"] = [{"token": []}, {"session": []}]
    operation["description"] = (
        f"{operation.get('description', '')}\n\nNeeds the right `{access.scope}`; roles: "
        f"{', '.join(sorted(access.roles))}."
    ).strip()
    if method == "post" and not access.repeatable:
        operation.setdefault("parameters", []).append(_KEY)


def rendered(app: FastAPI) -> str:
    """As the file holds it."""
    return json.dumps(document(app), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the file."""
    from orchestrator.api.app import create_app  # noqa: PLC0415  it imports this module
    from orchestrator.api.installation import Installation  # noqa: PLC0415

    app = create_app(Installation.nowhere())
    FILE.write_text(rendered(app), encoding="utf-8")
    sys.stdout.write(f"{FILE}\n")


if __name__ == "__main__":
    main()
