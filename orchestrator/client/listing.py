"""Lists, page by page: rows as they come, and where the list goes on behind the last of them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

PAGE = 200
"""Rows that are asked for at once."""


class Rows:
    """Rows of a list; `next` is the cursor behind those that were read, None at the end."""

    def __init__(
        self,
        page: Callable[[int, str | None], Mapping[str, Any]],
        *,
        most: int = 0,
        after: str | None = None,
    ) -> None:
        """`page`: so many rows, from a cursor on. `most`: of all pages together; 0: all."""
        self._page = page
        self._most = most
        self.next = after

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Each row once."""
        left = self._most
        while True:
            page = self._page(min(left, PAGE) if self._most else PAGE, self.next)
            self.next = page["next"]
            yield from page["rows"]
            left -= len(page["rows"])
            if self.next is None or (self._most and left <= 0):
                return
