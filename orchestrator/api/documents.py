"""Documents that several routes, and live progress, give alike."""

from typing import Any

import msgspec

from orchestrator.run_standing import DOCUMENT_VERSION, Status


class RunDocument(Status, frozen=True, kw_only=True):
    """A run as it stands; `version` changes when a field changes its meaning."""

    version: int
    terminal: bool
    outcome: str | None


def run_document(status: Status) -> dict[str, Any]:
    """A run as the API tells it."""
    return {
        "version": DOCUMENT_VERSION,
        "terminal": status.over,
        "outcome": status.ending,
        **msgspec.to_builtins(status),
    }


def encoded_run(status: Status) -> bytes:
    """The same, as JSON."""
    return msgspec.json.encode(run_document(status))
