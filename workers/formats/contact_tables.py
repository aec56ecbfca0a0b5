"""Address books as CSV: Google's columns, old and new, and Outlook's.

Columns that vCard has no property for become X- properties, so nothing that was in a cell is lost.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from workers.formats.contact_drafts import ContactDraft
from workers.formats.vcard import Property

_SEVERAL: Final = " ::: "
"""How Google puts several values into one cell."""

_NUMBERED: Final = re.compile(r"([a-z][a-z -]*?) (\d+) - ([a-z ()]+)")
_FEWEST_KNOWN: Final = 2

_NAME: Final = (
    ("last name", "family name"),
    ("first name", "given name"),
    ("middle name", "additional name"),
    ("name prefix", "title"),
    ("name suffix", "suffix"),
)
_GOOGLE_TITLE: Final = ("organization title", "organization 1 - title", "job title")
_TEXTS: Final = {
    "nickname": "NICKNAME",
    "notes": "NOTE",
    "job title": "TITLE",
    "organization title": "TITLE",
    "profession": "ROLE",
    "phonetic first name": "X-PHONETIC-FIRST-NAME",
    "phonetic middle name": "X-PHONETIC-MIDDLE-NAME",
    "phonetic last name": "X-PHONETIC-LAST-NAME",
    "given name yomi": "X-PHONETIC-FIRST-NAME",
    "family name yomi": "X-PHONETIC-LAST-NAME",
    "manager's name": "X-MANAGER",
    "assistant's name": "X-ASSISTANT",
    "spouse": "X-SPOUSE",
}
_MAILS: Final = {
    "e-mail address": "",
    "e-mail 2 address": "",
    "e-mail 3 address": "",
    "email address": "",
}
_PHONES: Final = {
    "business phone": "work",
    "business phone 2": "work",
    "company main phone": "main",
    "home phone": "home",
    "home phone 2": "home",
    "mobile phone": "mobile",
    "other phone": "",
    "primary phone": "pref",
    "pager": "pager",
    "car phone": "car",
    "isdn": "isdn",
    "business fax": "work fax",
    "home fax": "home fax",
    "other fax": "fax",
    "assistant's phone": "Assistant",
    "callback": "Callback",
    "radio phone": "Radio",
    "telex": "Telex",
    "tty/tdd phone": "TTY/TDD",
}
_PAGES: Final = {"web page": "", "personal web page": "home"}
_PLACES: Final = ("business", "home", "other")
_PLACE_PARTS: Final = (
    ("po box",),
    ("extended address",),
    ("street", "street 2", "street 3"),
    ("city",),
    ("state", "region"),
    ("postal code",),
    ("country/region", "country"),
)
_KNOWN: Final = frozenset(
    {
        *(name for names in _NAME for name in names),
        *_TEXTS,
        *_MAILS,
        *_PHONES,
        *_PAGES,
        "name",
        "company",
        "organization name",
        "birthday",
        "home street",
        "business street",
    }
)


class Columns:
    """What a header means; made once a file."""

    def __init__(self, header: Sequence[str]) -> None:
        self.names = tuple(each.strip() for each in header)
        self.keys = tuple(each.lower() for each in self.names)

    @property
    def of_contacts(self) -> bool:
        """Whether this is the header of an address book."""
        known = sum(key in _KNOWN or _NUMBERED.fullmatch(key) is not None for key in self.keys)
        return known >= _FEWEST_KNOWN

    def contact(self, cells: Sequence[str]) -> list[Property]:
        """A row as properties of a vCard 3.0."""
        return _Reading(self, cells).properties()


class _Reading:
    """One row; every cell is taken once, what is left at the end is kept under an X- name."""

    def __init__(self, columns: Columns, cells: Sequence[str]) -> None:
        self.draft = ContactDraft()
        self.names = dict(zip(columns.keys, columns.names, strict=True))
        self.left: dict[str, str] = {}
        self.doubled: list[tuple[str, str]] = []
        for key, name, cell in zip(columns.keys, columns.names, cells, strict=True):
            if not cell.strip():
                continue
            if key in self.left:
                self.doubled.append((name, cell))
            else:
                self.left[key] = cell

    def take(self, *keys: str) -> str:
        """The first of these cells that holds something."""
        for key in keys:
            if key in self.left:
                return self.left.pop(key)
        return ""

    def properties(self) -> list[Property]:
        """The row's properties, in the order in which cards have them."""
        draft = self.draft
        draft.text("FN", self.take("name", "display name"))
        draft.fields("N", [self.take(*keys) for keys in _NAME])
        draft.fields(
            "ORG",
            [
                self.take("organization name", "company", "organization 1 - name"),
                self.take("organization department", "department", "organization 1 - department"),
            ],
        )
        draft.text("TITLE", self.take("organization 1 - title"))
        for key, name in _TEXTS.items():
            draft.text(name, self.take(key))
        for table, name, write in (
            (_MAILS, "EMAIL", draft.text),
            (_PHONES, "TEL", draft.text),
            (_PAGES, "URL", draft.raw),
        ):
            for key, label in table.items():
                write(name, self.take(key), label)
        self.places()
        self.numbered()
        draft.raw("BDAY", _date(self.take("birthday")))
        draft.raw("X-ANNIVERSARY", _date(self.take("anniversary")))
        groups = re.split(r" ::: |;", self.take("labels", "group membership", "categories"))
        draft.texts("CATEGORIES", groups)
        photo = self.take("photo")
        if photo.startswith(("http://", "https://")):
            draft.raw("PHOTO", photo)
        else:
            draft.unknown("photo", photo)
        for key, cell in self.left.items():
            draft.unknown(self.names[key], cell)
        for name, cell in self.doubled:
            draft.unknown(name, cell)
        return draft.properties

    def places(self) -> None:
        """Outlook's addresses: a column for each part."""
        for place in _PLACES:
            parts = [
                "\n".join(filter(None, (self.take(f"{place} {name}") for name in names)))
                if names[0] == "street"
                else self.take(*(f"{place} {name}" for name in names))
                for names in _PLACE_PARTS
            ]
            self.draft.fields("ADR", parts, place)

    def numbered(self) -> None:
        """Google's lists: `Phone 2 - Type`, `Phone 2 - Value`."""
        lists: dict[tuple[str, int], dict[str, str]] = {}
        for key in list(self.left):
            match = _NUMBERED.fullmatch(key)
            if match is not None and match[1] in _WRITERS:
                lists.setdefault((match[1], int(match[2])), {})[match[3]] = self.left.pop(key)
        for (what, number), parts in lists.items():
            label = parts.pop("type", parts.pop("label", parts.pop("service", "")))
            _WRITERS[what](self.draft, parts, label)
            for name, cell in parts.items():
                self.draft.unknown(f"{what} {number} {name}", cell)


