"""Live progress: one look at the ledger a second for each run that is watched, for all who watch.

Two kinds of events. `run` is the run as it stands: a newer one replaces an older one that a slow
client has not taken yet, so nothing is lost and nothing piles up. `action` is a row of the audit
log: each is sent, in order. An event's id is `ACTION.SNAPSHOT`: the last row of the log that came
before it, and a digest of the picture; whoever comes back with it (Last-Event-ID), to this process
or another, gets every action since then and the picture, if it has changed.

    async for part in hub.follow(run_id): …    # bytes of text/event-stream
"""

import asyncio
import hashlib
import random
import re
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Row
from starlette.concurrency import run_in_threadpool

from orchestrator.errors import NotFound, ReinstateError, Unavailable
from orchestrator.ledger import audit_log
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.flow import moment
from orchestrator.logs import get_logger
from orchestrator.progress import Progress
from orchestrator.run_standing import Status

log = get_logger("events")

LOOK_SECONDS = 1.0
HEARTBEAT_SECONDS = 15.0
LIFE_SECONDS = 300.0
"""After so long a client has to come back, and to show again who it is."""
MOST_CLIENTS = 5_000
MOST_ACTIONS = 256
"""That may wait for one client; whoever is slower is let go, and comes back where it was."""
REMEMBERED = 1_000
"""Actions of a run that are sent again without asking the ledger."""
BEAT = b":\n\n"

_ID = re.compile(r"([0-9]{1,15})\.([0-9a-f]{0,12})", re.ASCII)
View = Callable[[Status], bytes]
"""What a client gets of a run as it stands; rendered once for all clients of a view."""


class _Action(NamedTuple):
    """A row of the audit log as events: for whoever may read the log, and for others."""

    number: int
    whole: bytes
    bare: bytes


class _Look(NamedTuple):
    """What one look at the ledger found."""

    status: Status
    digest: str
    actions: list[_Action]
    last: int


class _Client:
    """One who watches: what waits for them, and a bell."""

    def __init__(self, view: str, *, whole: bool) -> None:
        self.view = view
        self.whole = whole
        self.actions: deque[_Action] = deque()
        self.snapshot: bytes | None = None
        self.bell = asyncio.Event()
        self.lost = False

    def give(self, actions: list[_Action], snapshot: bytes | None) -> None:
        self.actions.extend(actions)
        self.lost |= len(self.actions) > MOST_ACTIONS
        self.snapshot = snapshot or self.snapshot
        self.bell.set()

    def take(self) -> bytes:
        """Everything that waits, the actions first."""
        parts = [action.whole if self.whole else action.bare for action in self.actions]
        self.actions.clear()
        if self.snapshot is not None:
            parts.append(self.snapshot)
            self.snapshot = None
        self.bell.clear()
        return b"".join(parts)


