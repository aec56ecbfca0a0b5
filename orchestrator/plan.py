"""What an operator asks for. Immutable once submitted; known by its digest.

Knows the words of a plan and what they mean; not how they are spelled in YAML (`planner`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any


class OnConflict(StrEnum):
    """Who wins where the target holds something else than the recovered item."""

    NEWEST = "newest"
    KEEP_LIVE = "keep-live"
    MERGE = "merge"
    KEEP_BOTH = "keep-both"
    REPLACE = "replace"


class Choice(StrEnum):
    """What one user wants where the plan would decide for everyone."""

    KEEP_BOTH = "keep-both"
    MERGE = "merge"
    KEEP_MINE = "keep-mine"
    """What they have now stays as it is."""

    @property
    def policy(self) -> OnConflict:
        """The plan's word for it."""
        match self:
            case Choice.KEEP_BOTH:
                return OnConflict.KEEP_BOTH
            case Choice.MERGE:
                return OnConflict.MERGE
            case Choice.KEEP_MINE:
                return OnConflict.KEEP_LIVE


class Scope(StrEnum):
    """What a phase waits for: the whole wave's previous phase, or each user's own."""

    WAVE = "wave"
    USER = "user"


class After(StrEnum):
    """What a user's next category needs of the one before."""

    TERMINAL = "terminal"
    """It ended, settled or failed for good."""
    SETTLED = "settled"
    """It was settled; where it failed, the next one fails with that cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A named source or target: which adapter, and its options as that adapter's dataclass."""

    name: str
    kind: str
    options: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """Who is in scope."""

    listed: str | None = None
    """Path of a CSV with a `user` column (or one id a line); None: everyone the sources know."""
    decline: str | None = None
    """Path of a list of users that are never restored: erasure requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """A group of users admitted together; neither `users` nor `share`: everyone who is left."""

    name: str
    users: int | None = None
    share: float | None = None
    """Of all users in scope, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What must hold of a wave's phase before the next wave and the next phase open."""

    settled: float | None = None
    """At least this share of its units is settled, 0 to 1."""
    failed: float = 0.01
    """At most this share of its units has failed, 0 to 1."""
    approve: int = 0
    """So many people have to promote it by hand."""
    soak: timedelta = timedelta(0)
    """So long it has to rest after its last unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a phase may demand of its target, a second; None: no limit."""

    rate: float | None = None
    """Items a second, over all workers."""
    bytes: int | None = None
    """Bytes a second, over all workers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait before the second attempt, and at most before any."""

    first: timedelta = timedelta(seconds=30)
    most: timedelta = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One category restored for everyone in scope."""

    restore: str
    """The category."""
    to: str
    """The target's name."""
    sources: tuple[str, ...]
    """Names of the sources to read, most trusted first."""
    on_conflict: OnConflict = OnConflict.NEWEST
    scope: Scope = Scope.WAVE
    after: After = After.TERMINAL
    gate: Gate = Gate()
    limits: Limits = Limits()
    attempts: int = 5
    backoff: Backoff = Backoff()
    repairs: tuple[str, ...] = ()
    """Names of the repairs that are switched on."""
    options: Any = None
    """The category's own options, as its dataclass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """What happened, and the moment of the loss."""

    as_of: datetime
    reference: str = ""
    service_start: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """Who hears of what happens to a run; of addresses and secrets, where they are to be found."""

    webhook: str | None = None
    """A URL, or where it is to be found."""
    webhook_secret: str | None = None
    """Where the secret is to be found that signs what is sent there."""
    operators: str | None = None
    """Where the Apprise URLs are to be found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A restoration plan, complete: every default is filled in."""

    name: str
    incident: Incident
    users: Users
    census: str | None
    sources: Mapping[str, Kind]
    """By name, most trusted first."""
    targets: Mapping[str, Kind]
    waves: tuple[Wave, ...]
    phases: tuple[Phase, ...]
    approvals: int = 1
    notify: Notify = Notify()
    version: int = 1
    document: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The plan as canonical JSON values: what the digest is made of."""
    digest: str = ""
    """SHA-256 of the canonical JSON, in hexadecimal."""
