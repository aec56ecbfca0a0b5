"""Putting staged items into a folder of item files: attachments first, the item's file last.

Creating is a link, so it is never over anything. Replacing and removing are a rename after a
comparison: exact only while the caller holds a lock that everyone respects.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256

from orchestrator.ports import Fate, Write, Written
from workers.storage.durable import Staging
from workers.storage.item_files import exists, listing, name_of, read, seen_of


@dataclass(kw_only=True)
class Staged:
    """A write whose bytes are on the disk, without a name yet."""

    write: Write
    name: str
    content: str
    """Its name in the staging folder."""
    parts: dict[str, str]
    """Its attachments: file name → name in the staging folder."""
    answer: Written | None = None

    @property
    def is_done(self) -> bool:
        """Whether it is there now."""
        return self.answer is not None and self.answer.fate is Fate.DONE


def stage(staging: Staging, write: Write) -> Staged:
    """Put a write's bytes on the disk; OSError where there is no room for them."""
    name = name_of(write.ref) or ""
    return Staged(
        write=write,
        name=name,
        content=staging.put(write.item.content),
        parts={f"{name}.{p.name}": staging.put(p.data) for p in write.item.attachments},
    )


def rounds(group: Sequence[Staged]) -> Iterator[list[Staged]]:
    """The same writes in parts that name each file once."""
    left = list(group)
    while left:
        first = {one.name: one for one in reversed(left)}
        some = [one for one in left if first[one.name] is one]
        yield some
        left = [one for one in left if first[one.name] is not one]


def commit(folder: int, staging: Staging, some: Sequence[Staged]) -> None:
    """Give the staged files of different items their names: attachments, then items."""
    beside: dict[str, list[str]] = {}
    if any(one.write.expected is not None for one in some):
        beside = listing(folder)
    for one in some:
        one.answer = _objection(folder, one, beside.get(one.name, []))
    going = [one for one in some if one.answer is None]
    if any(one.parts for one in going):
        for one in going:
            _put_parts(folder, staging, one)
        os.fsync(folder)  # an item is never on the disk before its attachments
    for one in going:
        parts = sorted({*one.parts, *beside.get(one.name, [])})
        if one.write.expected is None:
            one.answer = _link(folder, staging, one)
        else:
            os.rename(one.content, one.name, src_dir_fd=staging.folder, dst_dir_fd=folder)
            staging.used(one.content)
        if one.answer is None:
            seen = seen_of(folder, one.name, parts)
            one.answer = Written(fate=Fate.DONE, version="" if seen is None else seen.version)


def remove(folder: int, name: str, expected: str) -> Written:
    """Take an item of that version away: its file first, then its attachments.

    In between, its file lies there under a hidden name. Whoever asks again after a crash sees by
    it that the attachments without an item are what is left of this one.
    """
    hidden = f".{sha256(os.fsencode(name)).hexdigest()[:32]}.removed"
    parts = listing(folder).get(name, [])
    seen = seen_of(folder, name, parts)
    if seen is None or seen.version != expected:
        if seen is None and exists(folder, hidden):
            _remove_parts(folder, name, hidden)
        return Written(fate=Fate.CONFLICT)
    if not parts:
        os.unlink(name, dir_fd=folder)
        return Written(fate=Fate.DONE)
    os.rename(name, hidden, src_dir_fd=folder, dst_dir_fd=folder)
    os.fsync(folder)  # its attachments never go before it
    _remove_parts(folder, name, hidden)
    return Written(fate=Fate.DONE)


def _remove_parts(folder: int, name: str, hidden: str) -> None:
    for part in listing(folder):  # attachments without their item are listed by themselves
        if part.startswith(f"{name}."):
            os.unlink(part, dir_fd=folder)
    os.unlink(hidden, dir_fd=folder)


def _objection(folder: int, one: Staged, parts: Sequence[str]) -> Written | None:
    """Why a write must not happen; `parts` are the attachments that lie there."""
    if one.write.expected is None:
        if one.parts and exists(folder, one.name):
            return _occupied(folder, one.name)
        return None
    seen = seen_of(folder, one.name, parts)
    if seen is None or seen.version != one.write.expected:
        return Written(fate=Fate.CONFLICT)
    given = {f"{one.name}.{part.name}": part.data for part in one.write.item.attachments}
    if any(part not in given or read(folder, part) != given[part] for part in parts):
        return Written(
            fate=Fate.REFUSED,
            detail="a live item's attachments cannot be changed together with it, only added to",
        )
    return None


def _put_parts(folder: int, staging: Staging, one: Staged) -> None:
    """Attachments get their names; what a dead attempt left under those is replaced.

    Beside a live item they bear its time until the item is replaced: an attempt that dies here
    does not make it look changed by its user.
    """
    before = None if one.write.expected is None else os.stat(one.name, dir_fd=folder)
    for name, staged in one.parts.items():
        if before is not None and exists(folder, name):
            continue  # equal, or there had been an objection
        if before is not None:
            times = (before.st_atime_ns, before.st_mtime_ns)
            os.utime(staged, ns=times, dir_fd=staging.folder)
        os.rename(staged, name, src_dir_fd=staging.folder, dst_dir_fd=folder)
        staging.used(staged)


def _link(folder: int, staging: Staging, one: Staged) -> Written | None:
    """Create the item's file; None where that went well."""
    try:
        os.link(one.content, one.name, src_dir_fd=staging.folder, dst_dir_fd=folder)
    except FileExistsError:
        for name in one.parts:
            os.unlink(name, dir_fd=folder)
        return _occupied(folder, one.name)
    staging.drop(one.content)
    return None


def _occupied(folder: int, name: str) -> Written:
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            return Written(fate=Fate.REFUSED, detail="something that is no file has its name")
    return Written(fate=Fate.CONFLICT)
