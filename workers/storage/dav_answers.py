"""What DAV servers are asked in XML, and what they answer: multistatus (RFC 4918, 13) and errors.

Answers are hostile input: no entities, no document types, no network. What is not the XML that was
asked for is a `BadAnswer`, never a guess; the first 200 with a login page in it would otherwise
look like an empty address book.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from xml.sax.saxutils import escape

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - has no types
from msgspec import Struct

DAV: Final = "DAV:"
CALDAV: Final = "urn:ietf:params:xml:ns:caldav"
CARDDAV: Final = "urn:ietf:params:xml:ns:carddav"
_SPACES: Final = f'xmlns:D="{DAV}" xmlns:C="{CALDAV}" xmlns:A="{CARDDAV}"'
_NONE: Final[frozenset[str]] = frozenset()

WHO: Final = (
    "<D:current-user-principal/><D:resourcetype/><A:addressbook-home-set/><C:calendar-home-set/>"
)
"""Properties that tell whose place it is and where theirs are."""

LISTING: Final = (
    "<D:resourcetype/><D:getetag/><D:getlastmodified/><D:getcontentlength/>"
    "<C:supported-calendar-component-set/><C:max-resource-size/><A:max-resource-size/>"
)
"""Properties of a collection and of what it holds."""

FILES: Final = "<D:resourcetype/><D:getetag/><D:getlastmodified/><D:getcontentlength/>"
"""Properties of files and folders that mean nothing to the server."""


_RESPONSE: Final = f"{{{DAV}}}response"
_PIECE: Final = 64 * 1024
_CAREFUL: Final[dict[str, bool]] = {
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "huge_tree": True,
}

_Element = Any
"""Of lxml, which has no types."""


class BadAnswer(Exception):
    """Not the XML that was asked for."""


class Member(Struct, frozen=True, kw_only=True, gc=False):
    """What a multistatus says of one resource."""

    path: str
    """As it came, without scheme and host."""
    name: str
    """The last part of the path, decoded."""
    status: int = 200
    """Of the whole resource, where the answer has one."""
    kinds: frozenset[str] = _NONE
    """Local names in its resource type."""
    etag: str = ""
    modified: datetime | None = None
    size: int = 0
    content: bytes | None = None
    components: frozenset[str] = _NONE
    """Calendar components that it takes; empty where it does not say."""
    largest: int | None = None
    """Bytes that it takes of one item."""
    principal: str | None = None
    address_books: str | None = None
    calendars: str | None = None
    hosts: frozenset[str] = _NONE
    """Hosts that its addresses name, where they name any."""


def propfind(properties: str) -> bytes:
    """The question for these properties."""
    return _document(f"<D:propfind {_SPACES}><D:prop>{properties}</D:prop></D:propfind>")


def multiget(*, cards: bool, paths: Sequence[str]) -> bytes:
    """The question for the contents at these paths (RFC 6352, 8.7; RFC 4791, 7.9)."""
    space, kind = ("A", "addressbook-multiget") if cards else ("C", "calendar-multiget")
    data = "<A:address-data/>" if cards else "<C:calendar-data/>"
    hrefs = "".join(f"<D:href>{escape(path)}</D:href>" for path in paths)
    asked = f"<D:prop><D:getetag/><D:getlastmodified/>{data}</D:prop>"
    return _document(f"<{space}:{kind} {_SPACES}>{asked}{hrefs}</{space}:{kind}>")


def make_address_book(title: str) -> bytes:
    """Extended MKCOL (RFC 5689) of an address book."""
    kinds = "<D:resourcetype><D:collection/><A:addressbook/></D:resourcetype>"
    return _making("D:mkcol", f"{kinds}<D:displayname>{escape(title)}</D:displayname>")


def make_calendar(title: str, components: Iterable[str]) -> bytes:
    """MKCALENDAR (RFC 4791, 5.3.1) of a calendar for these components."""
    taken = "".join(f'<C:comp name="{component}"/>' for component in components)
    return _making(
        "C:mkcalendar",
        f"<D:displayname>{escape(title)}</D:displayname>"
        f"<C:supported-calendar-component-set>{taken}</C:supported-calendar-component-set>",
    )


def called(title: str) -> bytes:
    """PROPPATCH (RFC 4918, 9.2) of a collection's displayed name."""
    prop = f"<D:prop><D:displayname>{escape(title)}</D:displayname></D:prop>"
    return _document(f"<D:propertyupdate {_SPACES}><D:set>{prop}</D:set></D:propertyupdate>")


def _making(name: str, properties: str) -> bytes:
    return _document(f"<{name} {_SPACES}><D:set><D:prop>{properties}</D:prop></D:set></{name}>")


def _document(element: str) -> bytes:
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + element.encode()


# Reading ---------------------------------------------------------------------------------------


