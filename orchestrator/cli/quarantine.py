"""The `quarantine` command: list copies that failed validation, export them, hand them back."""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from cyclopts import Parameter

from orchestrator.cli.arguments import Limit, Reason, Run, Wait, Who
from orchestrator.cli.exits import Exit
from orchestrator.cli.help import Takes
from orchestrator.cli.output import Format
from orchestrator.errors import PlanInvalid, Refused

if TYPE_CHECKING:
    from orchestrator.client.asking import Client

REASONS = "reasons.jsonl"
BYTES_AT_ONCE = 32 * 1024 * 1024
MOST = 10_000
"""Copies that are handed back at once: their units are tried again together or not at all."""
_SUFFIX = re.compile(r"\.[a-z0-9]{1,5}", re.ASCII)
_NAME = re.compile(r"[0-9]{9,18}\.[a-z0-9]{1,5}", re.ASCII)


def quarantine(  # noqa: PLR0913  one command, and the options of its three actions
    run: Run = "last",
    action: Annotated[
        Literal["list", "export", "release"], Parameter(help="What to do with them.")
    ] = "list",
    folder: Annotated[Path | None, Parameter(help="Of `export` and `release`.")] = None,
    /,
    *,
    after: Annotated[
        str | None,
        Parameter(help="Of `list`: go on behind the place that the end of a list names."),
        Takes("PLACE"),
    ] = None,
    limit: Limit = 50,
    unchanged: Annotated[
        bool, Parameter(help="Of `release`: files that were not edited, too.")
    ] = False,
    wait: Wait = False,
    reason: Reason = "",
    as_: Who = None,
    output: Format = "table",
) -> Exit:
    """Copies that failed validation: list them, export their bytes, or hand edited ones back.

    `export` writes each copy as a file into a new folder, and `reasons.jsonl` beside them: whose
    it is, where it was found, what is wrong; it needs --reason, and the audit log keeps it.
    `release` reads such a folder after files in it were mended: their units are read again, with
    these copies before those of any source.

        reinstate quarantine 7f3a export damaged --reason "to mend them"
        reinstate quarantine 7f3a release damaged --reason "mended by hand" --wait
    """
    from orchestrator.cli.session import asking

    if run in {"list", "export", "release"}:
        raise PlanInvalid(
            "a run comes first", hint=f"reinstate quarantine last {run}{' DIR' * (run != 'list')}"
        )
    with asking(as_) as asked:
        run_id = asked.run(run)
        match action, folder:
            case "list", _:
                _list(asked, run_id, after, limit, output)
            case _, None:
                raise PlanInvalid(
                    f"{action} needs a folder", hint=f"reinstate quarantine {run_id} {action} DIR"
                )
            case "export", Path():
                _export(asked, run_id, folder, reason)
            case "release", Path():
                return _release(
                    asked, run_id, folder, unchanged=unchanged, reason=reason, wait=wait
                )
    return Exit.DONE


def _list(asked: "Client", run_id: str, after: str | None, limit: int, output: str) -> None:
    from orchestrator.cli.output import show_rows
    from orchestrator.cli.people import say_more
    from orchestrator.cli.tables import numbers, prose, text

    rows = asked.rows(f"/runs/{run_id}/quarantine", most=limit, after=after)
    show_rows(
        ({**row, "number": str(row["number"])} if output == "table" else row for row in rows),
        output,
        (
            *numbers("number"),
            *text("user", "category", "source", "reason"),
            *numbers("length"),
            *text("released"),
            *prose("means"),
        ),
        empty="nothing is quarantined",
    )
    say_more(rows)


