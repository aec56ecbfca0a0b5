"""Names of items and of what belongs to them, where an ident has no place but in a name."""

import re
from collections.abc import Sequence
from typing import Final

from orchestrator.items import Attachment, Ident
from orchestrator.ports import Fate, Written
from workers.formats.path_parts import unescape

_PART: Final = re.compile(r"[A-Za-z0-9_@%+-][A-Za-z0-9_@%+.-]{0,99}")


def ident_in(name: str) -> Ident | None:
    """The ident that a name spelled as ours stands for: `<escaped ident>.<suffix>`."""
    stem, _, suffix = name.partition(".")
    if "." in suffix:
        return None
    try:
        return Ident(unescape(stem))
    except ValueError:
        return None


def unfit(attachments: Sequence[Attachment]) -> Written | None:
    """Why an item can never be put with these, where one can tell without asking."""
    names = [part.name for part in attachments]
    if len(set(names)) < len(names) or not all(map(_PART.fullmatch, names)):
        return Written(fate=Fate.REFUSED, detail="the attachments' names are not file names")
    return None
