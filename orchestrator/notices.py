"""What is told outside when something happens to a run: which words, and in which sentence.

A notice has numbers, states, and names that the plan gives its parts; nothing about a person, and
no text that somebody typed in when they paused or approved.
"""

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class NoticeKind(StrEnum):
    """What happened. The type of the CloudEvent is `reinstate.` and this."""

    AWAITING_APPROVAL = "run.awaiting_approval"
    APPROVED = "run.approved"
    STARTED = "run.started"
    PAUSED = "run.paused"
    RESUMED = "run.resumed"
    REOPENED = "run.reopened"
    STALLED = "run.stalled"
    FINISHED = "run.finished"
    REFUSED = "run.refused"
    CANCELLED = "run.cancelled"
    LOSSES = "run.losses_to_accept"
    OPENED = "gate.opened"
    HELD = "gate.held"
    SETTLED = "wave.settled"
    CIRCUIT_OPENED = "circuit.opened"
    CIRCUIT_CLOSED = "circuit.closed"
    PROMISE_DUE = "promise.due"
    PROMISE_MISSED = "promise.missed"
    TEST = "test"

    @property
    def sentence(self) -> str:
        """For people, to be filled in from the notice's data."""
        return _SENTENCES[self]


_SENTENCES: Mapping[NoticeKind, str] = {
    NoticeKind.AWAITING_APPROVAL: "awaits approval",
    NoticeKind.APPROVED: "was approved by one more person",
    NoticeKind.STARTED: "has started",
    NoticeKind.PAUSED: "was paused",
    NoticeKind.RESUMED: "goes on",
    NoticeKind.REOPENED: "was taken up again to retry something",
    NoticeKind.STALLED: "has open units and settles none",
    NoticeKind.FINISHED: "has finished: {settled} units settled, {failed} failed",
    NoticeKind.REFUSED: "was refused",
    NoticeKind.CANCELLED: "was cancelled",
    NoticeKind.LOSSES: "has lost {lost} items and quarantined {quarantined}, to be accepted",
    NoticeKind.OPENED: "has opened {phase} for {wave}",
    NoticeKind.HELD: "is held at the gate of {phase} for {wave}",
    NoticeKind.SETTLED: "has settled {phase} for {wave}",
    NoticeKind.CIRCUIT_OPENED: "leaves {of} alone, which does not answer",
    NoticeKind.CIRCUIT_CLOSED: "works with {of} again",
    NoticeKind.PROMISE_DUE: "owes the public an update by {due}",
    NoticeKind.PROMISE_MISSED: "owes the public an update since {due}",
    NoticeKind.TEST: "is only used to try out that notices arrive",
}


def sentence(kind: NoticeKind, data: Mapping[str, Any]) -> str:
    """What happened, for people."""
    return f"{data['plan']} ({data['run']}) {kind.sentence.format_map(data)}."


def notice_id(run_id: str, kind: NoticeKind, subject: str) -> str:
    """The same for the same happening, however often it is told."""
    named = f"{run_id}\n{kind}\n{subject}"
    return f"n_{hashlib.sha256(named.encode()).hexdigest()[:24]}"


class Channel(StrEnum):
    """Over what a notice goes out."""

    WEBHOOK = "webhook"
    OPERATORS = "operators"


class DeliveryState(StrEnum):
    """Where a delivery is."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"
    """Attempts are used up; it can be sent again."""
    GONE = "gone"
    """Whoever was told answered 410: nothing goes there until somebody sends one again."""


class DeliveryEnd(StrEnum):
    """How one attempt ended."""

    DELIVERED = "delivered"
    GONE = "gone"
    """410."""
    DECLINED = "declined"
    """Another status than success."""
    REDIRECT = "redirect"
    """It sent us elsewhere; nobody is followed."""
    UNREACHABLE = "unreachable"
    TOO_SLOW = "too_slow"
    BAD_ADDRESS = "bad_address"
    """Its URL is none that is called."""
    FORBIDDEN_ADDRESS = "forbidden_address"
    """It leads into a network that is not public."""
    SECRET_MISSING = "secret_missing"  # noqa: S105  a word
    """The worker has no such variable or file, or what it holds signs nothing."""
    NOT_INSTALLED = "not_installed"
    """The worker lacks the extra `apprise`."""
    CUT_OFF = "cut_off"
    """The worker ended in the middle of it; whether it arrived is not known."""


ATTEMPTS = 14
FIRST_MS = 5_000
LONGEST_MS = 6 * 3600 * 1000


def wait_ms(delivery: int, attempt: int) -> int:
    """How long after this attempt, the first being 1, the next one comes.

    Three times as long each time, and a fifth more or less, so that what failed together is not
    tried again together. The same each time it is asked for.
    """
    plain = min(FIRST_MS * 3 ** (attempt - 1), LONGEST_MS)
    spread = int(hashlib.sha256(f"{delivery}:{attempt}".encode()).hexdigest()[:8], 16) / 0xFFFFFFFF
    return round(plain * (0.8 + 0.4 * spread))
