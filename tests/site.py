"""A whole installation in one process, asked over HTTP without a network.

site = Site(tmp_path)
jo = site.client("approver", holder="jo")
jo.post("/api/v1/runs/7f3a/approve", json={"reason": "looked at it"})
"""

import asyncio
import itertools
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import structs

from orchestrator.api.installation import Installation
from orchestrator.api.recent import Recent
from orchestrator.identity.roles import Role, Scope
from orchestrator.identity.sign_on import SignOn
from orchestrator.sealing import Sealer
from orchestrator.settings import Settings
from orchestrator.web import application
from tests.in_process import Service

ADDRESS = "http://reinstate.test"
KEYS = (f"key-{number}" for number in itertools.count())


class Client:
    """Somebody who asks; every POST gets a new Idempotency-Key unless it brings one."""

    def __init__(self, site: "Site", headers: dict[str, str]) -> None:
        self._site = site
        self.headers = headers
        self.cookies = httpx.Cookies()

    def request(self, method: str, path: str, **how: Any) -> httpx.Response:
        headers = {**self.headers, **how.pop("headers", {})}
        if method == "POST":
            headers.setdefault("Idempotency-Key", next(KEYS))
            headers = {name: value for name, value in headers.items() if value is not None}
        return self._site.ask(self, method, path, headers=headers, **how)

    def get(self, path: str, **how: Any) -> httpx.Response:
        return self.request("GET", path, **how)

    def post(self, path: str, **how: Any) -> httpx.Response:
        return self.request("POST", path, **how)

    def put(self, path: str, **how: Any) -> httpx.Response:
        return self.request("PUT", path, **how)

    def delete(self, path: str, **how: Any) -> httpx.Response:
        return self.request("DELETE", path, **how)


class Site:
    """The application over the ledger of a `Service`, which does the work."""

    def __init__(
        self,
        folder: Path,
        *,
        ledger_url: str | None = None,
        batch_users: int = 100,
        sign_on: Callable[[Sealer], SignOn] | None = None,
    ) -> None:
        self.service = Service(folder, ledger_url=ledger_url, batch_users=batch_users)
        settings = Settings(home=folder, ledger_url=self.service.ledger.url)
        self.installation = Installation.of(
            settings,
            self.service.ledger,
            self.service.sealer,
            recent=Recent(self.service.progress, status_seconds=0, caller_seconds=0),
            public_seconds=0,
        )
        if sign_on is not None:
            made = sign_on(self.service.sealer)
            self.installation = structs.replace(self.installation, sign_on=made)
        self.app = application(self.installation)
        self._runner = asyncio.Runner()

    def client(
        self,
        role: Role | str,
        *,
        holder: str = "",
        scopes: Collection[Scope] = (),
        runs: Collection[str] | None = None,
    ) -> Client:
        """A client with a token of its own."""
        text, _ = self.installation.tokens.create(
            holder=holder or f"{role}-person",
            role=Role(role),
            scopes=scopes,
            runs=runs,
            who="tests",
        )
        return Client(self, {"Authorization": f"Bearer {text}"})

    def anonymous(self) -> Client:
        """A client without a token; it keeps cookies, as a browser does."""
        return Client(self, {})

    def ask(self, client: Client, method: str, path: str, **how: Any) -> httpx.Response:
        return self._runner.run(self._ask(client, method, path, **how))

    async def _ask(self, client: Client, method: str, path: str, **how: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url=ADDRESS, cookies=client.cookies
        ) as asked:
            response = await asked.request(method, path, **how)
            client.cookies = asked.cookies
            return response

    def close(self) -> None:
        self._runner.close()
        self.service.ledger.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """An installation of this test's own."""
    made = Site(tmp_path)
    yield made
    made.close()
