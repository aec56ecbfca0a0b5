"""Calendar: events in iCalendar and jCal, whole calendars or one a file, and rows of a table.

One item is one event with everything that overrides single instances of it. What a calendar says
of itself (name, colour, METHOD) is framing: targets have calendars of their own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from orchestrator.items import Attachment, Folder, Found, Item, Side, UserId
from orchestrator.ports import Combined, Live, Recognised, Rules
from workers.formats.calendar_files import read_files
from workers.formats.calendar_live import beside, recognise
from workers.formats.calendar_objects import Shape
from workers.formats.calendar_repairs import LOSSY, REPAIRS
from workers.formats.calendar_rows import is_event_row, read_event_row
from workers.formats.merging_calendars import likenesses_of, merged_item


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """iCalendar, jCal, and JSON objects with `uid`, `summary`, `start`, `end` and the like."""

    repairs: ClassVar[Mapping[str, str]] = REPAIRS
    lossy: ClassVar[frozenset[str]] = LOSSY
    bulky: ClassVar[bool] = False

    others: Literal["quarantine", "leave"] = "quarantine"
    """What becomes of tasks and journal entries that lie in calendars. `leave` where another
    phase reads the same files for them; else nothing would say that they were there."""

    def read(self, folder: Folder, rules: Rules) -> Iterator[Found]:
        """Each event with its overrides as one copy."""
        return read_files(folder, rules, self.shape, is_event_row, read_event_row)

    def recognise(
        self, owner: UserId, content: bytes, attachments: Sequence[Attachment] = ()
    ) -> Recognised | None:
        """By its UID."""
        del attachments
        return recognise(owner, content, self.shape)

    def beside(self, item: Item, mark: str) -> Item:
        """The same event under another UID, its summary marked."""
        return beside(item, mark, self.shape)

    def merge(
        self, owner: UserId, live: Live, item: Item, *, wins: Side, base: Item | None = None
    ) -> Combined | None:
        """One event of both, with what overrides its instances."""
        return merged_item(self, owner, live, item, self.shape.component, wins=wins, base=base)

    def likenesses(self, content: bytes) -> frozenset[bytes]:
        """The summary, when it is, and how it recurs."""
        return likenesses_of(content, self.shape.component)

    @property
    def shape(self) -> Shape:
        """Which component is an event."""
        return Shape(component="VEVENT", category="calendar", leave_others=self.others == "leave")


KIND = Calendar
