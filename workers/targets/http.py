"""Any service that takes items over HTTP, one at a time: the importer protocol.

What holds, where the service keeps to the protocol (docs/http-target.md); inspection proves the
first two by trying:
- An item is created only under `If-None-Match: *` and replaced or removed only under `If-Match`.
- Each change has a key of its own, so that one whose answer was lost is asked for again safely.
- Item and attachments change in one step: attachments go first, under their hashes, and are the
  item's once it names them.
"""

import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from orchestrator.errors import Unavailable
from orchestrator.items import Digest, Ident, Item, Media, UserId
from orchestrator.options.quantities import Duration, Size
from orchestrator.options.references import Location, Secret
from orchestrator.ports import (
    Capabilities,
    Entry,
    Fate,
    Live,
    Place,
    Removal,
    Surroundings,
    Write,
    Written,
)
from workers.formats.path_parts import escape
from workers.storage.server_options import Changed, address, by_place, check_calls, server

if TYPE_CHECKING:
    from workers.storage.importer import Importer

NAME: Final = "http target"
_PROBE: Final = Media("probe", "application/octet-stream")
_STALE: Final = '"reinstate-stale"'

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Http:
    """A service of your own that speaks the importer protocol."""

    url: Location
    """Where the service takes items: `<url>/<category>/<user>/<item>`."""
    token: Secret | None = None
    """A bearer token that goes with every call."""
    probe_user: str = "reinstate-probe"
    """The user whose place inspection writes into and cleans up again; nobody's real one."""
    at_once: int = 16
    """Calls under way at the same time, from one worker."""
    timeout: Duration = timedelta(seconds=30)
    """How long one call may take, from connecting to the last byte."""
    answer_bytes: Size = 256 * 1024 * 1024
    """How long one answer may be."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        check_calls(self)

    def open(self, surroundings: Surroundings) -> "HttpTarget":
        """Ready to write; connects on first use."""
        return HttpTarget(options=self, surroundings=surroundings)


class HttpTarget:
    """A service, opened."""

    def __init__(self, *, options: Http, surroundings: Surroundings) -> None:
        self._options = options
        self._surroundings = surroundings
        self._lock = threading.Lock()
        self._importer: Importer | None = None
        self._identity: str | None = None

    def identity(self, category: str) -> str:
        """What the service calls its store, or its address where it does not say."""
        if self._identity is None:
            importer = self._opened()
            self._identity = importer.server.run(importer.identity)
        origin, path = self._address()
        return f"http:{self._identity or origin + path} {category}"

    def ref(self, category: str, ident: Ident, media: Media) -> str:
        """The ident, percent-escaped where it has more than letters, digits and `_@+-`."""
        del category, media
        return escape(ident)

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            importer, self._importer = self._importer, None
        if importer is not None:
            importer.server.close()

    def _opened(self) -> "Importer":
        from workers.storage.importer import Importer  # noqa: PLC0415 - heavy imports, if used

        options, secret = self._options, self._surroundings.secret
        with self._lock:
            if self._importer is None:
                origin, path = self._address()
                headers = (
                    {"Authorization": f"Bearer {secret(options.token)}"} if options.token else {}
                )
                self._importer = Importer(server(options, origin, name=NAME), path, headers)
            return self._importer

    def _address(self) -> tuple[str, str]:
        url = self._surroundings.secret(self._options.url)
        origin, path = address(url, name=NAME, secrets="a token has an option")
        return origin, path.rstrip("/")

    # Inspection --------------------------------------------------------------------------------

    def inspect(self, categories: Sequence[str]) -> Capabilities:
        """Write, replace and remove an item of the probe user, in each category."""
        importer = self._opened()
        self._identity = importer.server.run(importer.identity)
        found = [importer.server.run(lambda c=c: self._probed(importer, c)) for c in categories]
        notes = [] if self._identity else ["the service does not tell when it was made anew"]
        if importer.server.origin.startswith("http:") and self._options.token:
            notes.append("the token goes over the wire in the clear; use https")
        return Capabilities(
            create_only=all(each.create_only for each in found),
            compare_and_set=all(each.compare_and_set for each in found),
            tombstones=all(each.tombstones for each in found),
            notes=tuple(notes),
        )

    async def _probed(self, importer: "Importer", category: str) -> Capabilities:
        """What the service does with preconditions and deletions; leaves nothing behind."""
        from workers.storage.probe_names import is_abandoned, probe_name  # noqa: PLC0415

        owner, mine = UserId(self._options.probe_user), probe_name()
        try:
            return await _proven(importer, category, owner, mine)
        finally:
            async for entry in importer.entries(category, owner):
                if entry.ref == mine or is_abandoned(entry.ref):
                    left = Removal(owner=owner, ref=entry.ref, expected=entry.version)
                    await importer.delete(category, left, forget=True)

    # Looking -----------------------------------------------------------------------------------

    def survey(self, category: str, owners: Sequence[UserId]) -> Iterator[Entry]:
        """What the service lists of each of these users, read at the call."""
        importer = self._opened()

        async def listed(owner: UserId) -> list[Entry]:
            return [entry async for entry in importer.entries(category, owner)]

        found = self._each(list(dict.fromkeys(owners)), listed)
        return (entry for entries in found for entry in entries)

    def fetch(self, category: str, places: Sequence[Place]) -> list[Live | None]:
        """The contents at these places, several at once."""
        importer = self._opened()
        return self._each(places, lambda place: importer.read(category, place))

    # Changing ----------------------------------------------------------------------------------

    def write(self, category: str, writes: Sequence[Write]) -> list[Written]:
        """Each by itself; those of one place in their order."""
        importer = self._opened()
        return self._changed(writes, lambda write: importer.put(category, write))

    def remove(self, category: str, removals: Sequence[Removal]) -> list[Written]:
        """Each by itself; a tombstone stays where the service keeps them."""
        importer = self._opened()
        return self._changed(removals, lambda removal: importer.delete(category, removal))

    def _changed(
        self, changes: Sequence[Changed], change: Callable[[Changed], Awaitable[Written]]
    ) -> list[Written]:
        answers: dict[int, Written] = {}

        async def in_order(numbers: list[int]) -> None:
            for number in numbers:
                answers[number] = await change(changes[number])

        self._each(list(by_place(changes).values()), in_order)
        return [answers[number] for number in range(len(changes))]

    def _each(self, all_of: Sequence[T], work: "Callable[[T], Awaitable[R]]") -> "list[R]":
        from workers.storage.dav_requests import together  # noqa: PLC0415 - heavy, if used

        return self._opened().server.run(lambda: together(map(work, all_of)))


R = TypeVar("R")


async def _proven(importer: "Importer", category: str, owner: UserId, name: str) -> Capabilities:
    def written(text: bytes, expected: str | None = None) -> Write:
        item = Item(ident=Ident(name), digest=Digest(bytes(32)), media=_PROBE, content=text)
        return Write(owner=owner, item=item, ref=name, expected=expected)

    first = await importer.put(category, written(b"first"))
    if first.fate is not Fate.DONE:
        raise _unkept(f"a probe was not taken ({first.fate}; {first.detail})")
    second = await importer.put(category, written(b"second"))
    stale = await importer.put(category, written(b"stale", _STALE))
    live = await importer.read(category, Place(owner=owner, ref=name))
    if live is None or live.content not in (b"first", b"second", b"stale"):
        raise _unkept("a probe was taken and is not there")
    right = await importer.put(category, written(b"right", live.entry.version))
    listed = {entry.ref: entry async for entry in importer.entries(category, owner)}
    if name not in listed or (right.fate is Fate.DONE and listed[name].version != right.version):
        raise _unkept("a probe is not in the list of its user's items, or in another version")
    late = await importer.delete(
        category, Removal(owner=owner, ref=name, expected=live.entry.version)
    )
    gone = await importer.delete(
        category, Removal(owner=owner, ref=name, expected=listed[name].version)
    )
    after = {entry.ref: entry async for entry in importer.entries(category, owner)}
    return Capabilities(
        create_only=second.fate is Fate.CONFLICT,
        compare_and_set=(
            stale.fate is late.fate is Fate.CONFLICT and right.fate is gone.fate is Fate.DONE
        ),
        tombstones=name in after and after[name].deleted,
    )


def _unkept(message: str) -> Unavailable:
    return Unavailable(f"{NAME}: {message}", hint="look at the service's log")


KIND = Http
