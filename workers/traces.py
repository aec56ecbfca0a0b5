"""What a run left at each place, by its journal, and whether it still is so. Does nothing.

A place is written to more than once where a better copy was handed back, or an answer was lost. Its
steps are walked backwards from what is there now, over as many as are in effect: what was there
before the first of those is what an undo puts back.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.books import Outcome
from orchestrator.findings import Drift, Undone, Why
from orchestrator.items import Attachment
from workers.journal import Before, Intent

Digester = Callable[[bytes, Sequence[Attachment]], bytes | None]
"""The digest of a content by its meaning; None where it cannot be read as an item."""


class Image(Struct, frozen=True, gc=False):
    """What is or was at a place, as far as it takes to tell it from something else."""

    digest: bytes | None
    """By meaning."""
    raw: bytes
    """Of its very bytes."""

    def same(self, other: "Image | None") -> bool:
        """Whether both mean the same."""
        if other is None:
            return False
        if self.raw == other.raw:
            return True
        return self.digest is not None and self.digest == other.digest


def image_of(content: bytes, attachments: Sequence[Attachment], digester: Digester) -> Image:
    """A content as an image."""
    return Image(digester(content, attachments), raw_digest(content, attachments))


def raw_digest(content: bytes, attachments: Sequence[Attachment]) -> bytes:
    """SHA-256 of the bytes themselves, attachments included in whatever order."""
    whole = sha256(len(content).to_bytes(8) + content)
    for part in sorted(attachments, key=lambda part: part.name):
        for text in (part.name.encode(), part.data):
            whole.update(len(text).to_bytes(8) + text)
    return whole.digest()


class Step(Struct, frozen=True, kw_only=True, gc=False):
    """One journalled change of a place."""

    ident: str
    note: str
    media: tuple[str, str]
    after: bytes | None
    """The digest of what was written; None: it was removed."""
    before: Image | None
    """None: nothing was there."""
    row: int
    """Where the journal keeps what was there before: the row, and which of its intents."""
    index: int
    verified: bool
    left: str = ""
    """The version of the tombstone that a removal left, where it is known."""
    outcome: Outcome = Outcome.RESTORED
    origins: str = ""

    def leads_to(self, there: Image | None) -> bool:
        """Whether this is what the place would look like after it."""
        if self.after is None or there is None:
            return self.after is None and there is None
        return self.after in {there.digest, there.raw}

    def comes_from(self, there: Image | None) -> bool:
        """Whether this is what the place looked like before it."""
        if self.before is None or there is None:
            return self.before is None and there is None
        return self.before.same(there)

    def ours(self, tombstone: str | None) -> bool:
        """Whether the nothing that is there, if so, is this removal's and not somebody else's."""
        return self.after is not None or not self.left or tombstone in {None, self.left}


@dataclass(slots=True)
class Trail:
    """All steps at one place, oldest first."""

    ref: str
    steps: list[Step] = field(default_factory=list[Step])

    @property
    def last(self) -> Step:
        """The newest."""
        return self.steps[-1]


class Verdict(Struct, frozen=True, kw_only=True):
    """What a place is now, and what an undo makes of it."""

    drift: Drift
    undo: Undone
    back_to: Step | None = None
    """With PUT_BACK: the step that replaced what is put back."""
    why: Why | None = None
    """With LEFT."""


def follow(
    trails: dict[str, Trail],
    intents: Sequence[Intent],
    *,
    row: int,
    verified: bool,
    digester: Digester,
) -> None:
    """Take in one row of the journal; rows come oldest first."""
    for index, intent in enumerate(intents):
        trail = trails.setdefault(intent.ref, Trail(intent.ref))
        if intent.proves:
            _prove(trail, intent)
            continue
        step = Step(
            ident=intent.ident,
            note=intent.note,
            media=intent.media,
            after=intent.digest or None,
            before=None if intent.before is None else _image_before(intent.before, digester),
            row=row,
            index=index,
            verified=verified,
            left=intent.left,
            outcome=intent.outcome,
            origins=intent.origins,
        )
        if trail.steps and _again(trail.last, step):  # an answer was lost, or part of a row proved
            step = _merged(trail.steps.pop(), step)
        trail.steps.append(step)


def _image_before(before: Before, digester: Digester) -> Image:
    return image_of(before.content, before.attachments, digester)


def _prove(trail: Trail, intent: Intent) -> None:
    for number in range(len(trail.steps) - 1, -1, -1):
        step = trail.steps[number]
        if step.after == (intent.digest or None):
            trail.steps[number] = replace(step, verified=True, left=intent.left or step.left)
            return


def _again(one: Step, other: Step) -> bool:
    return one.after == other.after and other.comes_from(one.before)


def _merged(one: Step, other: Step) -> Step:
    return replace(one, verified=one.verified or other.verified, left=other.left or one.left)


def judge(steps: Iterable[Step], there: Image | None, *, tombstone: str | None = None) -> Verdict:
    """Compare a place with its trail.

    `tombstone`: the version of the one that is there, if any: one that is not the one which our
    own removal left is somebody else's deletion.
    """
    now, found = there, None
    for step in reversed(list(steps)):
        if step.leads_to(now) and (found is not None or step.ours(tombstone)):
            found, now = step, step.before
        elif step.comes_from(now) and (found is not None or not step.verified):
            continue  # it never took effect
        elif found is not None:
            break
        elif step.comes_from(now):  # somebody made it what it was
            return Verdict(drift=_missed(there), undo=Undone.ALREADY)
        else:
            return Verdict(
                drift=_missed(there),
                undo=Undone.LEFT,
                why=Why.GONE if there is None else Why.CHANGED,
            )
    if found is None:
        return Verdict(drift=Drift.NEVER, undo=Undone.ALREADY)
    if now is None:
        return Verdict(drift=Drift.AS_LEFT, undo=Undone.REMOVED)
    return Verdict(drift=Drift.AS_LEFT, undo=Undone.PUT_BACK, back_to=found)


def _missed(there: Image | None) -> Drift:
    return Drift.GONE if there is None else Drift.CHANGED
