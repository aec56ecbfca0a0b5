"""The pipeline of one batch: read, settle, look, decide, journal, write, verify, account.

Every step may be repeated from any point without harm: idents and places are deterministic, writes
carry preconditions, and what was done is found by looking. Not guaranteed: that a write which the
target acknowledged, and lost after it was read back, is noticed before `verify` asks again.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from itertools import groupby

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection, select

from orchestrator.books import Note, Outcome
from orchestrator.causes import Cause, cause_of
from orchestrator.errors import Unavailable
from orchestrator.flow_control import Answers
from orchestrator.items import Attachment, Digest, File, Folder, Ident, Item, UserId
from orchestrator.ledger import outcomes, pressure
from orchestrator.ledger.leases import Batch
from orchestrator.ledger.outcomes import JournalRow, UnitResult
from orchestrator.ledger.schema import run
from orchestrator.lifecycle import BatchState, RunState, UnitState
from orchestrator.plan import Phase
from orchestrator.ports import Capabilities, Fate, Live, Place, Write, Written
from orchestrator.reasons import Reason
from orchestrator.reconcile import (
    Create,
    Decision,
    Hand,
    Leave,
    Replace,
    Revive,
    Standing,
    Tombstone,
    decide,
)
from workers.assignment import Assignment, declined, waiting_units
from workers.journal import Before, Intent, seal_intents
from workers.looking import Scene, look
from workers.pace import Throttle
from workers.reading import Reading, Recovered, Winner
from workers.unit_work import UnitWork
from workers.workplace import Workplace

CHUNK_ITEMS = 2_000
CHUNK_BYTES = 16 * 1024 * 1024
LOOKS = 5
"""How often an item whose write met something unexpected is looked at anew in one attempt."""
SLICE_SECONDS = 300.0
"""After so long a batch is handed back, so that no batch holds a worker for ever."""
BESIDE_MARK = "recovered"
RELEASED = "released"
"""What the accounts call the copies that an operator mended; a source more trusted than any."""


class Open(Struct, frozen=True, kw_only=True):
    """One item of the chunk in hand that has no outcome yet."""

    unit: UnitWork
    winner: Winner


class Planned(Struct, frozen=True, kw_only=True):
    """A write that was decided, and what it will count as."""

    open: Open
    write: Write
    note: Note | None = None
    hand: Hand | None = None
    """What our journal said before."""


class Restoration:
    """Works off one assignment; made for one batch and thrown away."""

    def __init__(self, work: Workplace, task: Assignment) -> None:
        self._work = work
        self._task = task
        self._went_on = False
        """Something was finished or written: another slice will not only do this one again."""
        self._seen: tuple[UserId, Scene] | None = None
        """What the last chunk saw, where it was all one user's."""
        self._can_replace = task.site.capabilities.get(
            task.phase.to, Capabilities(create_only=True, compare_and_set=False, tombstones=False)
        ).compare_and_set
        self._results: list[UnitResult] = list(task.postponed)
        self._verified: list[int] = []
        self._recorded: set[int] = set()
        self._stood: set[tuple[UserId, Ident]] = set()
        """What was to be replaced: where it is gone at the next look, its user deleted it."""
        self._began = self._beat_at = work.monotonic()
        self._throttle = Throttle(work, task.held, task.phase.limits)
        self._most_items = self._throttle.most_items(CHUNK_ITEMS)
        self._most_bytes = self._throttle.most_bytes(CHUNK_BYTES)
        self._answers = Answers(ended=1)

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
                        self._finish(state=BatchState.READY)
                        return
            self._settle(chunk, complete)
        except Unavailable as error:
            self._postpone(error)
        except _Stopped as stopped:
            self._finish(state=stopped.leaves)
            return
        self._finish(state=BatchState.DONE)

    # Reading ------------------------------------------------------------------------------------

    def _portions(self, units: Sequence[UnitWork]) -> Iterator[tuple[UnitWork, list[Winner], bool]]:
        """Winners unit by unit; True with a unit's last ones."""
        task = self._task
        owners = [unit.owner for unit in units]
        streams = [
            (name, task.site.source(name).folders(task.phase.restore, owners))
            for name in task.phase.sources
        ]
        for unit in units:
            folders = [(name, next(stream)) for name, stream in streams]
            if unit.released:
                folders.insert(0, (RELEASED, _folder_of(unit)))
            recovered = [
                Recovered(trust=trust, source=name, folder=folder)
                for trust, (name, folder) in enumerate(folders)
            ]
            unit.reading = Reading(
                recovered,
                task.category,
                task.rules,
                self._beat,
                ambiguous=unit.ambiguous,
                mended=frozenset(unit.released),
            )
            unit.reading.read()
            unit.keep_damaged(self._work.sealer)
            waiting: list[Winner] | None = None
            for portion in unit.reading.portions(items=self._most_items, size=self._most_bytes):
                if waiting is not None:
                    yield unit, waiting, False
                waiting = portion
            yield unit, waiting or [], True

    # Deciding -----------------------------------------------------------------------------------

    def _settle(self, chunk: list[Open], complete: list[UnitWork]) -> None:
        """Bring every item of the chunk to an outcome, and every complete unit to its end."""
        self._stood.clear()
        still_open = [one for one in chunk if not self._declined(one)]
        trouble: Cause | None = None
        for turn in range(LOOKS):
            if not still_open:
                break
            planned = self._decide(still_open, anew=turn > 0)
            still_open, trouble = self._carry_out(planned) if planned else ([], None)
            self._beat()
        for one in still_open:
            one.unit.trouble = trouble
        self._went_on |= bool(complete)
        for unit in complete:
            if unit.trouble is None:
                self._results.append(unit.settled(self._work.sealer))
            else:
                self._results.append(try_again(self._work, self._task.phase, unit, unit.trouble))
        self._beat()

    def _declined(self, one: Open) -> bool:
        if one.unit.declined:
            one.unit.note(one.winner.copy, one.winner.source, Outcome.DECLINED)
        return one.unit.declined

    def _decide(self, chunk: Sequence[Open], *, anew: bool) -> list[Planned]:
        """What is to be written; what is left as it is gets its outcome here.

        A user of many chunks is looked at once, so that the cost does not grow with the square of
        what they have: a write on what is no longer so is refused, and then we look `anew`.
        """
        task = self._task
        wanted: dict[UserId, set[str]] = {}
        for one in chunk:
            refs = wanted.setdefault(one.unit.owner, set())
            refs.add(self._ref(one.winner.copy.item))
            if task.category.bulky:
                refs.add(self._ref(self._beside(one.winner.copy.item)))
        scene = None if anew else self._scene_of(wanted)
        if scene is None:
            scene = look(task.target, task.category, task.phase.restore, wanted)
            alone = len(wanted) == 1 and not task.category.bulky
            self._seen = (next(iter(wanted)), scene) if alone else None
        planned: list[Planned] = []
        for one in chunk:
            decision = self._decision(one, scene)
            match decision:
                case Leave(outcome=outcome, note=note):
                    one.unit.note(one.winner.copy, one.winner.source, outcome, note)
                case Create() | Revive() | Replace():
                    planned.append(self._plan(one, decision))
        if task.preview:
            for plan in planned:
                plan.open.unit.note(
                    plan.open.winner.copy, plan.open.winner.source, Outcome.RESTORED, plan.note
                )
            return []
        return planned

    def _scene_of(self, wanted: Mapping[UserId, object]) -> Scene | None:
        if self._seen is None or len(wanted) > 1 or self._seen[0] not in wanted:
            return None
        return self._seen[1]

    def _there(self, scene: Scene, owner: UserId, item: Item) -> Standing | Tombstone | None:
        """What is under an item's ident, or was deleted where it would go."""
        return scene.at(owner, item.ident) or scene.graves.get((owner, self._ref(item)))

    def _decision(self, one: Open, scene: Scene) -> Decision:
        item = one.winner.copy.item
        owner = one.unit.owner
        hand = one.unit.hands.get(item.ident)
        if hand is not None and hand.note is Note.BESIDE:
            marked = self._beside(item)
            found = _of_beside(self._there(scene, owner, marked), hand, marked.digest)
            if found is not None:
                return found
            hand = None
        live = self._there(scene, owner, item)
        in_doubt = hand is not None and hand.this_run and not hand.verified
        if live is None and not in_doubt and (owner, item.ident) in self._stood:
            return Leave(outcome=Outcome.DECLINED)
        decision = decide(
            item,
            merit=one.winner.copy.merit,
            live=live,
            hand=hand,
            equal_elsewhere=scene.holds(owner, item.digest, besides=one.unit.recovered),
            policy=self._task.phase.on_conflict,
            as_of=self._task.site.plan.incident.as_of,
            can_replace=self._can_replace,
        )
        if isinstance(decision, Replace):
            self._stood.add((owner, item.ident))
        if isinstance(decision, Create) and decision.beside:
            marked = self._beside(item)
            match self._there(scene, owner, marked):
                case Tombstone():
                    return Leave(outcome=Outcome.DECLINED)
                case Standing(digest=digest) if digest == marked.digest:
                    return Leave(outcome=Outcome.PRESENT)
                case Standing():
                    return Leave(outcome=Outcome.SUPERSEDED)
                case None:
                    pass
        return decision

    def _plan(self, one: Open, decision: Create | Revive | Replace) -> Planned:
        item = one.winner.copy.item
        match decision:
            case Create(beside=True):
                item, note = self._beside(item), Note.BESIDE
                write = Write(owner=one.unit.owner, item=item, ref=self._ref(item))
            case Create():
                note = None
                write = Write(owner=one.unit.owner, item=item, ref=self._ref(item))
            case Revive(ref=ref, version=version):
                note = None
                write = Write(owner=one.unit.owner, item=item, ref=ref, expected=version)
            case Replace(ref=ref, version=version):
                note = Note.REPLACED
                write = Write(owner=one.unit.owner, item=item, ref=ref, expected=version)
        hand = one.unit.hands.get(one.winner.copy.item.ident)
        return Planned(open=one, write=write, note=note, hand=hand)

    def _ref(self, item: Item) -> str:
        return self._task.target.ref(self._task.phase.restore, item.ident, item.media)

    def _beside(self, item: Item) -> Item:
        return self._task.category.beside(item, BESIDE_MARK)

    # Writing ------------------------------------------------------------------------------------

    def _carry_out(self, planned: list[Planned]) -> tuple[list[Open], Cause | None]:
        """Journal, write and verify; what has to be looked at again, and why."""
        self._throttle.wait(
            items=len(planned), size=sum(plan.write.item.size for plan in planned), beat=self._beat
        )
        planned, befores = self._with_pre_images(planned)
        planned, rows = self._journal(planned, befores)
        again: list[Open] = [one for one in befores.vanished if not self._declined(one)]
        trouble: Cause | None = self._cause(Written(fate=Fate.CONFLICT)) if again else None
        if not planned:
            return again, trouble
        writes = [plan.write for plan in planned]
        began = self._work.monotonic()
        answers = self._task.target.write(self._task.phase.restore, writes)
        self._answers = replace(
            self._answers,
            writes=self._answers.writes + len(writes),
            spent_ms=self._answers.spent_ms + int((self._work.monotonic() - began) * 1000),
        )
        done: list[Planned] = []
        for plan, answer in zip(planned, answers, strict=True):
            match answer.fate:
                case Fate.DONE:
                    done.append(plan)
                case Fate.REFUSED:
                    self._quarantine(plan, Reason.REFUSED, answer.detail)
                case Fate.CONFLICT:
                    _take_back(plan)
                    again.append(plan.open)
                    trouble = self._cause(answer)
                case Fate.UNKNOWN:
                    again.append(plan.open)
                    trouble = self._cause(answer)
        lost = self._verify(done, rows)
        if lost:
            trouble = self._cause(Written(fate=Fate.UNKNOWN, detail="not there when read back"))
        return [*again, *lost], trouble

    def _with_pre_images(self, planned: list[Planned]) -> tuple[list[Planned], "_Befores"]:
        """Fetch what is about to be replaced; what changed meanwhile is looked at again."""
        replaced = [plan for plan in planned if plan.note is Note.REPLACED]
        befores = _Befores()
        if not replaced:
            return planned, befores
        found = self._task.target.fetch(
            self._task.phase.restore,
            [Place(owner=plan.write.owner, ref=plan.write.ref) for plan in replaced],
        )
        kept = [plan for plan in planned if plan.note is not Note.REPLACED]
        for plan, live in zip(replaced, found, strict=True):
            if live is None or live.entry.version != plan.write.expected:
                befores.vanished.append(plan.open)
                continue
            befores.images[id(plan)] = Before(live.content, live.attachments, live.entry.version)
            kept.append(plan)
        return kept, befores

    def _journal(
        self, planned: list[Planned], befores: "_Befores"
    ) -> tuple[list[Planned], dict[int, tuple[int, list[Intent]]]]:
        """Record what will be written, for users who may still be restored at this moment.

        Returns what may be written, and by user the row and its intents.
        """
        task, work = self._task, self._work
        with work.ledger.begin() as connection:
            now = work.ledger.clock(connection)
            _go_on(self._state(connection))
            hashes = {plan.open.unit.user_hash for plan in planned}
            erased = declined(connection, task.held.run, list(hashes))
            for plan in planned:
                if plan.open.unit.user_hash in erased:
                    plan.open.unit.declined = True
                    self._declined(plan.open)
            planned = [plan for plan in planned if not plan.open.unit.declined]
            planned.sort(key=lambda plan: plan.open.unit.user)
            by_user: dict[int, list[Intent]] = {}
            rows: list[JournalRow] = []
            for user, plans in groupby(planned, key=lambda plan: plan.open.unit.user):
                listed = list(plans)
                by_user[user] = [
                    Intent(
                        ident=plan.open.winner.copy.item.ident,
                        ref=plan.write.ref,
                        digest=plan.write.item.digest,
                        note=plan.note or "",
                        before=befores.images.get(id(plan)),
                    )
                    for plan in listed
                ]
                user_hash = listed[0].open.unit.user_hash
                rows.append(
                    JournalRow(
                        user=user,
                        user_hash=user_hash,
                        place=task.place,
                        sealed=seal_intents(work.sealer, user_hash, by_user[user]),
                    )
                )
            numbers = outcomes.record_intents(connection, task.held, rows, now=now) if rows else []
        for plan in planned:
            plan.open.unit.hands[plan.open.winner.copy.item.ident] = Hand(
                digest=plan.write.item.digest,
                verified=False,
                outcome=Outcome.RESTORED,
                note=plan.note,
            )
        return planned, {
            user: (number, by_user[user]) for user, number in zip(by_user, numbers, strict=True)
        }

    # Verifying ----------------------------------------------------------------------------------

    def _verify(self, done: list[Planned], rows: dict[int, tuple[int, list[Intent]]]) -> list[Open]:
        """Read back what was written; what is not there any more is looked at again."""
        found = self._task.target.fetch(
            self._task.phase.restore,
            [Place(owner=plan.write.owner, ref=plan.write.ref) for plan in done],
        )
        lost: list[Open] = []
        proven: dict[int, set[str]] = {}
        for plan, live in zip(done, found, strict=True):
            if live is None or live.entry.version == plan.write.expected:
                lost.append(plan.open)  # gone, or again what it was: the write did not last
            elif self._equal(plan.write, live):
                unit = plan.open.unit
                unit.note(
                    plan.open.winner.copy, plan.open.winner.source, Outcome.RESTORED, plan.note
                )
                proven.setdefault(unit.user, set()).add(plan.open.winner.copy.item.ident)
            else:
                self._quarantine(plan, Reason.ALTERED, "read back with other content")
        self._mark_verified(proven, rows)
        return lost

    def _equal(self, write: Write, live: Live) -> bool:
        item = write.item
        if live.content == item.content and _same(live.attachments, item.attachments):
            return True
        seen = self._task.category.recognise(write.owner, live.content, live.attachments)
        return seen is not None and seen.ident == item.ident and seen.digest == item.digest

    def _mark_verified(
        self, proven: dict[int, set[str]], rows: dict[int, tuple[int, list[Intent]]]
    ) -> None:
        """A journal row all of whose intents hold is marked; of others, what holds is added."""
        self._went_on |= bool(proven)
        partly: list[JournalRow] = []
        hashes = {unit.user: unit.user_hash for unit in self._task.units}
        for user, (number, intents) in rows.items():
            held = [intent for intent in intents if intent.ident in proven.get(user, ())]
            if len(held) == len(intents):
                self._verified.append(number)
            elif held:
                partly.append(
                    JournalRow(
                        user=user,
                        user_hash=hashes[user],
                        place=self._task.place,
                        sealed=seal_intents(self._work.sealer, hashes[user], held),
                    )
                )
        if partly:
            with self._work.ledger.begin() as connection:
                now = self._work.ledger.clock(connection)
                self._verified.extend(
                    outcomes.record_intents(connection, self._task.held, partly, now=now)
                )

    def _quarantine(self, plan: Planned, reason: Reason, detail: str) -> None:
        plan.open.unit.keep_refused(
            plan.open.winner.copy, plan.open.winner.source, reason, detail, self._work.sealer
        )

    # Trouble ------------------------------------------------------------------------------------

    def _cause(self, answer: Written) -> Cause:
        said = answer.detail or (
            "the item went on changing while it was being written"
            if answer.fate is Fate.CONFLICT
            else "the answer to a write was lost"
        )
        return cause_of(
            Unavailable(said),
            category=self._task.phase.restore,
            kind=self._task.site.plan.targets[self._task.phase.to].kind,
        )

    def _postpone(self, error: Unavailable) -> None:
        """Everything without a result is tried again later, or has failed for good."""
        why = cause_of(error, category=self._task.phase.restore, kind="")
        ended = {result.user for result in self._results} | self._recorded
        for unit in self._task.units:
            if unit.user not in ended:
                self._results.append(
                    try_again(self._work, self._task.phase, unit, why, least=error.retry_in)
                )
        self._answers = replace(self._answers, troubled=1, retry_at=_retry_at(self._work, error))
        self._work.forget(self._task.held.run)

    # The lease ----------------------------------------------------------------------------------

    def _beat(self) -> None:
        """Keep the lease and record what is finished, when it is time to."""
        work = self._work
        now = work.monotonic()
        if now - self._beat_at < work.lease_ms / 4000:
            return
        self._beat_at = now
        with work.ledger.begin() as connection:
            outcomes.checkpoint(
                connection,
                self._task.held,
                self._results,
                verified=self._verified,
                now=work.ledger.clock(connection),
                lease_ms=work.lease_ms,
            )
            state = self._state(connection)
        work.deadline(work.lease_ms / 1000 - (work.monotonic() - now))
        self._recorded |= {result.user for result in self._results}
        self._results, self._verified = [], []
        _go_on(state)

    def _state(self, connection: Connection) -> RunState:
        return RunState(
            connection.execute(
                select(run.c.state).where(run.c.id == self._task.held.run)
            ).scalar_one()
        )

    def _out_of_time(self) -> bool:
        return self._went_on and self._work.monotonic() - self._began > SLICE_SECONDS

    def _finish(self, *, state: BatchState) -> None:
        work = self._work
        with work.ledger.begin() as connection:
            outcomes.finish(
                connection,
                self._task.held,
                self._results,
                verified=self._verified,
                now=work.ledger.clock(connection),
                state=state,
            )
            pressure.note_answers(connection, self._task.held, self._answers)


