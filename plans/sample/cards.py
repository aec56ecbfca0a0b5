"""Contacts as vCard 2.1 and 3.0, sound or with the flaws that phones and services leave."""

import quopri
from typing import Final, Literal

from plans.sample.belongings import Contact

FLAWS: Final = ("unescaped-comma", "mojibake", "no-uid", "no-fn")
"""What may be wrong with a card that can still be understood."""

Version = Literal["2.1", "3.0"]


def card(contact: Contact, version: Version, flaw: str = "", *, uid: str | None = None) -> bytes:
    """One card; `uid`: another than the contact's own."""
    own = contact.uid if uid is None else uid
    lines = _old(contact, own) if version == "2.1" else _new(contact, own)
    lines = [line for line in lines if not _left_out(line, flaw)]
    text = "\r\n".join(("BEGIN:VCARD", f"VERSION:{version}", *lines, "END:VCARD", ""))
    if flaw == "unescaped-comma":
        text = text.replace("\\,", ",")
    if flaw == "mojibake":
        text = text.encode().decode("cp1252")
    return text.encode()


def _left_out(line: str, flaw: str) -> bool:
    gone = {"no-uid": "UID:", "no-fn": "FN"}.get(flaw)
    return gone is not None and line.startswith(gone)


def _new(contact: Contact, uid: str) -> list[str]:
    lines = [
        f"UID:{uid}",
        f"FN:{contact.name}",
        f"N:{contact.family};{contact.given};;;",
        f"TEL;TYPE=CELL:{contact.mobile}",
    ]
    if contact.home:
        lines.append(f"TEL;TYPE=HOME:{contact.home}")
    if contact.email:
        lines.append(f"EMAIL;TYPE=INTERNET:{contact.email}")
    if contact.company:
        lines.append(f"ORG:{contact.company}")
    note = contact.note.replace(",", "\\,")
    return [*lines, f"NOTE:{note}", f"REV:{contact.revised:%Y-%m-%dT%H:%M:%SZ}"]


def _old(contact: Contact, uid: str) -> list[str]:
    lines = [
        f"UID:{uid}",
        _printable("FN", contact.name),
        _printable("N", f"{contact.family};{contact.given};;;"),
        f"TEL;CELL:{contact.mobile}",
    ]
    if contact.home:
        lines.append(f"TEL;HOME:{contact.home}")
    if contact.email:
        lines.append(f"EMAIL;INTERNET:{contact.email}")
    if contact.company:
        lines.append(f"ORG:{contact.company}")
    return [*lines, f"NOTE:{contact.note}", f"REV:{contact.revised:%Y-%m-%dT%H:%M:%SZ}"]


def _printable(name: str, value: str) -> str:
    if value.isascii():
        return f"{name}:{value}"
    encoded = quopri.encodestring(value.encode()).decode()
    return f"{name};CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:{encoded}"
