"""WebDAV servers: photos and their descriptions as files, which every program shows.

`<url>/<user>/<category>/<ident>.<suffix>`, user and ident percent-escaped; what belongs to an item
lies in `<item>.parts/`. With `{user}` in `url` that is the user's own place.

What holds:
- A file appears whole or not at all, and only where nothing was: it is sent aside and then moved
  with `Overwrite: F`. Where a probe finds that a server overwrites all the same, a file is looked
  for first; photos are named after their content, so what could meet there is the same picture.
- It is replaced and removed only in the version that was looked at, where a probe proves that the
  server compares versions; elsewhere neither is ever done.
- Everything is read back whole before it counts, attachments too.

What does not: there are no tombstones; a deleted file is just gone.
"""

import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar
from uuid import uuid4

from orchestrator.items import Ident, Media, UserId
from orchestrator.options.paths import PlanPath
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
from workers.storage.item_names import ident_in
from workers.storage.server_options import (
    Changed,
    accounts,
    address,
    by_place,
    check_logins,
    in_the_clear,
    server,
)

if TYPE_CHECKING:
    from workers.storage.dav_answers import Member
    from workers.storage.dav_files import Conduct, Folder
    from workers.storage.dav_folders import Folders

NAME: Final = "webdav target"
MARK: Final = ".reinstate"
"""The file that tells this place from one that was made anew under its address."""

Given = TypeVar("Given")
Got = TypeVar("Got")


@dataclass(frozen=True, kw_only=True)
class Webdav:
    """Files on a WebDAV server: one for each item, and its attachments beside it."""

    url: Location
    """The folder that holds one folder per user; with `{user}` in it, each user's own folder:
    `https://cloud.example.com/remote.php/dav/files/{user}/Photos`."""
    username: str = ""
    """Who logs in (Basic); `{user}` stands for the user's id."""
    password: Secret | None = None
    """The password that goes with `username`."""
    token: Secret | None = None
    """A bearer token, in place of name and password."""
    accounts: PlanPath | None = None
    """A file with every user's own password: lines of id, tab, password."""
    folders: dict[str, str] = field(default_factory=dict[str, str])
    """The name of the folder that a category goes into, where it is not the category's name:
    `{photos: Restored}`."""
    probe_user: str = "reinstate-probe"
    """The user whose place inspection writes into and cleans up again; nobody's real one."""
    at_once: int = 16
    """Calls under way at the same time, from one worker."""
    timeout: Duration = timedelta(minutes=2)
    """How long one call may take, from connecting to the last byte."""
    answer_bytes: Size = 256 * 1024 * 1024
    """How long one answer may be."""
    era: str = ""
    """Write another word here when the server was emptied and made anew: what earlier runs put
    there says nothing then of what users deleted. Not needed where all share one folder."""

    def __post_init__(self) -> None:
        """Refuse what leads everybody to one place, or contradicts itself."""
        check_logins(self, names=self.folders.values(), places="folder")
        if len(set(self.folders.values())) < len(self.folders):
            raise ValueError("two categories never share a folder")

    def open(self, surroundings: Surroundings) -> "WebdavTarget":
        """Ready to write; connects on first use."""
        return WebdavTarget(options=self, surroundings=surroundings)


