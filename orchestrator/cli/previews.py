"""What a preview says: what would be done to whose items, how long it takes, under which digest."""

import sys
from typing import Any

from orchestrator.books import Books
from orchestrator.cli.output import hint, say
from orchestrator.cli.picture import duration
from orchestrator.cli.tables import lines, numbers, text
from orchestrator.run_standing import DOCUMENT_VERSION, Status

_COLUMNS = (
    *text("category"),
    *numbers(
        "items", "create", "replace", "beside", "merge", "present", "live_stays", "declined",
        "quarantined", "lost",
    ),
)  # fmt: skip


def show(status: Status, *, sampled: bool) -> None:
    """The preview on stdout; what has to be noted on stderr."""
    if status.run.why or status.digest is None:
        say(f"the plan would be refused: {status.run.why or 'its sources could not be inspected'}")
        return
    out = sys.stdout.write
    users = f"{status.run.users or 0:,} users" + (" (a sample)" if sampled else "")
    out(f"{status.run.name}: what would happen to {users}; nothing was written\n\n")
    rows = [_row(phase.category, phase.books) for phase in status.phases]
    for line in lines([*rows, _row("all", status.books)], _COLUMNS):
        out(line + "\n")
    out("\n")
    for sentence in _sentences(status):
        out(sentence + "\n")
    out(f"\ndigest {status.digest}\n")
    sys.stdout.flush()
    for warning in status.warnings:
        say(f"note: {warning}", tone="yellow")
    if not sampled:
        hint(f"submit exactly this: reinstate submit PLAN --preview {status.digest}")


def _row(name: str, books: Books) -> dict[str, Any]:
    created = books.restored - books.replaced - books.beside
    return {
        "category": name,
        "items": books.items,
        "create": created,
        "replace": books.replaced,
        "beside": books.beside,
        "merge": books.merged,
        "present": books.present,
        "live_stays": books.superseded,
        "declined": books.declined,
        "quarantined": books.quarantined,
        "lost": books.lost,
    }


def _sentences(status: Status) -> list[str]:
    books = status.books
    conflicts = books.replaced + books.beside + books.merged + books.superseded
    restored = f"{books.restored + books.merged:,} items would be restored"
    found = [
        f"{restored}, {books.repaired:,} of them repaired." if books.repaired else f"{restored}."
    ]
    if conflicts:
        found.append(
            f"{conflicts:,} conflicts with what is live: {books.replaced:,} live items would be "
            f"replaced, {books.beside:,} recovered ones put beside, {books.merged:,} merged; "
            f"{books.superseded:,} live ones stay."
        )
    kept = books.quarantined + books.nameless
    if kept or books.lost:
        found.append(
            f"{books.lost:,} items of the census are in no source; {kept:,} damaged copies or "
            "items would be quarantined."
        )
    failed = sum(phase.failed for phase in status.phases)
    if failed:
        found.append(f"{failed:,} units failed: reinstate failures {status.run.id}")
    if status.elapsed is not None:
        found.append(
            f"Reading, checking and deciding took {duration(status.elapsed)} here; the run has to "
            "write and read back besides."
        )
    return found


def document(status: Status, inventory: dict[str, Any]) -> dict[str, Any]:
    """The preview as a versioned document."""
    return {
        "version": DOCUMENT_VERSION,
        "run": status.run.id,
        "name": status.run.name,
        "digest": status.digest,
        "refused": status.run.why,
        "users": status.run.users,
        "seconds": status.elapsed,
        "categories": [
            {**_row(phase.category, phase.books), "failed": phase.failed, "books": phase.books}
            for phase in status.phases
        ],
        "books": status.books,
        "causes": status.causes,
        "warnings": status.warnings,
        "inventory": inventory,
    }
