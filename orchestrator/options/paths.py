"""Paths as plans spell them: relative to the plan's folder and never out of it, or absolute."""

import posixpath
import re
from typing import Annotated, Any

from orchestrator.options.spellings import Misspelt, Spelling

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LONGEST = 4096


def climbs(path: str) -> bool:
    """Whether a relative path leads out of the folder that it starts in, at any point."""
    parts = re.split(r"[/\\]", path)
    return not posixpath.isabs(path) and ".." in parts


def read_path(value: Any) -> str:
    """A path as it is; raises `Misspelt` where it climbs or is none."""
    if not isinstance(value, str):
        raise Misspelt("wrong-type", "a path is expected here")
    if not value or len(value) > _LONGEST:
        raise Misspelt("bad-path", f"a path has 1 to {_LONGEST} characters")
    if _UNPRINTABLE.search(value):
        raise Misspelt("bad-path", "a path with control characters")
    if value.startswith("~"):
        raise Misspelt("bad-path", "'~' is not expanded", hint="write the whole path")
    if climbs(value):
        raise Misspelt(
            "climbing-path",
            "a relative path may not lead out of the plan's folder",
            hint="write an absolute path, or move the plan",
        )
    return value


def resolved(path: str, base: str) -> str:
    """Where it leads, by its letters alone: links are not followed."""
    return posixpath.normpath(posixpath.join(base, path))


def overlaps(one: str, other: str) -> bool:
    """Whether two resolved paths are the same or one lies within the other."""
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


PlanPath = Annotated[str, Spelling(read_path, str, {"type": "string", "minLength": 1})]
"""A path, relative to the plan's folder or absolute."""