def try_again(
    work: Workplace, phase: Phase, unit: UnitWork, why: Cause, *, least: float | None = None
) -> UnitResult:
    """A unit that waits for its next attempt, or has failed when it has used them up.

    `least`: so many seconds the source or target asked for.
    """
    attempt = unit.attempts + 1
    if attempt >= phase.attempts:
        return unit.not_yet(why, state=UnitState.FAILED, not_before=0, sealer=work.sealer)
    wait = min(phase.backoff.first * 2 ** (attempt - 1), phase.backoff.most)
    wait = max(wait, timedelta(seconds=least or 0))
    return unit.not_yet(
        why,
        state=UnitState.WAITING,
        not_before=work.ledger.now() + int(wait.total_seconds() * 1000),
        sealer=work.sealer,
    )


def postpone(work: Workplace, held: Batch, error: Unavailable) -> None:
    """Give back a batch that could not even be begun, counting the attempt of every unit."""
    phase = work.site(held.run).plan.phases[held.phase]
    why = cause_of(error, category=phase.restore, kind="")
    with work.ledger.read() as connection:
        units = waiting_units(connection, work, held)
    results = [try_again(work, phase, unit, why, least=error.retry_in) for unit in units]
    answers = Answers(ended=1, troubled=1, retry_at=_retry_at(work, error))
    with work.ledger.begin() as connection:
        outcomes.finish(connection, held, results, verified=(), now=work.ledger.clock(connection))
        pressure.note_answers(connection, held, answers)
    work.forget(held.run)


