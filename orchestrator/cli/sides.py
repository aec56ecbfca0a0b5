"""Which numbers of a phase are shown, in the words of what the run is for."""

from typing import NamedTuple

from orchestrator.findings import UNDO, VERIFY, Drift, Undone, drifts, undone
from orchestrator.run_standing import PhaseProgress


class Side(NamedTuple):
    """One number of a phase."""

    title: str
    word: str
    """As a log says it."""
    number: int
    colour: str = ""
    roomy: bool = False
    """Only where there is room for it."""


def sides_of(purpose: str, phase: PhaseProgress) -> list[Side]:
    """What is told of a phase; the first of them always, the others where there are any."""
    books = phase.books
    failed = Side("FAILED", "failed", phase.failed, "red")
    if purpose == VERIFY:
        found = drifts(books)
        return [
            Side("AS LEFT", "as left", found[Drift.AS_LEFT]),
            failed,
            Side("NEVER THERE", "never there", found[Drift.NEVER], "yellow", roomy=True),
            Side("CHANGED", "changed", found[Drift.CHANGED], "yellow"),
            Side("GONE", "gone", found[Drift.GONE], "yellow"),
        ]
    if purpose == UNDO:
        found = undone(books)
        return [
            Side("REMOVED", "removed", found[Undone.REMOVED]),
            Side("PUT BACK", "put back", found[Undone.PUT_BACK]),
            failed,
            Side("AS BEFORE", "as before already", found[Undone.ALREADY], roomy=True),
            Side("LEFT", "left as they are", found[Undone.LEFT], "yellow"),
        ]
    would = purpose == "preview"
    kept = books.quarantined + books.nameless
    return [
        Side(
            "WOULD RESTORE" if would else "RESTORED",
            "would be restored" if would else "restored",
            books.restored + books.merged,
        ),
        failed,
        Side("QUARANTINED", "quarantined", kept, "yellow", roomy=True),
        Side("LOST", "lost", books.lost, "yellow"),
    ]