def multistatus(body: bytes) -> list[Member]:
    """Every resource that an answer tells of, in its order. Raises `BadAnswer`.

    Read piece by piece, each resource let go of once it is known: the elements of a listing take
    ten times the memory of its text.
    """
    parser = etree.XMLPullParser(events=("end",), tag=_RESPONSE, **_CAREFUL)
    members: list[Member] = []
    try:
        for start in range(0, len(body), _PIECE):
            parser.feed(body[start : start + _PIECE])
            members.extend(_told(parser))
        root = parser.close()
        members.extend(_told(parser))
    except (etree.XMLSyntaxError, ValueError):
        raise BadAnswer("not XML") from None
    _check(root)
    if root.tag != f"{{{DAV}}}multistatus":
        raise BadAnswer("not a multistatus")
    return members


def _told(parser: _Element) -> Iterator[Member]:
    """What whole responses say; they are taken out of the tree."""
    for _, response in parser.read_events():
        above = response.getparent()
        if above is None or above.getparent() is not None:
            continue  # not directly in the answer
        href = response.findtext(f"{{{DAV}}}href")
        if href is not None:
            yield _member(response, href.strip())
        response.clear()
        while response.getprevious() is not None:
            del above[0]


def preconditions(body: bytes) -> frozenset[str]:
    """Local names of what an error names as not fulfilled (RFC 4918, 16); none where it is none."""
    try:
        root = _parsed(body)
    except BadAnswer:
        return _NONE
    if root.tag != f"{{{DAV}}}error":
        return _NONE
    return frozenset(_local(child) for child in root if isinstance(child.tag, str))


def _parsed(body: bytes) -> _Element:
    try:
        root = etree.fromstring(body, etree.XMLParser(**_CAREFUL))
    except (etree.XMLSyntaxError, ValueError):
        raise BadAnswer("not XML") from None
    _check(root)
    return root


def _check(root: _Element) -> None:
    if root.getroottree().docinfo.doctype:
        raise BadAnswer("XML with a document type")


def _member(response: _Element, href: str) -> Member:
    path, host = _split(href)
    found: dict[str, _Element] = {}
    for propstat in response.iterchildren(f"{{{DAV}}}propstat"):
        if _status(propstat.findtext(f"{{{DAV}}}status")) in range(200, 300):
            prop = propstat.find(f"{{{DAV}}}prop")
            if prop is not None:
                found.update({_local(child): child for child in prop if _is_element(child)})
    hosts = {host} if host else set[str]()
    addresses: dict[str, str | None] = {}
    for name in ("current-user-principal", "addressbook-home-set", "calendar-home-set"):
        element = found.get(name)
        told = None if element is None else element.findtext(f"{{{DAV}}}href")
        addresses[name], host = _split(told.strip()) if told else (None, "")
        if host:
            hosts.add(host)
    data = found.get("address-data", found.get("calendar-data"))
    return Member(
        path=path or "/",
        name=_name(path or "/"),
        status=_status(response.findtext(f"{{{DAV}}}status")),
        kinds=_locals(found.get("resourcetype")),
        etag=_text(found, "getetag") or "",
        modified=http_date(_text(found, "getlastmodified")),
        size=_number(_text(found, "getcontentlength")) or 0,
        content=None if data is None else _content(data.text or ""),
        components=_names(found.get("supported-calendar-component-set")),
        largest=_number(_text(found, "max-resource-size")),
        principal=addresses["current-user-principal"],
        address_books=addresses["addressbook-home-set"],
        calendars=addresses["calendar-home-set"],
        hosts=frozenset(hosts),
    )


def _content(text: str) -> bytes:
    """Lines end as RFC 5545 and 6350 say: XML carries no CR LF (its 2.11)."""
    return text.replace("\r\n", "\n").replace("\n", "\r\n").encode()


def _split(href: str) -> tuple[str | None, str]:
    """Path and host of an address; no path where it is no address."""
    try:
        parts = urlsplit(href)
    except ValueError:
        return None, ""
    return parts.path or None, (parts.hostname or "")


def _name(path: str) -> str:
    return unquote(path.rstrip("/").rpartition("/")[2])


def _status(line: str | None) -> int:
    """`HTTP/1.1 404 Not Found` → 404; 200 where there is no such line."""
    if line is None:
        return 200
    words = line.split()
    return int(words[1]) if len(words) > 1 and words[1].isascii() and words[1].isdigit() else 500


def _text(found: dict[str, _Element], name: str) -> str | None:
    element = found.get(name)
    return None if element is None else (element.text or "").strip("\r\n\t ") or None


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None  # noqa: PLR2004 - fits 64 bits


def http_date(text: str | None) -> datetime | None:
    """An HTTP date, aware; None where it is none."""
    if text is None:
        return None
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _is_element(child: _Element) -> bool:
    return isinstance(child.tag, str)


def _local(element: _Element) -> str:
    return str(etree.QName(element).localname)


def _locals(element: _Element | None) -> frozenset[str]:
    if element is None:
        return _NONE
    return frozenset(_local(child) for child in element if _is_element(child))


def _names(element: _Element | None) -> frozenset[str]:
    if element is None:
        return _NONE
    return frozenset(child.get("name", "").upper() for child in element if _is_element(child))
