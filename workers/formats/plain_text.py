"""What any text has to be before it is looked at: UTF-8, and free of control characters."""

import re
from typing import Final

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason

BOM: Final = b"\xef\xbb\xbf"

_ZEROS: Final = b"\0" * 16
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")


def checked_text(data: bytes) -> str:
    """The text of `data`, a byte order mark dropped, otherwise verbatim.

    Raises:
        ItemRejected: `ZEROED`, `CONTROL_CHARACTER` (any of C0 but TAB, LF, CR), `ENCODING`.
    """
    if _CONTROL.search(data) is not None:
        if _ZEROS in data:
            raise ItemRejected(Reason.ZEROED, "a run of zeros")
        raise ItemRejected(Reason.CONTROL_CHARACTER, "a control character")
    try:
        return data.removeprefix(BOM).decode("utf-8")
    except UnicodeDecodeError:
        raise ItemRejected(Reason.ENCODING, "not UTF-8") from None


def even_lines(text: str) -> str:
    """The text with every line break as LF: what systems change without changing the meaning."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
