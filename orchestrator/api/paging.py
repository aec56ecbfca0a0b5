"""Pages of lists: a row more than asked for is read, so that the last page knows it is the last."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from starlette.responses import Response

from orchestrator.api.answers import Page, answer
from orchestrator.api.cursors import cursor
from orchestrator.sealing import Sealer

Row = TypeVar("Row")


def page(
    sealer: Sealer,
    which: str,
    rows: Sequence[Row],
    limit: int,
    *,
    place: Callable[[Row], Any],
    view: Callable[[Row], Any] = lambda row: row,
) -> Response:
    """The first `limit` of `rows`, and the cursor behind them if there are more."""
    shown = rows[:limit]
    following = cursor(sealer, which, place(shown[-1])) if len(rows) > limit else None
    return answer(Page(rows=[view(row) for row in shown], next=following))
