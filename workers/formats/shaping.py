"""An item in the form that a CardDAV or CalDAV server takes, or the reason why there is none.

A contact becomes one vCard 3.0, an event or task one VCALENDAR of one UID, a note one VJOURNAL.
The form is written for what servers really do with it: programs built on vobject cut texts at bare
commas, double backslashes that they do not know, and have neither vCard 4.0 nor RDATE of periods.

Nothing is lost on the way: what is given back has the item's ident and its digest, or it is not
given back. Whether a server keeps it is another question, which only reading back answers.
"""

from typing import Final

from orchestrator.errors import ItemRejected
from orchestrator.items import Item
from orchestrator.reasons import Reason
from workers.formats.shaping_calendar import shaped_object
from workers.formats.shaping_contacts import shaped_card
from workers.formats.shaping_notes import shaped_journal

SHAPED: Final = ("contacts", "calendar", "tasks", "notes")
"""The categories that such servers have a place for."""

LARGEST: Final = 10_000_000
"""Bytes of a resource; Radicale takes no more unless it is told to."""


def shaped(category: str, item: Item, *, largest: int = LARGEST) -> bytes:
    """The resource to write: a vCard 3.0, or a VCALENDAR of one UID. The same on every run.

    Shaping what was shaped changes nothing.

    Raises:
        ItemRejected: `REFUSED` where no such form keeps the item's meaning, `TOO_LARGE` where the
            form is larger than `largest` bytes, `UNSUPPORTED` for any other category.
    """
    match category:
        case "contacts":
            resource = shaped_card(item)
        case "calendar":
            resource = shaped_object(item, "VEVENT")
        case "tasks":
            resource = shaped_object(item, "VTODO")
        case "notes":
            resource = shaped_journal(item, largest)
        case _:
            raise ItemRejected(Reason.UNSUPPORTED, "no category that such a server keeps")
    if len(resource) > largest:
        raise ItemRejected(Reason.TOO_LARGE, f"{len(resource)} bytes as one resource")
    return resource
