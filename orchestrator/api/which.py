"""Which run an address means, whether it is there for whoever asks, and in which version."""

import hashlib
import json
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Header, Path

from orchestrator.api.gate import Who
from orchestrator.api.installation import Asked, Installation
from orchestrator.api.problems import Declined
from orchestrator.errors import NotFound
from orchestrator.identity.roles import Caller
from orchestrator.ledger.keys import root_of
from orchestrator.run_standing import Status

_RunPath = Annotated[
    str,
    Path(pattern="^[0-9a-f]{4,16}$", description="The whole id of a run.", examples=["7f3a01c2"]),
]


def _run_of(run: _RunPath, asked: Asked, who: Who) -> str:
    """The run, if it is there for this caller. Raises `NotFound`, the same for both reasons."""
    asked.recent.require(run)
    if not visible(asked, who, run):
        raise NotFound("there is no such run", hint="list them: reinstate runs")
    return run


def visible(asked: Installation, who: Caller, run: str) -> bool:
    """Whether a run is there for a caller: one of theirs, or about one of theirs."""
    if who.sees(run):
        return True
    with asked.ledger.read() as connection:
        return who.sees(root_of(connection, run))


RunId = Annotated[str, Depends(_run_of)]
"""What a route takes as its run."""


def etag(status: Status) -> str:
    """The version of a run: changes with what people decide on, not with every item."""
    run = status.run
    facts = [
        run.id,
        run.state,
        run.why,
        status.digest,
        sorted(status.approvals),
        status.accepted_by,
        [[at.category, at.wave, at.state] for at in status.cells],
    ]
    text = json.dumps(facts, default=str)
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:20]}"'


IfMatch = Annotated[
    str | None, Header(max_length=200, description="The ETag of what was looked at; * for any.")
]


def require_match(given: str | None, current: str) -> None:
    """Refuse a change by somebody who looked at another version, or at none."""
    if given is None:
        raise Declined(
            HTTPStatus.PRECONDITION_REQUIRED,
            "if-match-missing",
            "this changes something that others may change, too",
            hint="If-Match: the ETag of what you looked at",
        )
    if given.strip() != "*" and current not in [part.strip() for part in given.split(",")]:
        raise Declined(
            HTTPStatus.PRECONDITION_FAILED,
            "changed",
            "it was changed since you looked",
            hint="look again, then decide",
        )


def _matched(run: RunId, asked: Asked, if_match: IfMatch = None) -> str:
    """The run, in the version that the caller looked at."""
    require_match(if_match, etag(asked.progress.status(run)))
    return run


MatchedRun = Annotated[str, Depends(_matched)]
"""The same, of a route that changes the run's course: with `If-Match`."""
