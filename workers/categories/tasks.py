"""Tasks: to-dos in iCalendar and jCal, Google Tasks, Microsoft To Do, and rows of a table.

A task may be a step of another. Where the other is not in the same folder, the task is restored
with its link and says so: the parent may come from another source or be in the target still, and
a task that stands alone is better than none.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from msgspec import structs

from orchestrator.items import Attachment, Copy, Folder, Found, Item, Side, UserId
from orchestrator.ports import Combined, Live, Recognised, Rules
from workers.formats.calendar_files import read_files
from workers.formats.calendar_live import beside, parents_of, recognise
from workers.formats.calendar_objects import Shape
from workers.formats.calendar_repairs import LOSSY, REPAIRS
from workers.formats.merging_calendars import likenesses_of, merged_item
from workers.formats.task_rows import is_task_record, read_task_record

PARENT: Final = "RELATED-TO"
"""What a task that lost its parent is noted to miss."""


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """iCalendar VTODO, jCal, Google Tasks, Microsoft To Do, and JSON objects with a `title`."""

    repairs: ClassVar[Mapping[str, str]] = REPAIRS
    lossy: ClassVar[frozenset[str]] = LOSSY
    bulky: ClassVar[bool] = False

    others: Literal["quarantine", "leave"] = "quarantine"
    """What becomes of events and journal entries that lie between tasks. `leave` where another
    phase reads the same files for them; else nothing would say that they were there."""

    def read(self, folder: Folder, rules: Rules) -> Iterator[Found]:
        """Each task as one copy; those whose parent was not read yet come last."""
        seen: set[str] = set()
        waiting: list[tuple[Copy, frozenset[str]]] = []
        for found in read_files(folder, rules, self.shape, is_task_record, read_task_record):
            if not isinstance(found, Copy):
                yield found
                continue
            seen.add(found.item.ident)
            parents = parents_of(found.item.content)
            if parents <= seen:
                yield found
            else:
                waiting.append((found, parents))
        for copy, parents in waiting:
            if parents <= seen:
                yield copy
            else:
                yield structs.replace(copy, degraded=(*copy.degraded, PARENT))

    def recognise(
        self, owner: UserId, content: bytes, attachments: Sequence[Attachment] = ()
    ) -> Recognised | None:
        """By its UID."""
        del attachments
        return recognise(owner, content, self.shape)

    def beside(self, item: Item, mark: str) -> Item:
        """The same task under another UID, its summary marked."""
        return beside(item, mark, self.shape)

    def merge(
        self, owner: UserId, live: Live, item: Item, *, wins: Side, base: Item | None = None
    ) -> Combined | None:
        """One task of both, with what overrides its instances."""
        return merged_item(self, owner, live, item, self.shape.component, wins=wins, base=base)

    def likenesses(self, content: bytes) -> frozenset[bytes]:
        """The title with the day when it begins or is due."""
        return likenesses_of(content, self.shape.component)

    @property
    def shape(self) -> Shape:
        """Which component is a task."""
        return Shape(component="VTODO", category="tasks", leave_others=self.others == "leave")


KIND = Tasks