def _write_values(name: str) -> Callable[[ContactDraft, dict[str, str], str], None]:
    def write(draft: ContactDraft, parts: dict[str, str], label: str) -> None:
        values = parts.pop("value", "").split(_SEVERAL)
        for value in values:
            (draft.raw if name == "URL" else draft.text)(name, value, label)
        if label and not any(values):
            draft.unknown(f"{name} label", label)

    return write


def _write_address(draft: ContactDraft, parts: dict[str, str], label: str) -> None:
    formatted = parts.pop("formatted", "")
    names = ("po box", "extended address", "street", "city", "region", "postal code", "country")
    fields = [parts.pop(name, "") for name in names]
    if any(fields):
        draft.fields("ADR", fields, label)
        draft.text("LABEL", formatted, label)
    else:
        draft.fields("ADR", ["", "", formatted], label)


def _write_event(draft: ContactDraft, parts: dict[str, str], label: str) -> None:
    value = parts.pop("value", "")
    if label.strip("* ").lower() == "anniversary":
        draft.raw("X-ANNIVERSARY", _date(value))
    else:
        draft.raw("X-ABDATE", _date(value), label)


_WRITERS: Final[Mapping[str, Callable[[ContactDraft, dict[str, str], str], None]]] = {
    "e-mail": _write_values("EMAIL"),
    "phone": _write_values("TEL"),
    "website": _write_values("URL"),
    "im": _write_values("X-IM"),
    "relation": _write_values("X-ABRELATEDNAMES"),
    "custom field": _write_values("X-CUSTOM"),
    "address": _write_address,
    "event": _write_event,
}

_US_DATE: Final = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})")
_NO_YEAR: Final = re.compile(r"(?:--| *-)(\d{2})-(\d{2})")


def _date(text: str) -> str:
    """Outlook's empty date is no date; day and month are never guessed apart."""
    text = text.strip()
    if text in {"0/0/00", "0/0/0000"}:
        return ""
    match = _US_DATE.fullmatch(text)
    if match is not None and (int(match[2]) > 12 or match[1] == match[2]):  # noqa: PLR2004 # months
        return f"{match[3]}-{int(match[1]):02}-{int(match[2]):02}"
    return text
