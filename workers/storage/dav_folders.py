"""Which folder of a WebDAV server is whose, for which category.

Below one folder for all, a user's folder is called by the escaped id, so every id has one of its
own. Where the plan's address has `{user}` in it, the id is part of the address as it is, and one
that cannot be leads nowhere.
"""

import os
from collections.abc import Mapping
from urllib.parse import unquote

from orchestrator.errors import Unavailable
from orchestrator.items import UserId
from workers.formats.path_parts import escape
from workers.storage.dav_accounts import USER, Accounts, addressable, filled
from workers.storage.dav_discovery import Visit, as_folder
from workers.storage.dav_files import Folder
from workers.storage.dav_requests import Server, path_part

_REMEMBERED = 20_000


class Folders:
    """The way to every user's folders on one server."""

    def __init__(
        self, server: Server, accounts: Accounts, path: str, names: Mapping[str, str]
    ) -> None:
        self.server = server
        self._accounts = accounts
        self._template = unquote(path)
        self._names = names
        self._folders: dict[tuple[UserId, str], Folder] = {}
        self._process = os.getpid()

    @property
    def shared(self) -> bool:
        """Whether all users' folders lie in one."""
        return USER not in self._template

    @property
    def address(self) -> str:
        """Where it is, without secrets."""
        return self.server.origin + self._template

    def name(self, category: str) -> str:
        """Of that category's folder."""
        return self._names.get(category, category)

    def leads_to(self, owner: UserId) -> bool:
        """Whether the user can have a place there."""
        return self.shared or addressable(owner)

    def visit(self, owner: UserId) -> Visit:
        """That user's way in."""
        return Visit(self.server, self._accounts.of(owner))

    def root(self, visit: Visit) -> Folder:
        """The folder of all users' folders."""
        return Folder(visit, as_folder(self._template))

    def place(self, owner: UserId) -> str:
        """The path of that user's folder."""
        if self.shared:
            return f"{as_folder(self._template)}{path_part(escape(owner))}/"
        return as_folder(filled(self._template, owner))

    def of(self, owner: UserId, category: str) -> Folder:
        """That user's folder, whether it is there yet or not."""
        if self._process != os.getpid():  # what a folder waits with belongs to one process
            self._process, self._folders = os.getpid(), {}
        known = self._folders.get((owner, category))
        if known is None:
            if len(self._folders) >= _REMEMBERED:
                self._folders.clear()
            path = f"{self.place(owner)}{path_part(self.name(category))}/"
            known = self._folders[owner, category] = Folder(self.visit(owner), path)
        return known

    def check_root(self, owner: UserId) -> None:
        """Raise `Unavailable` where the folder of all users' folders is not there.

        A lost mount would look like users who have nothing.
        """
        if not self.shared:
            return
        root = self.root(self.visit(owner))
        if not self.server.run(root.is_there):
            raise Unavailable(
                f"{self.server.name}: the folder that 'url' names is not there",
                hint="is it the right address, and is the server's disk mounted?",
            )