def _export(asked: "Client", run_id: str, folder: Path, reason: str) -> None:
    from orchestrator.cli.output import hint, say
    from orchestrator.cli.steering import must_say_why

    must_say_why(reason, "say why you need what users had")
    try:
        folder.mkdir(parents=True, mode=0o700)
    except FileExistsError as error:
        raise PlanInvalid(f"{folder} exists", hint="name a new folder") from error
    except OSError as error:
        raise PlanInvalid(f"{folder} cannot be made ({error.strerror})") from error
    number = 0
    try:
        with (
            asked.lines(f"/runs/{run_id}/quarantine/export", {"reason": reason}) as lines,
            (folder / REASONS).open("w", encoding="utf-8") as reasons,
        ):
            for line in lines:
                row = json.loads(line)
                data = row.pop("data")
                name = _file_name(row)
                (folder / name).write_bytes(base64.b64decode(data or ""))
                reasons.write(json.dumps({"export": name, **row}) + "\n")
                number += 1
    except OSError as error:
        raise Refused(
            f"writing to {folder} failed after {number:,} copies ({error.strerror})",
            hint="make room and export into a new folder",
        ) from error
    copies = "1 copy" if number == 1 else f"{number:,} copies"
    say(f"{copies} written to {folder}, and why each is there to {folder / REASONS}")
    if number:
        hint(f"mend what can be mended, then: reinstate quarantine {run_id} release {folder}")


def _file_name(row: Mapping[str, Any]) -> str:
    """The number of the copy; of the name that it had, only a plain suffix, for editors."""
    suffix = PurePosixPath(str(row["file"])).suffix.lower()
    return f"{row['number']:09d}{suffix if _SUFFIX.fullmatch(suffix) else '.bin'}"


def _release(
    asked: "Client", run_id: str, folder: Path, *, unchanged: bool, reason: str, wait: bool
) -> Exit:
    from orchestrator.cli.output import hint, say
    from orchestrator.cli.steering import go_on

    copies = {
        number: data
        for number, digest, data in _files(folder)
        if unchanged or sha256(data).hexdigest() != digest
    }
    if len(copies) > MOST:
        raise PlanInvalid(
            f"{len(copies):,} copies are too many at once, at most {MOST:,}",
            hint=f"move some of the files out of {folder} and hand them back afterwards",
        )
    taken = _hand_back(asked, run_id, copies, reason) if copies else 0
    given = len(copies)
    if not given:
        say("no file was edited, so nothing is handed back")
        hint("edit the files in place; --unchanged hands back the others, too")
        return Exit.DONE
    say(f"{taken:,} of {given:,} cop{'y is' if given == 1 else 'ies are'} handed back")
    if taken < given:
        hint("the others are not in quarantine any more: export again to see what is")
    return go_on(asked, run_id, wait=wait and taken > 0, moves=taken > 0)


def _hand_back(asked: "Client", run_id: str, copies: Mapping[int, bytes], reason: str) -> int:
    """Hand copies back, as many at once as a request holds; how many were taken."""
    taken = 0
    given = list(copies.items())
    while given:
        size, part = 0, list[dict[str, Any]]()
        while given and (not part or size + len(given[0][1]) < BYTES_AT_ONCE):
            number, data = given.pop(0)
            part.append({"number": number, "data": base64.b64encode(data).decode()})
            size += len(data)
        wish = {"copies": part, "reason": reason}
        answer = asked.post(f"/runs/{run_id}/quarantine/release", dict[str, Any], wish)
        taken += answer["copies"]
    return taken


def _files(folder: Path) -> Iterator[tuple[int, str, bytes]]:
    """Number, original hash and bytes of every exported file that is still there."""
    try:
        with (folder / REASONS).open(encoding="utf-8") as lines:
            for line in lines:
                row = cast("Mapping[str, Any]", json.loads(line))
                name, number, digest = row["export"], row["number"], row["sha256"]
                if _NAME.fullmatch(name) and (folder / name).is_file():
                    yield int(number), str(digest), (folder / name).read_bytes()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PlanInvalid(
            f"{folder} is not what `quarantine export` wrote", hint=f"it needs its {REASONS}"
        ) from error
