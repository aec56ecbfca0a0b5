"""Server-sent events, read: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from collections.abc import Iterable, Iterator

from msgspec import Struct


class Event(Struct, frozen=True, kw_only=True):
    """One event. A comment, by which a server shows that it is there, has no name."""

    name: str
    number: str
    """Its id: where to go on after it."""
    data: bytes


def events_of(lines: Iterable[bytes]) -> Iterator[Event]:
    """Events as their lines come, and comments."""
    name, number, data = "", "", list[bytes]()
    for line in lines:
        field, _, value = line.rstrip(b"\r").partition(b":")
        value = value.removeprefix(b" ")
        if not line.rstrip(b"\r"):
            if data:
                yield Event(name=name or "message", number=number, data=b"\n".join(data))
            name, number, data = "", "", []
        elif not field:
            yield Event(name="", number="", data=b"")
        elif field == b"event":
            name = value.decode("utf-8", errors="replace")
        elif field == b"id":
            number = value.decode("utf-8", errors="replace")
        elif field == b"data":
            data.append(value)