def _retry_at(work: Workplace, error: Unavailable) -> int:
    """When whoever is away asked to be tried again; 0: it did not."""
    return work.ledger.now() + int(error.retry_in * 1000) if error.retry_in else 0


class _Stopped(Exception):
    """The run was paused or cancelled: hand the rest back."""

    def __init__(self, leaves: BatchState) -> None:
        super().__init__(leaves)
        self.leaves = leaves


def _go_on(state: RunState) -> None:
    """Raise `_Stopped` unless the run is running."""
    if state is RunState.CANCELLED:
        raise _Stopped(BatchState.CANCELLED)
    if state is not RunState.RUNNING:
        raise _Stopped(BatchState.READY)


class _Befores:
    """Pre-images of what is about to be replaced, and items whose live side changed meanwhile."""

    def __init__(self) -> None:
        self.images: dict[int, Before] = {}
        self.vanished: list[Open] = []


def _take_back(plan: Planned) -> None:
    """A write did not happen: by our hand is only what was before."""
    hands, ident = plan.open.unit.hands, plan.open.winner.copy.item.ident
    if plan.hand is None:
        hands.pop(ident, None)
    else:
        hands[ident] = plan.hand


def _of_beside(live: Standing | Tombstone | None, hand: Hand, digest: Digest) -> Leave | None:
    """What we put beside: still as we left it, changed by its user, or gone.

    `digest`: of what would be put there now.
    """
    match live:
        case Standing(digest=found) if found == digest == hand.digest and hand.this_run:
            return Leave(outcome=Outcome.RESTORED, note=Note.BESIDE)
        case Standing(digest=found) if found == digest:
            return Leave(outcome=Outcome.PRESENT)
        case Standing():
            return Leave(outcome=Outcome.SUPERSEDED)
        case Tombstone():
            return Leave(outcome=Outcome.DECLINED)
        case None:
            return Leave(outcome=Outcome.DECLINED) if hand.verified else None


def _folder_of(unit: UnitWork) -> Folder:
    """What an operator handed back for a unit, each file named by what it stands for."""
    return Folder(
        owner=unit.owner,
        files=[
            File(name=sha256, size=len(data), read=partial(bytes, data))
            for sha256, data in unit.released.items()
        ],
    )


def _same(one: Sequence[Attachment], other: Sequence[Attachment]) -> bool:
    return {part.name: part.data for part in one} == {part.name: part.data for part in other}
