"""A contact that comes from rows and tables, property by property, on its way to a vCard 3.0."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from workers.formats.content_lines import Params, escape
from workers.formats.vcard import Property
from workers.formats.vcard_properties import fact_of

_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9]+")
_TYPE_WORDS: Final = {
    "mobile": "CELL",
    "mobil": "CELL",
    "main": "MAIN",
    "work fax": "WORK,FAX",
    "home fax": "HOME,FAX",
    "business": "WORK",
    "other": "",
}
"""What users call kinds of numbers and addresses, where vCard has another word for it."""

_VCARD_TYPES: Final = frozenset(
    {"HOME", "WORK", "CELL", "FAX", "PAGER", "VOICE", "MAIN", "PREF", "CAR", "ISDN", "VIDEO"}
)


class ContactDraft:
    """Properties in the order in which they are added. Empty values add nothing."""

    def __init__(self) -> None:
        self.properties: list[Property] = [(fact_of("VERSION"), b"3.0")]
        self._groups = 0

    def text(self, name: str, value: str, label: str = "") -> None:
        """One text, escaped; `label` is what the user calls it: home, work, or a word of theirs."""
        if value.strip():
            self._add(name, escape(value.strip().encode("utf-8", "surrogateescape")), label)

    def raw(self, name: str, value: str, label: str = "") -> None:
        """A value that is written as it is: a date, a URI."""
        if value.strip():
            flat = " ".join(value.split()).encode("utf-8", "surrogateescape")
            self._add(name, flat, label)

    def fields(self, name: str, parts: Sequence[str], label: str = "") -> None:
        """A structured value; empty fields at the end of ORG are left out, others stay."""
        if any(part.strip() for part in parts):
            written = [escape(part.strip().encode("utf-8", "surrogateescape")) for part in parts]
            while name == "ORG" and not written[-1]:
                written.pop()
            self._add(name, b";".join(written), label)

    def texts(self, name: str, values: Iterable[str]) -> None:
        """A list of texts in one value."""
        written = [
            escape(each.strip().encode("utf-8", "surrogateescape"))
            for each in values
            if each.strip()
        ]
        if written:
            self._add(name, b",".join(written), "")

    def unknown(self, name: str, value: str) -> None:
        """What vCard has no property for, under an X- name made of the field's."""
        self.text("X-" + (_NOT_IN_NAMES.sub("-", name).strip("-").upper() or "FIELD"), value)

    def _add(self, name: str, value: bytes, label: str) -> None:
        params, own = _types(label)
        group = ""
        if own:  # as phones and Google write labels that are none of vCard's types
            self._groups += 1
            group = f"item{self._groups}"
        self.properties.append((fact_of(name, params, group), value))
        if own:
            labelled = escape(own.encode("utf-8", "surrogateescape"))
            self.properties.append((fact_of("X-ABLABEL", (), group), labelled))


def _types(label: str) -> tuple[Params, str]:
    """The vCard types that a label means, and the label itself where they do not say it all."""
    preferred = label.strip().startswith("*")  # Google marks the preferred one with a star
    plain = label.strip().lstrip("* ")
    word = _TYPE_WORDS.get(plain.lower(), plain)
    words = [part for part in re.split(r"[,\s]+", word.upper()) if part]
    known = all(part in _VCARD_TYPES for part in words)
    types = (*(words if known else ()), *(("PREF",) if preferred else ()))
    return ((("TYPE", types),) if types else ()), "" if known else plain
