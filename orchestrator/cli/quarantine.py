"""The `quarantine` command: list copies that failed validation, export them, hand them back."""

import json
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from orchestrator.cli.exits import Exit
from orchestrator.cli.output import Format
from orchestrator.cli.steering import Reason, Who
from orchestrator.cli.views import Limit, Run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.cli.session import Session

REASONS = "reasons.jsonl"
_SHOWN = ("user", "category", "source", "reason", "detail", "length")


def quarantine(
    run: Run = "last",
    action: Annotated[
        Literal["list", "export", "release"], Parameter(help="What to do with them.")
    ] = "list",
    folder: Annotated[Path | None, Parameter(help="Of `export` and `release`.")] = None,
    /,
    *,
    limit: Limit = 50,
    unchanged: Annotated[
        bool, Parameter(negative="", help="Release files that were not edited, too.")
    ] = False,
    reason: Reason = "",
    as_: Who = None,
    output: Format = "table",
) -> Exit:
    """Copies that failed validation: list them, export their bytes, or hand edited ones back.

    `export` writes each copy as a file and `reasons.jsonl` beside them. `release` reads such a
    folder after files in it were mended: their units are read again, with these copies first.
    """
    from orchestrator.cli.session import operator, session
    from orchestrator.errors import PlanInvalid

    with session() as asked:
        run_id = asked.run(run)
        match action, folder:
            case "list", _:
                _list(asked, run_id, limit, output)
            case _, None:
                raise PlanInvalid(
                    f"{action} needs a folder", hint=f"reinstate quarantine {run} {action} DIR"
                )
            case "export", Path():
                _export(asked, run_id, folder)
            case "release", Path():
                _release(
                    asked, run_id, folder, unchanged=unchanged, who=operator(as_), reason=reason
                )
    return Exit.DONE


def _list(asked: "Session", run_id: str, limit: int, output: str) -> None:
    from orchestrator.cli.output import notices, show_rows

    rows = list(asked.progress.quarantine(run_id, limit=limit + 1 if limit else None))
    show_rows(rows[: limit or None], output, _SHOWN, empty="nothing is quarantined")
    if limit and len(rows) > limit:
        notices().print(f"there are more; see them with --limit {limit * 10}")


def _export(asked: "Session", run_id: str, folder: Path) -> None:
    from orchestrator.cli.output import notices, plain
    from orchestrator.errors import PlanInvalid

    try:
        folder.mkdir(parents=True, mode=0o700)
    except FileExistsError as error:
        raise PlanInvalid(f"{folder} exists", hint="name a new folder") from error
    except OSError as error:
        raise PlanInvalid(f"{folder} cannot be made ({error.strerror})") from error
    number = 0
    with (folder / REASONS).open("w", encoding="utf-8") as reasons:
        for row in asked.progress.quarantine(run_id):
            name = _file_name(row)
            (folder / name).write_bytes(row["data"])
            reasons.write(json.dumps({"export": name, **plain(row)}, ensure_ascii=False) + "\n")
            number += 1
    notices().print(
        f"{number:,} copies written; mend what can be mended, then hand it back: "
        f"reinstate quarantine {run_id} release {folder}",
        markup=False,
    )


def _release(
    asked: "Session", run_id: str, folder: Path, *, unchanged: bool, who: str, reason: str
) -> None:
    from orchestrator.cli.output import notices

    copies = {
        row["number"]: data
        for row, data in _edited(folder)
        if unchanged or sha256(data).hexdigest() != row["sha256"]
    }
    number = asked.runs.release(run_id, copies, who=who, reason=reason)
    notices().print(f"{number:,} copies released; watch: reinstate watch {run_id}", markup=False)


def _file_name(row: "Mapping[str, Any]") -> str:
    return f"{row['number']:09d}.bin"


def _edited(folder: Path) -> "Iterator[tuple[dict[str, Any], bytes]]":
    from orchestrator.errors import PlanInvalid

    try:
        for line in (folder / REASONS).read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            file = folder / _file_name(row)
            if file.is_file():
                yield row, file.read_bytes()
    except (OSError, ValueError, KeyError) as error:
        raise PlanInvalid(
            f"{folder} is not what `quarantine export` wrote", hint=f"it needs {REASONS}"
        ) from error
