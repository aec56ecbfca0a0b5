"""What a photo's sidecar says: whether it is one, when it was changed, and its meaning."""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any, Final

import msgspec

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason
from workers.formats.image_layout import zero_run

SIDECAR_BYTES: Final = 4 * 1024 * 1024
"""A larger file is no description of a photo."""

_BOM: Final = b"\xef\xbb\xbf"
_CHANGED: Final = ("photoLastModifiedTime", "modificationTime")
_BOOKKEEPING: Final = frozenset({*_CHANGED, "url", "imageViews"})
_OF_A_PHOTO: Final = frozenset(
    {"photoTakenTime", "imageViews", "googlePhotosOrigin", "photoLastModifiedTime", "geoDataExif"}
)
_OF_AN_ALBUM: Final = frozenset({"albumData", "enrichments", "sharedAlbumComments"})


class About(Enum):
    """What a JSON object describes."""

    PHOTO = auto()
    ALBUM = auto()
    NEITHER = auto()


def read_description(data: bytes) -> dict[str, Any]:
    """A sidecar's content.

    Raises:
        ItemRejected: it is not one JSON object in UTF-8.
    """
    if not data:
        raise ItemRejected(Reason.EMPTY)
    if len(data) > SIDECAR_BYTES:
        raise ItemRejected(Reason.TOO_LARGE, f"{len(data)} bytes of description")
    if b"\0" in data:
        zeroed = zero_run(data) >= 0 or not data.strip(b"\0")
        raise ItemRejected(Reason.ZEROED if zeroed else Reason.CONTROL_CHARACTER)
    try:
        found = msgspec.json.decode(data.removeprefix(_BOM))
    except UnicodeDecodeError:
        raise ItemRejected(Reason.ENCODING) from None
    except RecursionError:
        raise ItemRejected(Reason.TOO_LARGE, "nested too deep") from None
    except msgspec.DecodeError:
        raise ItemRejected(Reason.SYNTAX, "not JSON, or cut") from None
    if not isinstance(found, dict):
        raise ItemRejected(Reason.STRUCTURE, "not a JSON object")
    return found


def about(description: Mapping[str, Any]) -> About:
    """What a description without a file of its name is about; its keys tell."""
    keys = description.keys()
    if keys & _OF_A_PHOTO:
        return About.PHOTO
    if keys & _OF_AN_ALBUM or ("title" in keys and keys & {"date", "access"}):
        return About.ALBUM
    if "title" in keys and "creationTime" in keys:
        return About.PHOTO
    return About.NEITHER


def changed_at(description: Mapping[str, Any]) -> datetime | None:
    """When its user last changed the photo or its description; None where that is not said.

    Raises:
        ValueError: it is said, but is no time.
    """
    for key in _CHANGED:
        value = description.get(key)
        seconds = value.get("timestamp") if isinstance(value, Mapping) else None
        if seconds is None:
            continue
        try:
            return datetime.fromtimestamp(int(str(seconds)), UTC)
        except (OverflowError, OSError) as error:
            raise ValueError from error
    return None


def taken_at(description: Mapping[str, Any]) -> datetime | None:
    """When the photo was taken; None where nothing that makes sense is said about it."""
    value = description.get("photoTakenTime")
    seconds = value.get("timestamp") if isinstance(value, Mapping) else None
    try:
        return None if seconds is None else datetime.fromtimestamp(int(str(seconds)), UTC)
    except (OverflowError, OSError, ValueError):
        return None


def meaning(description: Mapping[str, Any]) -> bytes:
    """A canonical form of what it says, without bookkeeping."""
    kept = {key: value for key, value in description.items() if key not in _BOOKKEEPING}
    return msgspec.json.encode(kept, order="deterministic")
