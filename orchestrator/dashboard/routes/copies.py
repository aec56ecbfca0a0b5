"""Quarantine: why copies are kept back, which they are, their bytes, and mending them."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from orchestrator.api.cursors import cursor as cursor_to
from orchestrator.api.cursors import place_of
from orchestrator.api.gate import GatedRoute, Who
from orchestrator.api.given import CursorText, Number, QueryText
from orchestrator.api.installation import Asked, named
from orchestrator.api.routes.copies import LargeRoute
from orchestrator.api.which import RunId
from orchestrator.dashboard.pages import Form, Upload, asked_for, needed_reason, shown, to
from orchestrator.dashboard.routes.runs import seen
from orchestrator.errors import NotFound, PlanInvalid
from orchestrator.query import parse

router = APIRouter(route_class=GatedRoute, include_in_schema=False)
large = APIRouter(route_class=LargeRoute, include_in_schema=False)

ROWS_A_PAGE = 50
NEWLINES = {"crlf": "\r\n"}
WRITABLE = 256 * 1024
"""Larger copies are mended as files."""
GUARDED = "default-src 'none'; sandbox"
"""Of bytes that come from damaged sources: a browser makes nothing of them."""


@router.get("/runs/{run}/quarantine")
def list_quarantine(
    request: Request, run: RunId, asked: Asked, q: QueryText = "", cursor: CursorText = None
) -> Response:
    """Reasons with their counts, then the copies in the order of their numbers."""
    which = f"pages quarantine {run} {q}"
    after = place_of(asked.sealer, which, cursor) or 0
    plan = asked.progress.plan(run)
    query, problem = asked_for(lambda: parse([q], plan), None)
    rows: list[dict[str, Any]] = []
    if query is not None:
        copies = asked.progress.quarantine(run, after=after, query=query)
        rows = list(islice(copies, ROWS_A_PAGE + 1))
    some = [{**row, "user": named(asked, row["user"])} for row in rows[:ROWS_A_PAGE]]
    following = None
    if len(rows) > ROWS_A_PAGE:
        following = cursor_to(asked.sealer, which, some[-1]["number"])
    return shown(
        request,
        "quarantine.html",
        **seen(asked, run, "quarantine"),
        reasons=asked.progress.reasons(run),
        rows=some,
        following=following,
        q=q,
        problem=problem,
    )


@router.post("/runs/{run}/quarantine/{number}/raw")
def raw_copy(run: RunId, number: Number, form: Form, asked: Asked, who: Who) -> Response:
    """The bytes of one copy as they were found. The audit log keeps who asked and why."""
    reason = needed_reason(form, "to see what a copy holds")
    found = asked.revealing.copy(run, number, who=who.holder, reason=reason)
    return Response(
        found["data"],
        media_type="application/octet-stream",
        headers={
            "Content-Disposition": f'attachment; filename="{number:09d}.bin"',
            "Content-Security-Policy": GUARDED,
        },
    )


@router.post("/runs/{run}/quarantine/export")
def export(run: RunId, form: Form, asked: Asked, who: Who) -> Response:
    """Every copy with its bytes (base64) and evidence, one JSON object a line, as a file."""
    reason = needed_reason(form, "to see what copies hold")
    copies = asked.revealing.copies(run, who=who.holder, reason=reason)

    def lines() -> Iterator[bytes]:
        for row in copies:
            yield msgspec.json.encode(row) + b"\n"

    return StreamingResponse(
        lines(),
        media_type="application/jsonl",
        headers={
            "Content-Disposition": f'attachment; filename="quarantine-{run}.jsonl"',
            "Content-Security-Policy": GUARDED,
        },
    )


@router.post("/runs/{run}/quarantine/{number}/open")
def open_copy(
    request: Request, run: RunId, number: Number, form: Form, asked: Asked, who: Who
) -> Response:
    """One copy with its evidence, to be mended. The audit log keeps who asked and why."""
    reason = needed_reason(form, "to see what a copy holds")
    found = asked.revealing.copy(run, number, who=who.holder, reason=reason)
    return shown(
        request,
        "copy.html",
        **seen(asked, run, "quarantine"),
        copy={**found, "user": named(asked, found["user"])},
        text=_as_text(found["data"]),
        lines="crlf" if b"\r\n" in (found["data"] or b"") else "lf",
    )


def _as_text(data: bytes | None) -> str | None:
    """What can be written on a page without changing it; None for anything else."""
    if data is None or len(data) > WRITABLE:
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    plain = text.replace("\r\n", "\n")
    odd = "\r" in plain or ("\r\n" in text and text.count("\n") != text.count("\r\n"))
    return None if odd or "\0" in text else plain


@large.post("/runs/{run}/quarantine/{number}/release")
def release(run: RunId, number: Number, given: Upload, asked: Asked, who: Who) -> Response:
    """Hand one copy back, mended: a file, or what was written; its unit is read again with it."""
    reason = needed_reason(given.fields, "to hand a copy back")
    data = given.files.get("file") or None
    if data is None and "text" in given.fields:
        lines = given.fields["text"].replace("\r\n", "\n")
        data = lines.replace("\n", NEWLINES.get(given.fields.get("lines", ""), "\n")).encode()
    if data is None:
        raise PlanInvalid("nothing was handed back", hint="go back, and choose a file")
    if not asked.runs.release(run, {number: data}, who=who.holder, reason=reason):
        raise NotFound("there is no such copy in quarantine")
    return to(f"/runs/{run}/quarantine")
