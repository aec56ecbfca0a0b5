"""Text that was read in the wrong charset once and written down so: found, and set right.

Only where nothing is guessed: the bytes under the wrong reading are valid UTF-8, and ftfy, which
judges whole texts, comes to the same result.
"""

import re
from typing import Final

# UTF-8 read as Windows-1252 or Latin-1: a lead byte seen as Â…ô, then what 0x80 to 0xBF look like.
_LOOKS_SO: Final = re.compile(
    rb"\xc3[\x82-\xb4](?:\xc2[\x80-\xbf]|\xe2(?:\x80[\x90-\xbf]|\x82\xac|\x84\xa2)"
    rb"|\xc5[\x92\x93\xa0\xa1\xb8\xbd\xbe]|\xc6\x92|\xcb[\x86\x9c])"
)
_FIRST_NOT_ASCII: Final = 0x80


def looks_like_mojibake(data: bytes) -> bool:
    """Whether a closer look is worth its time. Right about every text that `unmixed` changes."""
    return _LOOKS_SO.search(data) is not None


def unmixed(value: bytes) -> tuple[bytes, int]:
    """The text that was meant, and how many characters that sets right; the same and 0 if none."""
    if not looks_like_mojibake(value):
        return value, 0
    from ftfy import fix_encoding  # noqa: PLC0415 # takes 50 ms, and is hardly ever needed

    text = value.decode()
    for charset in ("sloppy-windows-1252", "latin-1"):
        try:
            meant = text.encode(charset).decode("utf-8")
        except UnicodeError:
            continue
        if fix_encoding(text) == meant:
            fixed = sum(ord(character) >= _FIRST_NOT_ASCII for character in meant)
            return meant.encode(), fixed
    return value, 0
