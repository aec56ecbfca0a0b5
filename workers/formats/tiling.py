"""Turns the stretches of a file that were read into a stream that covers the file exactly."""

from collections.abc import Iterable, Iterator

from orchestrator.errors import ItemRejected
from orchestrator.items import Damaged, File, Found, Framing, Span
from orchestrator.reasons import Reason


def gaps(name: str, size: int, taken: Iterable[tuple[int, int]]) -> Iterator[Framing]:
    """Framing for whatever lies between the stretches `taken`, given as start and end."""
    offset = 0
    for start, end in sorted(taken):
        if start > offset:
            yield Framing(Span(name, offset, start - offset))
        offset = max(offset, end)
    if size > offset:
        yield Framing(Span(name, offset, size - offset))


def whole_damaged(name: str, data: bytes, reason: Reason, detail: str = "") -> Damaged:
    """A whole file as one damaged copy."""
    return Damaged(reason=reason, spans=(Span(name, 0, len(data)),), data=data, detail=detail)


def readable(file: File) -> bytes | Damaged:
    """The file's bytes; or what stands for a file that cannot be read, or that is empty."""
    try:
        data = file.read()
    except ItemRejected as rejected:
        return Damaged(
            reason=rejected.reason,
            spans=(Span(file.name, 0, file.size),),
            data=rejected.data,
            detail=rejected.detail,
        )
    return data or whole_damaged(file.name, data, Reason.EMPTY, "a file of no bytes")


def blank(name: str, data: bytes) -> Found | None:
    """Framing for a file of white space only, else None."""
    return None if data.strip(b" \t\r\n\xef\xbb\xbf") else Framing(Span(name, 0, len(data)))
