"""The report of a run: what was asked, what came back, what did not, and why. No user is named."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import msgspec
from msgspec import Struct

from orchestrator.books import Books, Outcome
from orchestrator.lifecycle import CellState
from orchestrator.plan import Plan
from orchestrator.progress import Progress
from orchestrator.run_standing import DOCUMENT_VERSION, Status

OUTCOMES: dict[str, str] = {
    Outcome.RESTORED: "are in the target with the recovered content, read back and equal",
    Outcome.MERGED: "were combined with what was there",
    Outcome.PRESENT: "were already there with equal content",
    Outcome.SUPERSEDED: "stay as they are: newer, or the user's own",
    Outcome.DECLINED: "were not to be restored: erased user, or deleted later by the user",
    Outcome.QUARANTINED: "failed validation; kept with a reason",
    Outcome.PENDING: "are not done, or their unit failed",
}


class Report(Struct, frozen=True, kw_only=True):
    """Everything that a report says; `version` changes when a field changes its meaning."""

    version: int
    run: dict[str, Any]
    incident: dict[str, str]
    approvals: tuple[str, ...]
    digest: str | None
    books: Books
    categories: tuple[dict[str, Any], ...]
    causes: tuple[dict[str, Any], ...]
    reasons: tuple[dict[str, Any], ...]
    sources: dict[str, Any]
    warnings: tuple[str, ...]


def report_of(progress: Progress, run_id: str) -> Report:
    """The report of a run as it stands."""
    status = progress.status(run_id)
    plan = progress.plan(run_id)
    inventory = progress.inventory(run_id)
    return Report(
        version=DOCUMENT_VERSION,
        run=msgspec.to_builtins(status.run),
        incident=_incident(plan),
        approvals=status.approvals,
        digest=status.digest,
        books=status.books,
        categories=tuple(_categories(status)),
        causes=tuple(msgspec.to_builtins(cause) for cause in status.causes),
        reasons=tuple(progress.reasons(run_id)),
        sources=inventory.get("sources", {}),
        warnings=status.warnings,
    )


def _incident(plan: Plan) -> dict[str, str]:
    return {"reference": plan.incident.reference, "as_of": plan.incident.as_of.isoformat()}


def _categories(status: Status) -> Iterable[dict[str, Any]]:
    for phase in status.phases:
        yield {
            "category": phase.category,
            "state": str(phase.state if phase.waiting else CellState.SETTLED),
            "users": phase.units,
            "settled": phase.settled,
            "failed": phase.failed,
            "cancelled": phase.cancelled,
            "books": msgspec.to_builtins(phase.books),
        }


# Words ------------------------------------------------------------------------------------------

_COLUMNS = ("copies", "items", *(str(outcome) for outcome in Outcome), "lost")

Table = tuple[str, Sequence[str], list[list[str]]]
"""A heading, the names of the columns, and the rows."""


def as_markdown(report: Report) -> str:
    """The report to read, to file, or to paste into a ticket."""
    parts = [f"# {report.run['name']}: run {report.run['id']}", "", *_sentences(report)]
    for heading, columns, rows in _tables(report):
        parts += ["", f"## {heading}", ""]
        parts.append("| " + " | ".join(columns) + " |")
        parts.append("| " + " | ".join("---" for _ in columns) + " |")
        parts += ["| " + " | ".join(map(_in_markdown, row)) + " |" for row in rows]
    if report.warnings:
        parts += ["", "## Notes", "", *(f"- {warning}" for warning in report.warnings)]
    return "\n".join(parts) + "\n"


def as_html(report: Report) -> str:
    """The same as one page that needs nothing else; light and dark."""
    parts = [f"<h1>{escape(str(report.run['name']))}: run {escape(str(report.run['id']))}</h1>"]
    parts += [f"<p>{escape(sentence)}</p>" for sentence in _sentences(report) if sentence]
    for heading, columns, rows in _tables(report):
        parts.append(f"<h2>{escape(heading)}</h2><table><thead><tr>")
        parts += [f'<th scope="col">{escape(column)}</th>' for column in columns]
        parts.append("</tr></thead><tbody>")
        for row in rows:
            parts.append("<tr>" + "".join(f"<td>{escape(value)}</td>" for value in row) + "</tr>")
        parts.append("</tbody></table>")
    if report.warnings:
        items = "".join(f"<li>{escape(warning)}</li>" for warning in report.warnings)
        parts.append(f"<h2>Notes</h2><ul>{items}</ul>")
    title = escape(f"Restoration report: {report.run['name']}")
    return _PAGE.format(title=title, body="\n".join(parts))


def _sentences(report: Report) -> list[str]:
    run, books = report.run, report.books
    sentences = [
        f"The run is {str(run['state']).replace('_', ' ')}. It covers {_counted(run['users'])} "
        f"and what the service held of them at {report.incident['as_of']}"
        + (f" ({report.incident['reference']})." if report.incident["reference"] else "."),
        "",
        (
            f"{books.copies:,} copies were read; they are {books.items:,} items, "
            f"{books.others:,} further copies of those, and {books.nameless:,} damaged copies "
            "of which nobody can say what they were."
        ),
        "",
    ]
    sentences += [
        f"- {getattr(books, outcome):,} {meaning}"
        for outcome, meaning in OUTCOMES.items()
        if getattr(books, outcome)
    ]
    if books.repaired:
        sentences.append(f"- of those restored, {books.repaired:,} were repaired")
    if books.degraded:
        sentences.append(f"- of those restored, {books.degraded:,} lack fields, known by name")
    if books.lost:
        sentences.append(f"- {books.lost:,} items of the census are in no source: lost")
    if report.approvals:
        sentences += [
            "",
            f"Submitted by {run['author']}, approved by {', '.join(report.approvals)}.",
        ]
    return sentences


def _counted(users: int | None) -> str:
    return "1 user" if users == 1 else f"{users or 0:,} users"


def _tables(report: Report) -> Iterable[Table]:
    rows = [
        [entry["category"], entry["state"], f"{entry['users']:,}", f"{entry['failed']:,}"]
        + [f"{entry['books'][name]:,}" for name in _COLUMNS]
        for entry in report.categories
    ]
    yield "Books", ("category", "state", "users", "failed", *_COLUMNS), rows
    if report.causes:
        yield (
            "What failed or waits, and why",
            ("cause", "category", "state", "users", "means"),
            [
                [c["fingerprint"], c["category"], c["state"], f"{c['units']:,}", c["sentence"]]
                for c in report.causes
            ],
        )
    if report.reasons:
        yield (
            "Quarantine",
            ("category", "source", "reason", "copies", "means"),
            [
                [r["category"], r["source"], r["reason"], f"{r['copies']:,}", r["means"]]
                for r in report.reasons
            ],
        )
    unowned = [
        [name, entry["why"], f"{entry['files']:,}", f"{entry['size']:,}"]
        for name, inventory in report.sources.items()
        for entry in inventory.get("unowned", ())
    ]
    if unowned:
        yield "Bytes that belong to no user", ("source", "why", "files", "bytes"), unowned


def _in_markdown(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto;
  padding: 0 1rem; }}
table {{ border-collapse: collapse; display: block; overflow-x: auto; }}
th, td {{ text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8884; }}
td {{ font-variant-numeric: tabular-nums; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""
