"""Which collection of a DAV server is whose, for which category; found once, then remembered.

Two users are never led to one place: whoever comes second is told so and nothing is written.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urljoin, urlsplit

from orchestrator.errors import Unavailable
from orchestrator.items import UserId
from workers.storage.dav_accounts import Accounts, filled
from workers.storage.dav_collections import FORMS, Collection
from workers.storage.dav_discovery import Homes, Visit, as_folder, homes
from workers.storage.dav_requests import Server, path_part

_REMEMBERED: Final = 20_000
"""Users of whom a process remembers where their collections are."""


class Places:
    """The way to every user's collections on one server."""

    def __init__(
        self,
        server: Server,
        accounts: Accounts,
        *,
        start: str,
        user_url: str,
        names: Mapping[str, str],
    ) -> None:
        self.server = server
        self._accounts = accounts
        self._start = start
        self._user_url = user_url
        self._names = names
        self._collections: dict[tuple[UserId, str], Collection] = {}
        self._homes: dict[UserId, Homes] = {}
        self._owners: dict[str, UserId] = {}
        """Whose home it is."""

    def name(self, category: str) -> str:
        """The last part of the address of that category's collection."""
        return self._names.get(category, category)

    def visit(self, owner: UserId) -> Visit:
        """That user's way in."""
        return Visit(self.server, self._accounts.of(owner))

    async def home(self, visit: Visit, category: str) -> str:
        """The folder of that user's collections of this kind."""
        owner = visit.account.owner
        found = self._homes.get(owner)
        if found is None:
            named = bool(self._user_url)
            start = self._named(owner) if named else self._start
            found = await homes(visit, start, named=named)
            self._claim(visit, found)
        home = found.calendars if FORMS[category].component else found.address_books
        if home is None:
            what = "calendars" if FORMS[category].component else "address books"
            raise visit.trouble(
                f"the server has no {what} for a user",
                hint="restore this category to another server, or name the place by `user_url`",
            )
        return home

    def _named(self, owner: UserId) -> str:
        address = urljoin(self.server.origin + self._start, filled(self._user_url, owner))
        if not address.startswith(f"{self.server.origin}/"):
            raise Unavailable(
                f"{self.server.name}: 'user_url' is not on the server of 'url'",
                hint="write both with the same host, or 'user_url' as a path",
            )
        return as_folder(urlsplit(address).path)

    def _claim(self, visit: Visit, found: Homes) -> None:
        """Remember whose home it is; raises `Unavailable` where it is somebody else's."""
        owner = visit.account.owner
        if len(self._homes) >= _REMEMBERED:
            self._homes.clear()
            self._owners.clear()
            self._collections.clear()
        for home in {found.address_books, found.calendars} - {None}:
            if self._owners.setdefault(str(home), owner) != owner:
                raise visit.trouble(
                    "two users' ids lead to one account",
                    hint="the server takes them for the same; tell them apart by `accounts`",
                )
        self._homes[owner] = found

    async def collection(self, owner: UserId, category: str) -> Collection:
        """That user's collection, whether it is there yet or not."""
        known = self._collections.get((owner, category))
        if known is not None:
            return known
        visit = self.visit(owner)
        home = await self.home(visit, category)
        collection = Collection(
            visit, self.path(home, category), FORMS[category], components=self._components(category)
        )
        return self._collections.setdefault((owner, category), collection)

    def path(self, home: str, category: str) -> str:
        """Where that category's collection is in a home."""
        return f"{home}{path_part(self.name(category))}/"

    def _components(self, category: str) -> list[str]:
        """Of all categories that share the calendar."""
        name = self.name(category)
        return [
            form.component
            for other, form in FORMS.items()
            if form.component and self.name(other) == name
        ]
