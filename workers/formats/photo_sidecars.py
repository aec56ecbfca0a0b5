"""Which description belongs to which photo: Google's sidecar files, by the names that exports use.

Names only. A sidecar is called after its photo, but: the word after it comes and goes
(`.supplemental-metadata`), the whole is cut at 46 characters, a counter moves from before the
suffix to the end (`IMG(1).jpg`, `IMG.jpg(1).json`), an edited photo (`IMG-edited.jpg`, in the
user's language) has none of its own, and old exports leave the suffix out.
"""

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final
from unicodedata import normalize

from msgspec import Struct

from workers.formats.image_kinds import CLAIMS, suffix_of

_WORD: Final = ".supplemental-metadata"
_SHORTEST_CUT: Final = 40
"""A name that was cut has at least so many characters left: the limit of 46, less a counter."""
_SIDECAR: Final = re.compile(r"\.json(?:-\d{1,3})?$", re.IGNORECASE)
"""Also how we ourselves write a photo's further sidecars: `IMG.jpg.json-2`."""
_COUNTER: Final = re.compile(r"\((\d{1,6})\)$")
_EDITED: Final = (
    *("-edited", "-effects", "-smile", "-mix", "-collage", "-animation"),
    *("-bearbeitet", "-modifié", "-modifie", "-editado", "-editada", "-ha editado", "-modificato"),
    *("-bewerkt", "-edytowane", "-redigerad", "-redigeret", "-redigert", "-muokattu", "-upraveno"),
    *("-szerkesztett", "-editat", "-düzenlendi", "-edition", "-изменено", "-измененный"),
    *("-відредаговано", "-編集済み", "-已修改", "-已編輯", "-수정됨", "-đã chỉnh sửa", "-แก้ไขแล้ว"),
)


class Pairing(Struct, frozen=True, kw_only=True):
    """Sidecars and photos of one folder, by their full names."""

    of_photo: dict[str, tuple[str, ...]]
    """A photo's sidecars; an edited photo shares those of its original."""
    carrier: dict[str, str]
    """The one photo of each paired sidecar that accounts for its bytes."""


class _Photo(Struct, frozen=True):
    """A photo's name, taken apart."""

    name: str
    """In full."""
    title: str
    """Without folder, counter and mark of editing."""
    counter: str
    edited: bool


class _Shelf:
    """The photos of one folder, found by what sidecars call them."""

    def __init__(self, photos: Iterable[str]) -> None:
        self.by_title: dict[tuple[str, str], list[_Photo]] = defaultdict(list)
        self.exact: dict[str, _Photo] = {}
        for name in photos:
            photo = _taken_apart(name)
            self.exact[_plain(name)] = photo
            self.by_title[photo.title, photo.counter].append(photo)
        self._titles = sorted({title for title, _ in self.by_title})
        self._by_stem: dict[tuple[str, str], list[_Photo]] = defaultdict(list)
        for (title, counter), found in self.by_title.items():
            self._by_stem[title.rpartition(".")[0], counter].extend(found)

    def described_by(self, sidecar: str) -> list[_Photo]:
        """The photos that a sidecar's name means, originals first; none where it means none."""
        stem = _stem(sidecar)
        found = self._exactly(stem)
        if not found:
            moved = _COUNTER.search(stem)
            counter = moved[1] if moved else ""
            stem = stem[: moved.start()] if moved else stem
            found = self._named(stem, counter) or self._cut(stem, counter)
            found = found or _of_one_title(self._by_stem.get((stem, counter), []))
        return self._with_edited(found)

    def _exactly(self, stem: str) -> list[_Photo]:
        photo = self.exact.get(stem)
        return [photo] if photo is not None else []

    def _with_edited(self, found: list[_Photo]) -> list[_Photo]:
        """Editing may change the format: `IMG.HEIC` becomes `IMG-edited.jpg`."""
        if not found or found[0].edited:
            return found[:1]
        original = found[0]
        stem = original.title.rpartition(".")[0]
        edited = (photo for photo in self._by_stem[stem, original.counter] if photo.edited)
        return [original, *sorted(edited, key=lambda photo: photo.name)]

    def _named(self, stem: str, counter: str) -> list[_Photo]:
        """The sidecar's name goes on where the photo's ends: with the word, or a part of it."""
        if photos := self.by_title.get((stem, counter)):
            return _originals_first(photos)
        end = stem.rfind(".")
        while end > 0:
            if _WORD.startswith(stem[end:]):
                photos = self.by_title.get((stem[:end], counter)) or self._exactly(stem[:end])
                if photos:
                    return _originals_first(photos)
            end = stem.rfind(".", 0, end)
        return []

    def _cut(self, stem: str, counter: str) -> list[_Photo]:
        """The sidecar's name was cut before the photo's ends."""
        if len(stem) < _SHORTEST_CUT:
            return []
        found: list[_Photo] = []
        for at in range(bisect_left(self._titles, stem), len(self._titles)):
            title = self._titles[at]
            if not title.startswith(stem):
                break
            found.extend(self.by_title.get((title, counter), ()))
        return _of_one_title(found)


