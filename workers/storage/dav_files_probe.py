"""What a WebDAV server does with conditions: found out in a folder of the probe's own.

A server that overwrites what it was told not to is no reason to refuse it: files are looked for
first then. One that keeps nothing, tells no versions, or takes two names for one is.
"""

from datetime import datetime
from typing import Final

from orchestrator.errors import Unavailable
from orchestrator.ports import Fate
from workers.storage.dav_discovery import Visit
from workers.storage.dav_files import STAGED, Conduct, Folder
from workers.storage.dav_requests import path_part
from workers.storage.probe_names import is_abandoned, probe_name

_STALE: Final = '"reinstate-stale"'
_MIME: Final = "application/octet-stream"


async def probe(visit: Visit, place: str, now: datetime) -> Conduct:
    """Create, replace and delete in right and wrong versions, below `place`; leaves no file behind.

    Raises `Unavailable` where nothing can be written or what was written is not there.
    """
    mine = Folder(visit, f"{place}{probe_name()}/")
    try:
        await mine.ensure()
        return await _prove(mine, now)
    finally:
        await mine.remove_all()
        await _sweep(visit, place)


async def _prove(folder: Folder, now: datetime) -> Conduct:
    name = "Probe%41"
    first = await _aside(folder, b"first")
    if (await folder.move(first, name, None)).fate is not Fate.DONE:
        raise _unkept(folder, "a file cannot be moved to its name")
    listed = {member.name: member.etag for member in await folder.listing(now) or ()}
    there = await folder.get(folder.path + path_part(name))
    if there is None or there.content != b"first" or listed.keys() != {name}:
        raise _unkept(folder, "what was written is not there, or under another name")
    if not there.etag or not listed[name] == there.etag == await folder.version(name):
        raise _unkept(folder, "the server tells no versions, or not always the same")
    if await folder.version(name.lower()) is not None:
        raise Unavailable(
            f"{folder.visit.server.name}: the server takes two names that differ in case for one",
            hint="two users' data would meet; use a server that tells A from a",
        )
    fine = await _tells_changes(folder)
    return Conduct(
        create_only=await _creates_only(folder, name),
        replaces=await _replaces(folder, name),
        keeps_tags=await _keeps_tags(folder),
        removes=await _removes(folder, name),
        fine=fine,
    )


async def _aside(folder: Folder, content: bytes) -> str:
    staged = f"{STAGED}{probe_name()}"
    answer = await folder.send(staged, content, _MIME)
    if answer is None or not answer.good:
        said = "no whole answer" if answer is None else f"status {answer.status}"
        raise _unkept(folder, f"a probe was not taken ({said})")
    return staged


async def _creates_only(folder: Folder, name: str) -> bool:
    second = await folder.move(await _aside(folder, b"second"), name, None)
    there = await folder.get(folder.path + path_part(name))
    return second.fate is Fate.CONFLICT and there is not None and there.content == b"first"


async def _replaces(folder: Folder, name: str) -> bool:
    """Whether a stale version and one that is gone are refused, and the right one is not."""
    stale = await folder.move(await _aside(folder, b"stale"), name, _STALE)
    gone = await folder.move(await _aside(folder, b"gone"), "gone", _STALE)
    version = await folder.version(name) or _STALE
    right = await folder.move(await _aside(folder, b"right"), name, version)
    return stale.fate is gone.fate is Fate.CONFLICT and right.fate is Fate.DONE


async def _removes(folder: Folder, name: str) -> bool:
    stale = await folder.delete(name, _STALE)
    version = await folder.version(name)
    if stale.fate is not Fate.CONFLICT or version is None:
        return False
    right = await folder.delete(name, version)
    return right.fate is Fate.DONE and await folder.version(name) is None


async def _keeps_tags(folder: Folder) -> bool:
    staged = f"{STAGED}{probe_name()}"
    answer = await folder.send(staged, b"moved", _MIME)
    told = "" if answer is None else answer.headers.get("etag", "")
    await folder.move(staged, "moved", None)
    return bool(told) and await folder.version("moved") == told


async def _tells_changes(folder: Folder) -> bool:
    """Whether a change in place, of the same length, at once, is another version."""
    path, versions = f"{folder.path}twice", set[str]()
    for content in (b"1", b"2"):
        await folder.visit.ask("PUT", path, body=content)
        versions.add(await folder.version("twice") or "")
    return len(versions) > 1


async def _sweep(visit: Visit, place: str) -> None:
    """Remove what killed probes of this machine left."""
    for name in await Folder(visit, place).folders():
        if is_abandoned(name):
            await Folder(visit, f"{place}{path_part(name)}/").remove_all()


def _unkept(folder: Folder, message: str) -> Unavailable:
    return Unavailable(
        f"{folder.visit.server.name}: {message}",
        hint="look at the server's log and at proxies before it",
    )
