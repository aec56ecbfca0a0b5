"""What a kind of target brings to its conformance suite.

`tests/conformance/target_examples/<kind>.py` defines `EXAMPLES`, a mapping of variant names to
subclasses of `Example`. Each knows how users and other programs change what its target holds, how
it is taken away, and what can be seen of it from outside.
"""

from abc import ABC, abstractmethod
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from orchestrator.items import Attachment, Digest, Ident, Item, Media, UserId
from orchestrator.ports import (
    Capabilities,
    Place,
    Removal,
    Surroundings,
    Target,
    TargetKind,
    Write,
)

CARD = Media("vcf", "text/vcard")


class Example(ABC):
    """A small live system of one kind, below `folder` or on a server that `request` gives."""

    promises = Capabilities(create_only=True, compare_and_set=True, tombstones=True)
    """What inspection has to find; notes are not compared."""
    attachments = True
    """It keeps attachments."""
    processes = True
    """What was opened can be used in several processes, after a fork."""
    equal_is_unchanged = False
    """Writing the same content anew is no change: a version is a fingerprint."""

    thorough = True
    """Claims that take many calls are shown on it, too; else another variant shows them."""
    slowness = 1
    """Where each write is a request to a slow server, claims are shown on so many times fewer."""
    prepared_by_inspection = True
    """Inspection leaves something that later calls need, as it does in every run."""
    removes: bool | None = None
    """It removes by version; None: where it compares and sets."""
    dated = True
    """It tells when something changed."""
    besides = frozenset[str]()
    """Fates that it may give besides, where many change one thing at once."""

    exact = True
    """Of many who replace the same version in the same moment, no two are told that they did."""

    def __init__(self, folder: Path, request: pytest.FixtureRequest) -> None:
        self.folder = folder
        self.request = request

    def can_remove(self) -> bool:
        """Whether an undo takes anything away."""
        return self.promises.compare_and_set if self.removes is None else self.removes

    @abstractmethod
    def kind(self) -> TargetKind:
        """The options under which a plan would name it."""

    @abstractmethod
    def put(self, category: str, place: Place, content: bytes) -> None:
        """What a user does: adds or overwrites, and asks nobody. The time of it is now."""

    @abstractmethod
    def delete(self, category: str, place: Place) -> None:
        """What a user does: deletes, in the way in which the live system keeps that in mind."""

    @abstractmethod
    def foreign(self) -> str:
        """A ref that users' programs make, and this target never would."""

    def make_anew(self):
        """Remove it with all that it holds; False where a new one cannot be told from it."""
        return False

    @abstractmethod
    def take_away(self) -> None:
        """Make all of it unreachable, as a lost mount or a stopped server would."""

    @abstractmethod
    def trace(self) -> object:
        """Everything that can be seen of it from outside."""

    def accounts(self, users):
        """Those of these ids that users of the live system can have."""
        return users

    def unwelcome(self, write: Write) -> Write:
        """The same write such that the target can never take it."""
        parts = (Attachment(name="../\0", data=b""),)
        return msgspec.structs.replace(
            write, item=msgspec.structs.replace(write.item, attachments=parts)
        )

    def secret(self, text: str) -> str:
        """What a reference in its options leads to."""
        return text

    def open(self) -> Target:
        """The target, opened as a worker does."""
        surroundings = Surroundings(
            folder=self.folder, secret=self.secret, clock=lambda: datetime.now(UTC)
        )
        target = self.kind().open(surroundings)
        self.request.addfinalizer(target.close)
        return target


def item(ident: str, content: bytes, *, attachments=(), revised=None) -> Item:
    """An item as a category would make it; a target asks no more of it than this."""
    return Item(
        ident=Ident(ident),
        digest=Digest(bytes(32)),
        media=CARD,
        content=content,
        attachments=tuple(attachments),
        revised=revised,
    )


def create(target, owner, ident, content, *, category="contacts", attachments=()) -> Write:
    """A write of something where nothing is."""
    return Write(
        owner=UserId(owner),
        item=item(ident, content, attachments=attachments),
        ref=target.ref(category, Ident(ident), CARD),
    )


def replace(entry, content, *, ident=None, attachments=()) -> Write:
    """A write over exactly the version that was seen."""
    return Write(
        owner=entry.owner,
        item=item(ident or entry.ident or "x", content, attachments=attachments),
        ref=entry.ref,
        expected=entry.version,
    )


def removal(entry) -> Removal:
    """The removal of exactly the version that was seen."""
    return Removal(owner=entry.owner, ref=entry.ref, expected=entry.version)
