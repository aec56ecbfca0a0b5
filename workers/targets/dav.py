"""CardDAV and CalDAV servers: contacts, and events, tasks and notes of calendars.

What holds:
- An item is created only under `If-None-Match: *` and replaced only under `If-Match`; inspection
  proves that the server honours both.
- Where an item goes depends on its ident only. One user's collection has one writer; users are
  served many at once.
- An address book that is not there yet is made with all its cards in one request, where a probe
  shows that the server does that, and never over one that is (Radicale; four times as fast).
- An answer that was lost is never asked for again blindly: the precondition makes sure that it
  happens once, and UNKNOWN that somebody looks.
- What is wrong with one user's place (quota, credentials, rights) is theirs alone.
- Nothing that is written invites anybody: attendees are the client's business (RFC 6638, 7.1).

Not told: what users deleted before we looked. CalDAV's sync tells deletions since a token that one
must have had before, so there are no tombstones.
"""

import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from orchestrator.errors import Unavailable
from orchestrator.items import Ident, Media, UserId
from orchestrator.options.paths import PlanPath
from orchestrator.options.quantities import Duration, Size
from orchestrator.options.references import Location, Secret
from orchestrator.ports import (
    Capabilities,
    Entry,
    Live,
    Place,
    Removal,
    Surroundings,
    Write,
    Written,
)
from workers.storage.server_options import accounts, address, check_logins, in_the_clear, server

if TYPE_CHECKING:
    from workers.storage.dav_answers import Member
    from workers.storage.dav_places import Places
    from workers.storage.dav_probe import Proof
    from workers.storage.dav_writing import Change

NAME: Final = "dav target"
_PLAIN: Final = re.compile(r"[A-Za-z0-9_@-][A-Za-z0-9_@.-]{0,149}")


@dataclass(frozen=True, kw_only=True)
class Dav:
    """Address books and calendars on a CardDAV and CalDAV server."""

    url: Location
    """The server's address; users' places are found from it as RFC 6764 says."""
    user_url: str = ""
    """A user's principal, or the folder of their collections, with `{user}` for the id: for one
    account that may enter every user's place. Relative to `url`."""
    username: str = ""
    """Who logs in (Basic); `{user}` stands for the user's id."""
    password: Secret | None = None
    """The password that goes with `username`."""
    token: Secret | None = None
    """A bearer token, in place of name and password."""
    accounts: PlanPath | None = None
    """A file with every user's own password: lines of id, tab, password."""
    collections: dict[str, str] = field(default_factory=dict[str, str])
    """The last part of the address of the collection that a category goes into, where it is not
    the category's name: `{calendar: personal}`."""
    probe_user: str = "reinstate-probe"
    """The account that inspection writes into and cleans up again; nobody's real one."""
    at_once: int = 16
    """Calls under way at the same time, from one worker."""
    timeout: Duration = timedelta(seconds=30)
    """How long one call may take, from connecting to the last byte."""
    answer_bytes: Size = 64 * 1024 * 1024
    """How long one answer may be."""
    era: str = ""
    """Write another word here when the server was emptied and made anew: what earlier runs put
    there says nothing then of what users deleted."""

    def __post_init__(self) -> None:
        """Refuse what leads everybody to one place, or contradicts itself."""
        if not (self.accounts or "{user}" in self.user_url or "{user}" in self.username):
            raise ValueError(
                "nothing tells whose place it is: put {user} into 'user_url' or 'username', "
                "or give 'accounts'"
            )
        if self.token and "{user}" not in self.user_url:
            raise ValueError(
                "'token' enters one account; 'user_url' says where each user's place is"
            )
        check_logins(self, names=self.collections.values(), places="collection")

    def open(self, surroundings: Surroundings) -> "DavTarget":
        """Ready to write; connects on first use."""
        return DavTarget(options=self, surroundings=surroundings)


