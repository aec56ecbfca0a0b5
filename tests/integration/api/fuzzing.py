"""OpenAPI against the real application: whatever the document allows, and some that it does not.

    python -m tests.integration.api.fuzzing [--examples 200]      make fuzz EXAMPLES=200

No answer may be a 5xx, and what is answered has to be as the document says.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from orchestrator.identity.roles import Role
from tests.installed import Furnished
from tests.site import ADDRESS, KEYS

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
STREAMS = {"/api/v1/runs/{run}/events"}


def operations(site: Furnished) -> Iterator[Any]:
    """Every operation of the document but the streams."""
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", site.app)
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path not in STREAMS:
            yield operation


def fuzz(site: Furnished, operation: Any, *, examples: int, derandomize: bool) -> None:
    """Ask one operation many ways, of objects that are there. Raises what is wrong."""
    token, _ = site.installation.tokens.create(
        holder="fuzz", role=Role.ADMIN, scopes=(), runs=None, who="tests"
    )
    known = {"run": site.run, "user": "%230", "number": "1", "operation": site.operation}

    @settings(
        max_examples=examples,
        derandomize=derandomize,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        there = {name: known[name] for name in case.path_parameters or {} if name in known}
        case.path_parameters = {**(case.path_parameters or {}), **there}
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": next(KEYS)}
        if operation.method != "get":
            headers["If-Match"] = "*"
        case.validate_response(_answer(site, case, headers), checks=CHECKS)

    ask()


def _answer(site: Furnished, case: Any, headers: dict[str, str]) -> httpx.Response:
    """What the application says: asked without a network, as every client of these tests."""
    told = case.as_transport_kwargs(base_url=ADDRESS, headers=headers)
    told = {name: told.get(name) for name in ("method", "url", "headers", "params", "data", "json")}
    asked = requests.Request(**told).prepare()
    anonymous = site.anonymous()
    return site.ask(
        anonymous, asked.method, asked.url, headers=dict(asked.headers), content=asked.body
    )


class Fuzzed(Furnished):
    """A site with an operation that is prepared, too."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        made = self.mia.post(f"/api/v1/runs/{self.run}/retries", json={})
        self.operation = made.json()["id"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=200)
    options = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        site = Fuzzed(Path(folder))
        for operation in operations(site):
            try:
                fuzz(site, operation, examples=options.examples, derandomize=False)
            except BaseException as error:  # noqa: BLE001  each is told, then the next is asked
                wrong += 1
                sys.stderr.write(f"{operation.label}\n{error}\n\n")
            else:
                sys.stdout.write(f"{operation.label}: {options.examples} asked\n")
        site.close()
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