def pair(photos: Sequence[str], sidecars: Sequence[str]) -> Pairing:
    """Which of the sidecars (names that end in .json) belong to which photos of the same folder.

    Both are full names; '/' separates levels. Deterministic, and linear in the number of names.
    """
    shelves = _by_folder(photos)
    of_photo: dict[str, list[str]] = defaultdict(list)
    carrier: dict[str, str] = {}
    described: dict[str, list[_Photo]] = {}
    for folder, names in _by_folder(sidecars).items():
        shelf = _Shelf(shelves.get(folder, ()))
        for sidecar in names:
            found = shelf.described_by(sidecar)
            if found:
                described[sidecar] = found
                carrier[sidecar] = found[0].name
                of_photo[found[0].name].append(sidecar)
    carriers = set(carrier.values())
    for sidecar, found in described.items():
        for photo in found[1:]:
            if photo.name not in carriers:  # an edited photo with a sidecar of its own keeps to it
                of_photo[photo.name].append(sidecar)
    return Pairing(
        of_photo={photo: tuple(names) for photo, names in of_photo.items()}, carrier=carrier
    )


def pair_by_title(title: str, photos: Iterable[str]) -> str | None:
    """The photo of one folder whose name is what exports make of a title; None if not exactly one.

    Exports replace what file systems do not take, and cut at 47 characters before the suffix.
    """
    wanted = _file_name(title)
    stem, dot, suffix = wanted.rpartition(".")
    cut = f"{stem[:47]}{dot}{suffix}" if dot else wanted[:47]
    found = [photo for photo in photos if _plain(photo) in {wanted, cut}]
    return found[0] if len(found) == 1 else None


def names_no_photo(sidecar: str) -> bool:
    """Whether a sidecar's name leaves open which photo it means, so that its title may say it.

    One with a counter, or that ends in a photo's suffix, names a photo: if that one is lost, its
    description must not go to another.
    """
    stem = _stem(sidecar)
    if _COUNTER.search(stem):
        return False
    named, _, word = stem.rpartition(".")
    stem = named if named and _WORD.startswith(f".{word}") else stem
    return suffix_of(stem) not in CLAIMS


def is_sidecar_name(name: str) -> bool:
    """Whether a name can be a sidecar's."""
    return _SIDECAR.search(name) is not None


def _stem(sidecar: str) -> str:
    return _SIDECAR.sub("", _plain(sidecar))


def _file_name(title: str) -> str:
    return re.sub(r"[\\/:*?\"<>|%&'\x00-\x1f]", "_", normalize("NFC", title))


def _plain(name: str) -> str:
    """The last part of a name in one normal form: archives hold NFC and NFD side by side."""
    return normalize("NFC", name.rpartition("/")[2])


def _by_folder(names: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        found[name.rpartition("/")[0]].append(name)
    return found


def _taken_apart(name: str) -> _Photo:
    stem, dot, suffix = _plain(name).rpartition(".")
    if not dot:
        stem, suffix = suffix, ""
    found = _COUNTER.search(stem)
    counter = found[1] if found else ""
    stem = stem[: found.start()] if found else stem
    mark = next((mark for mark in _EDITED if stem.endswith(mark)), "")
    if mark and not counter and (found := _COUNTER.search(stem[: -len(mark)])):
        counter, stem = found[1], stem[: found.start()] + mark
    if mark:
        stem = stem[: -len(mark)]
    return _Photo(name, f"{stem}{dot}{suffix}", counter, bool(mark))


def _originals_first(photos: Sequence[_Photo]) -> list[_Photo]:
    return sorted(photos, key=lambda photo: (photo.edited, photo.name))


def _of_one_title(photos: Sequence[_Photo]) -> list[_Photo]:
    """These photos, where they are one and its edited forms; none where the name is ambiguous."""
    return _originals_first(photos) if len({photo.title for photo in photos}) == 1 else []
