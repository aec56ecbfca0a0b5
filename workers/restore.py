"""The pipeline of one batch: read, settle, look, decide, journal, write, verify, account.

Every step may be repeated from any point without harm: idents and places are deterministic, writes
carry preconditions, and what was done is found by looking.
"""

from collections.abc import Iterator, Sequence
from functools import partial

from msgspec.structs import replace

from orchestrator.causes import Cause, cause_of
from orchestrator.errors import Unavailable
from orchestrator.items import File, Folder
from orchestrator.lifecycle import BatchState
from orchestrator.plan import OnConflict
from workers.assignment import Assignment, learn_hands
from workers.backing_off import retry_at, try_again
from workers.deciding import Deciding, Open, left_out
from workers.in_hand import Watch
from workers.pace import Throttle
from workers.reading import Reading, Recovered, Winner
from workers.tenure import Stopped, Tenure
from workers.unit_work import UnitWork
from workers.workplace import Workplace
from workers.writing import Writing

CHUNK_ITEMS = 5_000
"""A chunk costs some twenty statements and three commits, however little is in it."""
CHUNK_BYTES = 16 * 1024 * 1024
LOOKS = 5
"""How often an item whose write met something unexpected is looked at anew in one attempt."""
SLICE_SECONDS = 300.0
"""After so long a batch is handed back, so that no batch holds a worker for ever."""
LARGE = 1_000
"""Units; a batch has so many only where those before it cost next to nothing."""
LARGE_SLICE_SECONDS = 10.0
"""These cost more: it is handed back in halves, so that others can help."""
BEATS_EVERY = 16
"""Users of whom nothing was found, since nothing was done for them."""
RELEASED = "released"
"""What the accounts call the copies that an operator mended; a source more trusted than any."""


