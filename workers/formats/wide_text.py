"""Files in UTF-16, as Windows and old Macs export them: read as UTF-8, each place found again."""

from typing import Final

_MARKS: Final = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


class WideText:
    """A file that says by its byte order mark that it is UTF-16."""

    def __init__(self, narrow: bytes) -> None:
        self.narrow = narrow
        """The same text in UTF-8."""
        self._at = self._wide_at = 0

    def place(self, offset: int) -> int:
        """Where in the file the character stands that begins at this offset of the UTF-8 text.

        Ask in ascending order: each answer starts from the one before. The byte order mark
        belongs to the first character.
        """
        passed = self.narrow[self._at : offset].decode()
        self._wide_at += len(passed.encode("utf-16-le"))
        self._at = offset
        return self._wide_at + len("\ufeff".encode("utf-16-le")) if offset else 0


def is_wide(data: bytes) -> bool:
    """Whether the file begins with a mark of UTF-16."""
    return data[:2] in _MARKS


def widened(data: bytes) -> WideText:
    """The text of such a file.

    Raises:
        UnicodeDecodeError: it is cut inside of a character, or no UTF-16.
    """
    return WideText(data[2:].decode(_MARKS[data[:2]]).encode())
