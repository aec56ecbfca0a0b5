"""Contacts: vCard of any version, jCard, CSV of Google and Outlook, rows of a database.

Written as vCard: 3.0 and 4.0 stay what they are, to the byte where nothing had to be repaired;
everything else becomes 3.0. Formats are told by content: names of files say nothing.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from msgspec import structs

from orchestrator.items import (
    Attachment,
    Copy,
    Damaged,
    File,
    Folder,
    Found,
    Framing,
    Ident,
    Item,
    Media,
    Side,
    Span,
    UserId,
)
from orchestrator.ports import Combined, Live, Recognised, Rules
from orchestrator.reasons import Reason
from workers.formats.contact_files import parts_of
from workers.formats.content_lines import Line, escape, lex, unescape, write_line
from workers.formats.idents import derived_ident, ident_beside
from workers.formats.likenesses import of_card
from workers.formats.merging import checked, latest
from workers.formats.merging_cards import card_of, merged_card
from workers.formats.tiling import blank, readable, whole_damaged
from workers.formats.vcard import Card, write
from workers.formats.vcard_files import BadCard, Part, Space, WholeCard, live
from workers.formats.vcard_meaning import digest_of
from workers.formats.vcard_properties import fact_of, fact_of_line
from workers.formats.vcard_repairs import DERIVE_UID, LOSSY, REPAIRS
from workers.formats.wide_text import is_wide, widened

VCARD: Final = Media("vcf", "text/vcard")
_CATEGORY: Final = "contacts"
_URN: Final = "urn:uuid:"
_STARRED: Final = re.compile(rb"^CATEGORIES\b.*[:,][* ]*starred\b", re.MULTILINE | re.IGNORECASE)
"""As Google exports say of a contact that its user marked it."""


@dataclass(frozen=True, kw_only=True)
class Contacts:
    """People and organisations of an address book, one card each."""

    repairs: ClassVar = REPAIRS
    lossy: ClassVar = LOSSY
    bulky: ClassVar = False

    def read(self, folder: Folder, rules: Rules) -> Iterator[Found]:
        """Every byte of every file as copy, damage or framing."""
        for file in folder.files:
            for each in (file, *file.beside):
                yield from self._file(each, folder.owner, rules)

    def recognise(
        self, owner: UserId, content: bytes, attachments: Sequence[Attachment] = ()
    ) -> Recognised | None:
        """What a live card is; None where it is not exactly one card."""
        del attachments  # a card has none
        seen = live(content)
        if seen is None:
            return None
        return Recognised(
            ident=_ident(seen.uid) if seen.uid else derived_ident(owner, _CATEGORY, seen.digest),
            digest=seen.digest,
            revised=seen.revised,
        )

    def beside(self, item: Item, mark: str) -> Item:
        """The same card under a UID made of its own, its name marked."""
        ident = ident_beside(item.ident)
        shown = escape(f" ({mark})".encode())
        lines = [each for each in lex(item.content) if isinstance(each, Line)]
        properties = [
            (fact_of_line(line), line.value + shown if line.name == "FN" else line.value)
            for line in lines
            if line.name not in {"BEGIN", "END", "UID"}
        ]
        properties.append((fact_of("UID"), ident.encode()))
        card = Card(version="3.0", properties=properties)
        return structs.replace(item, ident=ident, digest=digest_of(properties), content=write(card))

    def merge(
        self, owner: UserId, live: Live, item: Item, *, wins: Side, base: Item | None = None
    ) -> Combined | None:
        """One card of both; None where one of them cannot be read."""
        ours, theirs = card_of(live.content), card_of(item.content)
        seen = self.recognise(owner, live.content)
        if ours is None or theirs is None or seen is None:
            return None
        older = card_of(base.content) if base is not None else None
        card, origins = merged_card(ours, theirs, older, wins=wins)
        if not card.values("UID"):
            card.properties.append((fact_of("UID"), escape(seen.ident.encode())))
        return checked(
            self,
            owner,
            live,
            Item(
                ident=seen.ident,
                digest=digest_of(card.properties),
                media=VCARD,
                content=write(card),
                revised=latest(seen.revised, item.revised),
            ),
            origins,
        )

    def likenesses(self, content: bytes) -> frozenset[bytes]:
        """A name with a number, or with an address of mail."""
        card = card_of(content)
        return of_card(card) if card is not None else frozenset()

    def _file(self, file: File, owner: UserId, rules: Rules) -> Iterator[Found]:
        data = readable(file)
        if isinstance(data, Damaged):
            yield data
            return
        framing = blank(file.name, data)
        if framing is not None:
            yield framing
            return
        try:
            wide = widened(data) if is_wide(data) else None
        except UnicodeDecodeError:
            yield whole_damaged(file.name, data, Reason.ENCODING, "no UTF-16, as it says it is")
            return
        start = 0
        for part in parts_of(data if wide is None else wide.narrow, owner, rules):
            end = part.offset + part.length
            end = end if wide is None else wide.place(end)
            yield _found(part, Span(file.name, start, end - start), data[start:end], owner, rules)
            start = end


KIND = Contacts


def _found(part: Part, span: Span, data: bytes, owner: UserId, rules: Rules) -> Found:
    match part:
        case WholeCard():
            return _copy(part, span, owner, rules)
        case BadCard():
            return Damaged(
                reason=part.reason,
                spans=(span,),
                data=data,
                ident=_ident(part.uid) if part.uid else None,
                detail=part.detail,
                repairs=part.repairs,
            )
        case Space():
            return Framing(span)


def _copy(card: WholeCard, span: Span, owner: UserId, rules: Rules) -> Copy:
    content, repairs = card.content, card.repairs
    if card.uid:
        ident = _ident(card.uid)
    else:
        ident = derived_ident(owner, _CATEGORY, card.digest)
        if DERIVE_UID in rules.repairs:
            last = content.rindex(b"\r\n", 0, -2) + 2  # where the END line starts
            content = content[:last] + write_line("UID", ident.encode()) + content[last:]
            repairs = (*repairs, DERIVE_UID)
    item = Item(
        ident=ident,
        digest=card.digest,
        media=VCARD,
        content=content,
        revised=card.revised,
    )
    return Copy(
        item=item,
        spans=(span,),
        repairs=repairs,
        degraded=card.degraded,
        lossy=bool(repairs) and not LOSSY.isdisjoint(repairs),
        favourite=b"tarred" in content and _STARRED.search(content) is not None,
    )


def _ident(uid: bytes) -> Ident:
    """A UUID is the same item with and without `urn:uuid:` (4.0 asks for it, 3.0 does not)."""
    text = unescape(uid).decode("utf-8", "surrogateescape")
    return Ident(text[len(_URN) :] if text[: len(_URN)].lower() == _URN else text)