class WebdavTarget:
    """A server, opened."""

    def __init__(self, *, options: Webdav, surroundings: Surroundings) -> None:
        self._options = options
        self._surroundings = surroundings
        self._lock = threading.Lock()
        self._folders: Folders | None = None
        self._conduct: Conduct | None = None

    def identity(self, category: str) -> str:
        """The address, the folder's name there, and the mark that inspection put there."""
        folders = self._opened()
        return "webdav:" + " ".join(
            (folders.address, folders.name(category), self._options.era, self._mark(folders))
        )

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            folders, self._folders = self._folders, None
        if folders is not None:
            folders.server.close()

    def ref(self, category: str, ident: Ident, media: Media) -> str:
        """The file's name in its user's folder of the category."""
        del category
        return f"{escape(ident)}.{escape(media.suffix)}"

    def _opened(self) -> "Folders":
        from workers.storage.dav_folders import Folders  # noqa: PLC0415 - heavy imports, if used

        options, surroundings = self._options, self._surroundings
        with self._lock:
            if self._folders is None:
                origin, path = address(
                    surroundings.secret(options.url),
                    name=NAME,
                    secrets="name and password have options",
                )
                self._folders = Folders(
                    server(options, origin, name=NAME),
                    accounts(options, surroundings, name=NAME),
                    path,
                    options.folders,
                )
            return self._folders

    # Inspection --------------------------------------------------------------------------------

    def inspect(self, categories: Sequence[str]) -> Capabilities:
        """Mark the place, and find out with a probe which conditions the server keeps."""
        del categories
        folders = self._opened()
        if folders.shared and not self._mark(folders):
            root = folders.root(folders.visit(self._prober()))
            folders.server.run(lambda: root.send(MARK, uuid4().hex.encode(), "text/plain"))
        conduct = self._probed(folders)
        with self._lock:
            self._conduct = conduct
        notes = [*_notes(conduct), *in_the_clear(folders.server.origin, self._options)]
        return Capabilities(
            create_only=conduct.create_only,
            compare_and_set=conduct.replaces,
            tombstones=False,
            notes=tuple(notes),
            removes=conduct.removes,
        )

    def _prober(self) -> UserId:
        return UserId(self._options.probe_user)

    def _probed(self, folders: "Folders") -> "Conduct":
        from workers.storage.dav_files_probe import probe  # noqa: PLC0415 - heavy imports, if used

        now = self._surroundings.clock()
        visit = folders.visit(self._prober())
        return folders.server.run(lambda: probe(visit, folders.place(self._prober()), now))

    def _conducts(self) -> "Conduct":
        """What a probe found, in this process: never taken on trust from an earlier one."""
        if self._conduct is None:
            conduct = self._probed(self._opened())
            with self._lock:
                self._conduct = conduct
        assert self._conduct is not None  # noqa: S101 - set above
        return self._conduct

    def _mark(self, folders: "Folders") -> str:
        if not folders.shared:
            return ""
        root = folders.root(folders.visit(self._prober()))
        told = folders.server.run(lambda: root.get(root.path + MARK))
        return "" if told is None else (told.content or b"").decode("ascii", "replace")

    # Looking -----------------------------------------------------------------------------------

    def survey(self, category: str, owners: Sequence[UserId]) -> Iterator[Entry]:
        """Every file in these users' folders of the category, whoever put it."""
        from workers.storage.dav_writing import each  # noqa: PLC0415 - heavy, if used

        folders = self._opened()
        now = self._surroundings.clock()
        wanted = [owner for owner in dict.fromkeys(owners) if folders.leads_to(owner)]

        async def listed(owner: UserId) -> "list[Member] | None":
            return await folders.of(owner, category).listing(now)

        found = folders.server.run(lambda: each(wanted, listed))
        if None in found.values():
            folders.check_root(self._prober())
        return (_entry(owner, each) for owner in wanted for each in found[owner] or ())

    def fetch(self, category: str, places: Sequence[Place]) -> list[Live | None]:
        """The contents of these files, with what belongs to them."""
        from workers.storage.dav_files import is_item_name  # noqa: PLC0415 - heavy, if used

        folders = self._opened()

        async def read(place: Place) -> Live | None:
            if not folders.leads_to(place.owner) or not is_item_name(place.ref):
                return None
            found = await folders.of(place.owner, category).read(place.ref)
            if found is None:
                return None
            member, attachments = found
            entry = _entry(place.owner, member, name=place.ref)
            return Live(entry=entry, content=member.content or b"", attachments=attachments)

        lives = self._together(places, read)
        if None in lives:
            folders.check_root(self._prober())
        return lives

    # Changing ----------------------------------------------------------------------------------

    def write(self, category: str, writes: Sequence[Write]) -> list[Written]:
        """Each by itself, many at a time; those of one place in their order."""
        from workers.storage.dav_files import refusal  # noqa: PLC0415 - heavy, if used

        if not writes:
            return []
        conduct = self._conducts()

        async def put(folder: "Folder", write: Write) -> Written:
            refused = refusal(write.ref, write.item)
            if refused is not None:
                return refused
            return await folder.put(write.ref, write.item, write.expected, conduct)

        return self._change(category, writes, put, nowhere=_NOWHERE)

    def remove(self, category: str, removals: Sequence[Removal]) -> list[Written]:
        """Each by `If-Match`, with its attachments; no tombstone stays."""
        from workers.storage.dav_files import is_item_name  # noqa: PLC0415 - heavy, if used

        if not removals:
            return []
        conduct = self._conducts()

        async def take(folder: "Folder", removal: Removal) -> Written:
            if not conduct.removes:
                return Written(fate=Fate.REFUSED, detail="this server does not remove by version")
            if not is_item_name(removal.ref):
                return Written(fate=Fate.CONFLICT)
            return await folder.delete(removal.ref, removal.expected)

        return self._change(category, removals, take, nowhere=Written(fate=Fate.CONFLICT))

    def _change(
        self,
        category: str,
        changes: Sequence[Changed],
        change: "Callable[[Folder, Changed], Awaitable[Written]]",
        *,
        nowhere: Written,
    ) -> list[Written]:
        from workers.storage.dav_writing import Plight  # noqa: PLC0415 - heavy, if used

        folders = self._opened()
        places = by_place(changes)
        answers: dict[int, Written] = {}
        plight = Plight()

        async def all_of(owner: UserId, numbers: list[int]) -> None:
            folder = folders.of(owner, category)
            await folder.tidy()
            for number in numbers:
                answers[number] = await change(folder, changes[number])
                plight.done += answers[number].fate is Fate.DONE

        async def in_order(place: tuple[UserId, str]) -> None:
            owner, numbers = place[0], places[place]
            said = ""
            if folders.leads_to(owner):
                said = await plight.during(folders.visit(owner), all_of(owner, numbers))
            left = Written(fate=Fate.UNKNOWN, detail=said) if said else nowhere
            for number in numbers:
                answers.setdefault(number, left)

        self._together(list(places), in_order)
        plight.check_room(NAME)
        if any(answer.fate is Fate.UNKNOWN for answer in answers.values()):
            folders.check_root(self._prober())
        return [answers[number] for number in range(len(changes))]

    def _together(
        self, given: Sequence[Given], work: Callable[[Given], Awaitable[Got]]
    ) -> list[Got]:
        from workers.storage.dav_requests import together  # noqa: PLC0415 - heavy, if used

        return self._opened().server.run(lambda: together(map(work, given)))


_NOWHERE: Final = Written(fate=Fate.REFUSED, detail="the user's id cannot be part of an address")


def _entry(owner: UserId, member: "Member", *, name: str = "") -> Entry:
    return Entry(
        owner=owner,
        ref=name or member.name,
        version=member.etag,
        ident=ident_in(name or member.name),
        modified=member.modified,
        size=member.size,
    )


def _notes(conduct: "Conduct") -> list[str]:
    """What follows from how the server behaves, for the preview."""
    notes: list[str] = []
    if not conduct.create_only:
        notes.append(
            "the server overwrites although it is told not to: files are looked for before they"
            " are put, and what is there stays"
        )
    if not conduct.replaces:
        notes.append("the server does not replace by version: what is there stays as it is")
    if not conduct.removes:
        notes.append("undo removes nothing here: the server does not remove by version")
    if not conduct.fine:
        notes.append("versions of this server do not tell two changes in the same second apart")
    return notes


KIND = Webdav