class _Watched:
    """One run that somebody watches."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.clients: set[_Client] = set()
        self.recent: deque[_Action] = deque(maxlen=REMEMBERED)
        self.last: int | None = None
        """The newest row of the log about this run; None before the first look."""
        self.digest = ""
        self.status: Status | None = None
        self.looked = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.gone = False


class Hub:
    """Everybody who watches, in this process. Belongs to one event loop."""

    def __init__(self, ledger: Ledger, progress: Progress, views: Mapping[str, View]) -> None:
        """`views` by name; more may be added before anybody asks for them."""
        self._ledger = ledger
        self._progress = progress
        self.views = dict(views)
        self._watched: dict[str, _Watched] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = False
        self.clients = 0

    async def follow(
        self, run_id: str, *, last_event: str = "", view: str = "document", whole: bool = False
    ) -> AsyncGenerator[bytes, None]:
        """Parts of an event stream, from after `last_event` on. `whole`: may read the audit log."""
        self._loop = asyncio.get_running_loop()
        client = _Client(view, whole=whole)
        watched = self._join(run_id, client)
        self.clients += 1
        try:
            await watched.looked.wait()
            yield b"retry: 2000\n\n" + await self._begin(watched, client, last_event)
            async for part in self._live(watched, client):
                yield part
        finally:
            self.clients -= 1
            self._leave(watched, client)

    async def _live(self, watched: _Watched, client: _Client) -> AsyncGenerator[bytes, None]:
        loop = asyncio.get_running_loop()
        until = loop.time() + LIFE_SECONDS * random.uniform(0.8, 1.2)  # noqa: S311  spreads load
        while loop.time() < until and not (client.lost or self._stopping or watched.gone):
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await client.bell.wait()
            except TimeoutError:
                yield BEAT
            else:
                if part := client.take():
                    yield part

    def stop(self) -> None:
        """Let everybody go; may be called from a signal handler."""
        self._stopping = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ring_all)

    def _ring_all(self) -> None:
        for watched in self._watched.values():
            watched.looked.set()
            for client in watched.clients:
                client.bell.set()

    def _join(self, run_id: str, client: _Client) -> _Watched:
        watched = self._watched.get(run_id)
        if watched is None:
            watched = self._watched[run_id] = _Watched(run_id)
            watched.task = asyncio.get_running_loop().create_task(self._keep_looking(watched))
        watched.clients.add(client)
        return watched

    def _leave(self, watched: _Watched, client: _Client) -> None:
        watched.clients.discard(client)
        if not watched.clients and self._watched.get(watched.run_id) is watched:
            del self._watched[watched.run_id]
            if watched.task is not None:
                watched.task.cancel()

    async def _begin(self, watched: _Watched, client: _Client, last_event: str) -> bytes:
        """What a client has missed; what came while it was looked up follows behind."""
        found = _ID.fullmatch(last_event)
        status, digest, last = watched.status, watched.digest, watched.last
        if status is None or last is None:
            return b""
        client.actions.clear()
        client.snapshot = None
        missed: list[_Action] = []
        if found is not None and int(found.group(1)) < last:
            missed = await self._missed(watched, int(found.group(1)), last)
        parts = [action.whole if client.whole else action.bare for action in missed]
        if found is None or found.group(2) != digest:
            parts.append(self._frame(client.view, status, digest, last))
        return b"".join(parts)

    async def _missed(self, watched: _Watched, after: int, last: int) -> list[_Action]:
        recent = [action for action in watched.recent if after < action.number <= last]
        if watched.recent and watched.recent[0].number <= after:
            return recent
        rows = await run_in_threadpool(self._actions, watched.run_id, after)
        return [action for action in rows if action.number <= last]

    # Looking --------------------------------------------------------------------------------------

    async def _keep_looking(self, watched: _Watched) -> None:
        while not self._stopping:
            try:
                found = await run_in_threadpool(self._look, watched.run_id, watched.last)
            except NotFound:
                watched.gone = True
                watched.looked.set()
                self._ring_all()
                return
            except Unavailable as error:
                log.warning("events_wait", error=error)
            except ReinstateError as error:
                log.error("events_failed", error=error)  # noqa: TRY400  its text is not for logs
            else:
                self._spread(watched, found)
            await asyncio.sleep(LOOK_SECONDS)

    def _look(self, run_id: str, last: int | None) -> _Look:
        """In a thread. Actions first: what they led to is in the status then, never the reverse."""
        if last is None:
            with self._ledger.read() as connection:
                newest = audit_log.page(connection, limit=1, run=run_id)
            actions: list[_Action] = []
            reached = int(newest[0].id) if newest else 0
        else:
            actions = self._actions(run_id, last)
            reached = actions[-1].number if actions else last
        status = self._progress.status(run_id)
        return _Look(status, _digest(status), actions, reached)

    def _actions(self, run_id: str, after: int) -> list[_Action]:
        found: list[_Action] = []
        while True:
            with self._ledger.read() as connection:
                rows = audit_log.page(connection, after=after, limit=500, run=run_id)
            found += [_action(row) for row in rows]
            if len(rows) < 500:  # noqa: PLR2004  as above
                return found
            after = rows[-1].id

    def _spread(self, watched: _Watched, found: _Look) -> None:
        watched.recent.extend(found.actions)
        watched.last = found.last
        watched.status = found.status
        changed = found.digest != watched.digest
        watched.digest = found.digest
        frames: dict[str, bytes] = {}
        if watched.looked.is_set() and (changed or found.actions):
            for client in watched.clients:
                if changed and client.view not in frames:
                    frames[client.view] = self._frame(
                        client.view, found.status, found.digest, found.last
                    )
                client.give(found.actions, frames.get(client.view))
        watched.looked.set()

    def _frame(self, view: str, status: Status, digest: str, last: int) -> bytes:
        return framed(f"{last}.{digest}", "run", self.views[view](status))


def framed(number: str, name: str, data: bytes) -> bytes:
    """One event of an event stream."""
    lines = b"".join(b"data: " + line + b"\n" for line in data.splitlines())
    return f"id: {number}\nevent: {name}\n".encode() + lines + b"\n"


def _action(row: Row[Any]) -> _Action:
    bare = {"id": row.id, "at": moment(row.at).isoformat(), "action": row.action}
    whole = {**bare, "who": row.who, "detail": msgspec.json.decode(row.detail)}
    return _Action(
        row.id,
        framed(f"{row.id}.", "action", msgspec.json.encode(whole)),
        framed(f"{row.id}.", "action", msgspec.json.encode(bare)),
    )


def _digest(status: Status) -> str:
    """Of what is worth telling: that time passed is not."""
    still = msgspec.structs.replace(status, elapsed=None, measured=None)
    return hashlib.sha256(msgspec.json.encode(still)).hexdigest()[:12]
