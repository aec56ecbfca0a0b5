"""What an inspection of bags has to tell: counts of what does not fit, never names."""

import os
from datetime import datetime
from stat import S_ISREG

from workers.material.bag_manifests import BagManifest
from workers.material.file_trees import Entry
from workers.material.inspection import Inspection
from workers.material.vouching import PROOFS, VOUCHED, Digests


class BagSurvey:
    """Counts over one bag or many, which become notes of an inspection."""

    def __init__(self, inspection: Inspection, *, digests: Digests, loss: datetime | None) -> None:
        self._inspection = inspection
        self._believed = digests is Digests.BEFORE_LOSS
        self._loss = loss
        self._files = 0
        self._size = 0
        self._unlisted = 0
        self._vouched = 0
        self._weak = 0
        self._later = 0
        self._faults = 0
        self._missing = 0
        self._strange = 0
        self._fetch = 0
        self._unchecked = 0
        self._altered: dict[str, int] = {}
        self._algorithms: set[str] = set()

    def file(self, entry: Entry, *, listed: bool, vouched: bool) -> None:
        """One file of the payload; `listed`: by the manifest, whose word is taken if `vouched`."""
        self._files += 1
        self._size += entry.size
        self._faults += bool(entry.fault)
        self._unlisted += not listed
        self._vouched += vouched

    def bag(self, bag: BagManifest | None, root: bytes) -> None:
        """One bag; None: a folder that is not a bag, or none that can be checked."""
        if bag is None:
            self._unchecked += 1
            return
        self._inspection.piece(bag.algorithm, bag.digest())
        self._algorithms.add(bag.algorithm)
        self._missing += sum(not os.path.lexists(b"/".join((root, path))) for path in bag.paths())
        self._weak += self._believed and bag.algorithm not in PROOFS
        self._later += self._believed and bag.made_after(self._loss)
        self._strange += bag.strange
        self._fetch += bag.to_be_fetched()
        for name in bag.altered_tag_files():
            self._altered[name] = self._altered.get(name, 0) + 1

    def payload_size(self, bag: BagManifest) -> None:
        """Compare everything seen so far, strays included, with what the bag says of itself."""
        says = bag.oxum()
        files, size = self._inspection.strays()
        found = (self._size + size, self._files + files)
        if says is not None and found != (says.size, says.files):
            self._inspection.note(
                f"Payload-Oxum says {says.files} files of {says.size} bytes, "
                f"found are {found[1]} of {found[0]}"
            )

    def own_files(self, root: bytes) -> None:
        """Count the files that make a folder a bag: they are nobody's."""
        with os.scandir(root) as listing:
            for found in listing:
                status = found.stat(follow_symlinks=False)
                if S_ISREG(status.st_mode):
                    self._inspection.piece(found.name, status.st_size, status.st_mtime_ns)
                    self._inspection.stray("the bags' own files", status.st_size)

    def sum_up(self) -> None:
        """Say all of it."""
        counts = (
            (self._unlisted, "files are in no manifest and will not be trusted"),
            (self._missing, "files are in a manifest and are gone"),
            (self._faults, "links, devices or folders cannot be read"),
            (self._strange, "lines of manifests name no user's file"),
            (self._fetch, "files are named by fetch.txt; nothing is ever fetched"),
            (self._vouched, VOUCHED),
            (self._weak, "bags have digests that can be forged (MD5, SHA-1): they prove nothing"),
            (self._later, "bags say that they were made after the loss: they prove nothing"),
            (self._unchecked, "users' folders are not bags: none of their files is trusted"),
        )
        for count, sentence in counts:
            if count:
                self._inspection.note(f"{count} {sentence}")
        for name, bags in sorted(self._altered.items()):
            self._inspection.note(f"{name} is not what the tag manifest lists, in {bags} bags")
        used = ", ".join(sorted(self._algorithms)) or "none"
        self._inspection.note(f"files are checked when they are read, by {used}")
