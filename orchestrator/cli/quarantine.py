"""The `quarantine` command: list copies that failed validation, export them, hand them back."""

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
    from orchestrator.cli.session import Session

REASONS = "reasons.jsonl"
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
        int, Parameter(help="Of `list`: go on behind this number."), Takes("NUMBER")
    ] = 0,
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
    it is, where it was found, what is wrong. `release` reads such a folder after files in it were
    mended: their units are read again, with these copies before those of any source.

        reinstate quarantine 7f3a export damaged
        reinstate quarantine 7f3a release damaged --reason "mended by hand" --wait
    """
    from orchestrator.cli.session import operator, session

    if run in {"list", "export", "release"}:
        raise PlanInvalid(
            "a run comes first", hint=f"reinstate quarantine last {run}{' DIR' * (run != 'list')}"
        )
    with session() as asked:
        run_id = asked.run(run)
        match action, folder:
            case "list", _:
                _list(asked, run_id, after, limit, output)
            case _, None:
                raise PlanInvalid(
                    f"{action} needs a folder", hint=f"reinstate quarantine {run_id} {action} DIR"
                )
            case "export", Path():
                _export(asked, run_id, folder)
            case "release", Path():
                return _release(
                    asked,
                    run_id,
                    folder,
                    unchanged=unchanged,
                    who=operator(as_),
                    reason=reason,
                    wait=wait,
                )
    return Exit.DONE


def _list(asked: "Session", run_id: str, after: int, limit: int, output: str) -> None:
    from orchestrator.cli.output import hint, show_rows
    from orchestrator.cli.tables import numbers, prose, text

    last = show_rows(
        (
            {**row, "number": str(row["number"])} if output == "table" else row
            for row in asked.progress.quarantine(run_id, after=after)
        ),
        output,
        (
            *numbers("number"),
            *text("user", "category", "source", "reason"),
            *prose("detail"),
            *numbers("length"),
            *text("released"),
        ),
        empty="nothing is quarantined",
        limit=limit,
    )
    if last is not None:
        hint(f"there are more: the same with --after {last['number']}")


def _export(asked: "Session", run_id: str, folder: Path) -> None:
    from orchestrator.cli.output import hint, plain, say

    try:
        folder.mkdir(parents=True, mode=0o700)
    except FileExistsError as error:
        raise PlanInvalid(f"{folder} exists", hint="name a new folder") from error
    except OSError as error:
        raise PlanInvalid(f"{folder} cannot be made ({error.strerror})") from error
    number = 0
    try:
        with (folder / REASONS).open("w", encoding="utf-8") as reasons:
            for row in asked.progress.quarantine(run_id):
                name = _file_name(row)
                (folder / name).write_bytes(row["data"])
                reasons.write(json.dumps({"export": name, **plain(row)}) + "\n")
                number += 1
    except OSError as error:
        raise Refused(
            f"writing to {folder} failed after {number:,} copies ({error.strerror})",
            hint="make room and export into a new folder",
        ) from error
    say(f"{number:,} copies written to {folder}, and why each is there to {folder / REASONS}")
    if number:
        hint(f"mend what can be mended, then: reinstate quarantine {run_id} release {folder}")


def _file_name(row: Mapping[str, Any]) -> str:
    """The number of the copy; of the name that it had, only a plain suffix, for editors."""
    suffix = PurePosixPath(str(row["file"])).suffix.lower()
    return f"{row['number']:09d}{suffix if _SUFFIX.fullmatch(suffix) else '.bin'}"


def _release(
    asked: "Session",
    run_id: str,
    folder: Path,
    *,
    unchanged: bool,
    who: str,
    reason: str,
    wait: bool,
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
    taken = asked.runs.release(run_id, copies, who=who, reason=reason) if copies else 0
    given = len(copies)
    if not given:
        say("no file was edited, so nothing is handed back")
        hint("edit the files in place; --unchanged hands back the others, too")
        return Exit.DONE
    say(f"{taken:,} of {given:,} copies are handed back")
    if taken < given:
        hint("the others are not in quarantine any more: export again to see what is")
    return go_on(asked, run_id, wait=wait and taken > 0, moves=taken > 0)


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
