"""How many batches a target may have at once: more while it copes, fewer when it does not.

The window of a target grows by one batch a window's worth of answers, by one for each batch where
nothing had to be written, and is halved when the target is away, tells us to wait, or has become
slow. A target that answers nothing at all is left
alone: its circuit opens, and after a pause that doubles each time one batch is sent to probe it.
"""

from dataclasses import dataclass
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

FIRST = 8.0
LEAST = 1.0
MOST = 256.0
STRIKES = 3
"""So many batches in a row that got no answer open the circuit."""
CALM_MS = 2_000
"""After a cut; answers to what was sent before it say nothing new."""
SLOW = 3.0
"""Times its usual time for a write: the target has had enough."""
ENOUGH_WRITES = 20
PAUSE_MS = 5_000
LONGEST_PAUSE_MS = 300_000


class Circuit(StrEnum):
    """Whether a target is written to."""

    CLOSED = "closed"
    """It is."""
    OPEN = "open"
    """It is left alone until `probe_at`."""
    PROBING = "probing"
    """One batch finds out."""


class Answers(Struct, frozen=True, kw_only=True):
    """How a target answered since it was last looked at."""

    ended: int = 0
    """Batches that ended."""
    troubled: int = 0
    """Of them, those that found it away or overloaded."""
    writes: int = 0
    spent_ms: int = 0
    """How long all writes together took."""
    retry_at: int = 0
    """When it asked to be tried again; 0: it did not."""
    unread: int = 0
    """Batches, not among those that ended, that found a source away: no news of the target."""


class Flow(Struct, frozen=True, kw_only=True):
    """What is known of one target; times are the ledger's, in milliseconds."""

    window: float = FIRST
    circuit: Circuit = Circuit.CLOSED
    strikes: int = 0
    pause_ms: int = 0
    probe_at: int = 0
    usual_ms: float = 0.0
    """For one write, when all goes well; 0: not known yet."""
    calm_at: int = 0


def adjusted(flow: Flow, answers: Answers, *, now: int) -> Flow:
    """The flow after these answers."""
    if not answers.ended:
        return flow
    away = answers.troubled >= answers.ended
    if flow.circuit is not Circuit.CLOSED:
        if not away:
            return Flow(window=LEAST, usual_ms=flow.usual_ms)
        return _opened(flow, answers, now) if flow.circuit is Circuit.PROBING else flow
    if answers.troubled:
        strikes = flow.strikes + answers.troubled if away else 0
        flow = replace(flow, strikes=strikes)
        return _opened(flow, answers, now) if strikes >= STRIKES else _cut(flow, now)
    flow = replace(flow, strikes=0)
    if _slow(flow, answers):
        return _cut(flow, now)
    step = answers.ended / flow.window if answers.writes else answers.ended
    return replace(flow, window=min(MOST, flow.window + step), usual_ms=_usual(flow, answers))


def sources_of(category: str) -> str:
    """What the flow of a phase's sources is called; no target can be."""
    return f"the sources of {category}"


def of_sources(answers: Answers) -> Answers:
    """What the same batches tell of the sources that they read."""
    return Answers(
        ended=answers.ended + answers.unread, troubled=answers.unread, retry_at=answers.retry_at
    )


def room(flow: Flow, *, out: int, now: int) -> int:
    """How many more batches may be sent, where `out` are on their way or worked on."""
    match flow.circuit:
        case Circuit.CLOSED:
            return max(0, int(flow.window) - out)
        case Circuit.OPEN if now < flow.probe_at:
            return 0
        case Circuit.OPEN | Circuit.PROBING:
            return max(0, 1 - out)


def probed(flow: Flow) -> Flow:
    """The flow once something was sent: what was sent to an open circuit is its probe."""
    return replace(flow, circuit=Circuit.PROBING) if flow.circuit is Circuit.OPEN else flow


def whole_window(running: int, *, ended: int = 0) -> int:
    """How many batches may be out in all, from 8 to 256: as many wait as are worked on.

    Workers that are free take what waits, so the number that is worked on follows their number.
    Where batches take no time, more of them `ended` since the last look than are being worked on:
    then so many wait, or workers would be idle until the next one.
    """
    return int(max(FIRST, min(MOST, 2 * max(running, ended))))


AIM_MS = 1_000
"""So long a batch may as well take: longer, and others would wait for it."""


@dataclass(slots=True)
class Pace:
    """How long batches of one phase take, seen by how many end from look to look."""

    took_ms: float = 0.0
    """For one of them, of late; 0: not known yet."""
    users: float = 0.0
    """In one of them, of late."""
    out: int = 0
    running: int = 0
    _since: int = 0

    @property
    def fitting(self) -> int:
        """So many users make a batch that takes as long as it may; 0: not known yet."""
        return int(self.users * AIM_MS / self.took_ms) if self.took_ms else 0

    @property
    def to_do_ms(self) -> float:
        """How long one worker would be busy with what is out; 0: not known."""
        return self.out * self.took_ms

    def look(self, *, out: int, running: int, now: int) -> int:
        """Take in that so many are out and being worked on; how many ended since the last look."""
        ended = max(0, self.out - out)
        if ended and now > self._since:
            self.took_ms = (now - self._since) * max(1, running) / ended
        if ended or not out:
            self._since = now
        self.out, self.running = out, running
        return ended

    def sent(self, number: int, *, users: int, now: int) -> None:
        """So many more are out, with so many users in all of them."""
        if not self.out:
            self._since = now
        held = self.users * self.out
        self.out += number
        self.users = (held + users) / self.out


def _opened(flow: Flow, answers: Answers, now: int) -> Flow:
    pause = min(LONGEST_PAUSE_MS, max(PAUSE_MS, flow.pause_ms * 2))
    return replace(
        flow,
        window=LEAST,
        circuit=Circuit.OPEN,
        pause_ms=pause,
        probe_at=max(now + pause, answers.retry_at),
    )


def _cut(flow: Flow, now: int) -> Flow:
    if now < flow.calm_at:
        return flow
    return replace(flow, window=max(LEAST, flow.window / 2), calm_at=now + CALM_MS)


def _slow(flow: Flow, answers: Answers) -> bool:
    if not flow.usual_ms or answers.writes < ENOUGH_WRITES:
        return False
    return answers.spent_ms / answers.writes > SLOW * max(1.0, flow.usual_ms)


def _usual(flow: Flow, answers: Answers) -> float:
    """Follows at once what is quicker, and slowly what is slower."""
    if answers.writes < ENOUGH_WRITES:
        return flow.usual_ms
    seen = answers.spent_ms / answers.writes
    if not flow.usual_ms or seen < flow.usual_ms:
        return seen
    return flow.usual_ms + (seen - flow.usual_ms) / 50