class DavTarget:
    """A server, opened."""

    def __init__(self, *, options: Dav, surroundings: Surroundings) -> None:
        self._options = options
        self._surroundings = surroundings
        self._lock = threading.Lock()
        self._places: Places | None = None
        self._whole: bool | None = None

    def identity(self, category: str) -> str:
        """The address, how it leads to a user's place, and the collection's name there.

        No server tells that it was made anew: see the option `era`.
        """
        options = self._options
        name = options.collections.get(category, category)
        login = options.username if "{user}" in options.username else ""
        return "dav:" + " ".join((*self._address(), options.user_url, login, name, options.era))

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            places, self._places = self._places, None
        if places is not None:
            places.server.close()

    def ref(self, category: str, ident: Ident, media: Media) -> str:
        """The ident where it is plain, else a hash of it: letters that every server keeps."""
        del media
        suffix = "vcf" if category == "contacts" else "ics"
        if _PLAIN.fullmatch(ident):
            return f"{ident}.{suffix}"
        hashed = sha256(ident.encode("utf-8", "surrogatepass")).hexdigest()
        return f"~{hashed[:40]}.{suffix}"

    def _opened(self) -> "Places":
        from workers.storage.dav_places import Places  # noqa: PLC0415 - heavy imports, if used

        options = self._options
        with self._lock:
            if self._places is None:
                origin, path = self._address()
                self._places = Places(
                    server(options, origin, name=NAME),
                    accounts(options, self._surroundings, name=NAME),
                    start=path,
                    user_url=options.user_url,
                    names=options.collections,
                )
            return self._places

    def _address(self) -> tuple[str, str]:
        url = self._surroundings.secret(self._options.url)
        return address(url, name=NAME, secrets="name and password have options")

    # Inspection --------------------------------------------------------------------------------

    def inspect(self, categories: Sequence[str]) -> Capabilities:
        """Write, replace and delete in the probe user's place, in each category's own way."""
        from workers.storage.dav_collections import FORMS  # noqa: PLC0415 - heavy imports, if used
        from workers.storage.dav_probe import probe  # noqa: PLC0415

        strangers = sorted(set(categories) - FORMS.keys())
        if strangers:
            raise Unavailable(
                f"{NAME}: keeps contacts, calendar, tasks and notes, not {', '.join(strangers)}",
                hint="send them to another target",
            )
        places = self._opened()

        async def work() -> "list[Proof]":
            visit = places.visit(UserId(self._options.probe_user))
            proofs: list[Proof] = []
            for category in categories:
                home = await places.home(visit, category)
                proofs.append(
                    await probe(visit, home, FORMS[category], places.path(home, category))
                )
            return proofs

        proofs = places.server.run(work)
        notes = in_the_clear(places.server.origin, self._options)
        if not all(proof.dated for proof in proofs):
            notes.append(
                "the server does not tell when an item changed: where recovered and live item "
                "differ, the live one stays unless both say themselves when they were changed"
            )
        return Capabilities(
            create_only=all(proof.create_only for proof in proofs),
            compare_and_set=all(proof.compare_and_set for proof in proofs),
            tombstones=False,
            notes=tuple(notes),
        )

    # Looking -----------------------------------------------------------------------------------

    def survey(self, category: str, owners: Sequence[UserId]) -> Iterator[Entry]:
        """What the category's collection of each of these users holds, read at the call."""
        from workers.storage.dav_accounts import addressable  # noqa: PLC0415 - heavy, if used
        from workers.storage.dav_writing import each  # noqa: PLC0415

        ways = self._opened()
        wanted = [owner for owner in dict.fromkeys(owners) if addressable(owner)]

        async def listed(owner: UserId) -> list[Entry]:
            collection = await ways.collection(owner, category)
            return [
                Entry(
                    owner=owner,
                    ref=member.name,
                    version=member.etag,
                    modified=member.modified,
                    size=member.size,
                )
                for member in await collection.listing()
            ]

        found = ways.server.run(lambda: each(wanted, listed))
        return (entry for owner in wanted for entry in found[owner])

    def fetch(self, category: str, places: Sequence[Place]) -> list[Live | None]:
        """The contents at these places, several in one call, of many users at once."""
        from workers.storage.dav_accounts import addressable  # noqa: PLC0415 - heavy, if used
        from workers.storage.dav_requests import nameable  # noqa: PLC0415
        from workers.storage.dav_writing import each  # noqa: PLC0415

        ways = self._opened()
        wanted: dict[UserId, list[str]] = {}
        for place in places:
            if addressable(place.owner) and nameable(place.ref):
                wanted.setdefault(place.owner, []).append(place.ref)

        async def read(owner: UserId) -> dict[str, Live]:
            collection = await ways.collection(owner, category)
            members = await collection.read(wanted[owner])
            return {ref: _live(owner, member) for ref, member in members.items()}

        found = ways.server.run(lambda: each(list(wanted), read))
        return [found.get(place.owner, {}).get(place.ref) for place in places]

    # Changing ----------------------------------------------------------------------------------

    def write(self, category: str, writes: Sequence[Write]) -> list[Written]:
        """Each item in the form that servers take; each user's in their order, users at once."""
        from workers.storage.dav_writing import creation  # noqa: PLC0415 - heavy, if used

        asked = [(write.owner, creation(category, write)) for write in writes]
        return self._change(category, asked, make=True)

    def remove(self, category: str, removals: Sequence[Removal]) -> list[Written]:
        """Each by `If-Match`; no tombstone stays."""
        from workers.storage.dav_writing import removal  # noqa: PLC0415 - heavy, if used

        return self._change(category, [(one.owner, removal(one)) for one in removals], make=False)

    def _change(
        self, category: str, asked: "Sequence[tuple[UserId, Change | Written]]", *, make: bool
    ) -> list[Written]:
        from workers.storage.dav_writing import carried_out  # noqa: PLC0415 - heavy, if used

        answers: dict[int, Written] = {}
        changes: dict[UserId, list[tuple[int, Change]]] = {}
        for number, (owner, change) in enumerate(asked):
            if isinstance(change, Written):
                answers[number] = change
            else:
                changes.setdefault(owner, []).append((number, change))
        places = self._opened()
        if changes:
            answers |= places.server.run(
                lambda: carried_out(places, category, changes, make=make, whole=self._takes_whole)
            )
        return [answers[number] for number in range(len(asked))]

    async def _takes_whole(self) -> bool:
        """Whether the server makes an address book of all its cards at once; asked once."""
        from workers.storage.dav_collections import FORMS  # noqa: PLC0415 - heavy, if used
        from workers.storage.dav_probe import takes_whole  # noqa: PLC0415

        if self._whole is None:
            places = self._opened()
            visit = places.visit(UserId(self._options.probe_user))
            try:
                home = await places.home(visit, "contacts")
                self._whole = await takes_whole(visit, home, FORMS["contacts"])
            except Unavailable as error:
                if not error.owners:
                    raise
                self._whole = False  # the probe's account is not what it was at inspection
        return self._whole


def _live(owner: UserId, member: "Member") -> Live:
    content = member.content or b""
    entry = Entry(
        owner=owner,
        ref=member.name,
        version=member.etag,
        modified=member.modified,
        size=len(content),
    )
    return Live(entry=entry, content=content)


KIND = Dav