class Restoration:
    """Works off one assignment; made for one batch and thrown away."""

    def __init__(self, work: Workplace, task: Assignment) -> None:
        self._work = work
        self._task = task
        self._completed = False
        """Some unit came to its end: another slice will not only do this one again."""
        throttle = Throttle(work, task.held, task.phase.limits)
        self._most_items = throttle.most_items(CHUNK_ITEMS)
        self._most_bytes = throttle.most_bytes(CHUNK_BYTES)
        self._tenure = Tenure(work, task.held, task.ring, task.postponed)
        held = task.held
        work.in_hand.begin(batch=held.id, epoch=held.epoch, phase=held.phase, run=held.run)
        self._key = work.sealer.sign(b"copy", held.run.encode())
        self._met: set[int] = set()
        """Users of whom the journal was asked; where nothing was recovered it need not be."""
        self._unread = False
        """A source is away."""
        self._deciding = Deciding(task, self._tenure.beat)
        self._writing = Writing(work, task, self._tenure, throttle)

    def carry_out(self) -> None:
        """Restore every unit of the batch and give it back. Raises `LeaseLost`."""
        chunk: list[Open] = []
        complete: list[UnitWork] = []
        size = 0
        units = list(self._task.units)
        try:
            for unit, portion, last in self._portions(units):
                chunk.extend(Open(unit=unit, winner=winner) for winner in portion)
                size += sum(winner.copy.item.size for winner in portion)
                if last:
                    complete.append(unit)
                if len(chunk) >= self._most_items or size >= self._most_bytes:
                    self._settle(chunk, complete)
                    chunk, complete, size = [], [], 0
                    if self._out_of_time():
                        self._tenure.finish(state=BatchState.READY, halved=self._large)
                        return
            self._settle(chunk, complete)
        except Unavailable as error:
            self._postpone(error)
        except Stopped as stopped:
            self._tenure.finish(state=stopped.leaves)
            return
        self._tenure.finish(state=BatchState.DONE)

    def _portions(self, units: Sequence[UnitWork]) -> Iterator[tuple[UnitWork, list[Winner], bool]]:
        try:
            yield from self._read(units)
        except Unavailable:
            self._unread = True
            raise

    def _read(self, units: Sequence[UnitWork]) -> Iterator[tuple[UnitWork, list[Winner], bool]]:
        """Winners unit by unit; True with a unit's last ones."""
        task = self._task
        owners = [unit.owner for unit in units]
        streams = [
            task.site.source(name).folders(task.phase.restore, owners)
            for name in task.phase.sources
        ]
        nothing = Reading((), task.category, task.rules, self._tenure.beat)
        for number, (unit, *folders) in enumerate(zip(units, *streams, strict=True)):
            if _nothing_in(folders) and not unit.released:  # of most users, in most categories
                if number % BEATS_EVERY == 0:
                    self._tenure.beat()
                if unit.expected:
                    unit.reading = nothing
                    yield unit, [], True
                else:
                    self._tenure.nothing.append(unit.user)
                    self._completed = True
                continue
            named = list(zip(task.phase.sources, folders, strict=True))
            if unit.released:
                named.insert(0, (RELEASED, _folder_of(unit)))
            recovered = [
                Recovered(trust=trust, source=name, folder=folder)
                for trust, (name, folder) in enumerate(named)
            ]
            unit.reading = Reading(
                recovered,
                task.category,
                task.rules,
                self._tenure.beat,
                Watch(self._work.in_hand, unit.user, self._key, unit.poisonous),
                self._work.parser,
                ambiguous=unit.ambiguous,
                mended=frozenset(unit.released),
                merging=unit.policy is OnConflict.MERGE,
            )
            unit.reading.read()
            unit.keep_damaged()
            waiting: list[Winner] | None = None
            for portion in unit.reading.portions(items=self._most_items, size=self._most_bytes):
                if waiting is not None:
                    yield unit, waiting, False
                waiting = portion
            yield unit, waiting or [], True

    def _settle(self, chunk: list[Open], complete: list[UnitWork]) -> None:
        """Bring every item of the chunk to an outcome, and every complete unit to its end."""
        fresh = {one.unit.user: one.unit for one in chunk if one.unit.user not in self._met}
        if fresh:
            learn_hands(self._work, self._task, fresh.values())
            self._met |= fresh.keys()
        self._deciding.begin_chunk()
        still_open = [one for one in chunk if not left_out(one)]
        trouble: Cause | None = None
        anew, looks = False, 0
        while still_open and looks < LOOKS:
            decided = self._deciding.decide(still_open, anew=anew)
            again, trouble = self._writing.carry_out(decided.planned)
            if decided.changed:
                again, trouble = [*again, *decided.changed], self._writing.conflict()
            anew, looks = True, looks + bool(again)
            still_open = [*again, *decided.waiting]
            self._tenure.beat()
        for one in still_open:
            one.unit.trouble = trouble
        for one in chunk:  # large units have many chunks, and each item is in one of them
            one.unit.hands.pop(one.winner.copy.item.ident)
        self._completed |= bool(complete)
        for unit in complete:
            if unit.trouble is None:
                self._tenure.results.append(unit.settled())
            else:
                self._tenure.results.append(
                    try_again(self._work, self._task.phase, unit, unit.trouble)
                )
            unit.let_go()
        self._tenure.beat()

    def _postpone(self, error: Unavailable) -> None:
        """Everything without a result is tried again later, or has failed for good."""
        why = cause_of(error, category=self._task.phase.restore, kind="")
        ended = self._tenure.ended()
        for unit in self._task.units:
            if unit.user not in ended:
                self._tenure.results.append(
                    try_again(self._work, self._task.phase, unit, why, least=error.retry_in)
                )
        answers = self._tenure.answers
        self._tenure.answers = replace(
            answers,
            ended=int(answers.writes > 0 or not self._unread),
            troubled=int(not self._unread),
            unread=int(self._unread),
            retry_at=retry_at(self._work, error),
        )
        self._work.forget(self._task.held.run)

    @property
    def _large(self) -> bool:
        return len(self._task.units) > LARGE

    def _out_of_time(self) -> bool:
        went_on = self._completed or self._writing.proved
        slice_seconds = LARGE_SLICE_SECONDS if self._large else SLICE_SECONDS
        return went_on and self._work.monotonic() - self._tenure.began > slice_seconds


def _nothing_in(folders: Sequence[Folder]) -> bool:
    for folder in folders:  # noqa: SIM110  asked of every user: `all` takes twice as long
        if folder.files != ():
            return False
    return True


def _folder_of(unit: UnitWork) -> Folder:
    """What an operator handed back for a unit, each file named by what it stands for."""
    return Folder(
        owner=unit.owner,
        files=[
            File(name=sha256, size=len(data), read=partial(bytes, data))
            for sha256, data in unit.released.items()
        ],
    )
