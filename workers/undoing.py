"""The work of a batch that undoes: put back what was there before, remove what the run created.

Place by place, each by compare-and-set on exactly the version that was looked at: what anyone
changed since stays, and is listed. Everything is journalled before it is done, under the undo's
own id, with what it takes away: so a crash changes nothing, and an undo is undone like a run.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.causes import Cause, cause_of
from orchestrator.errors import Unavailable
from orchestrator.findings import Drift, Undone, Why, books_of, note_of, outcome_of
from orchestrator.items import Digest, Ident, Item, Media
from orchestrator.ledger import outcomes
from orchestrator.ledger.outcomes import JournalRow, UnitResult
from orchestrator.lifecycle import BatchState, UnitState
from orchestrator.ports import Capabilities, Fate, Place, Removal, Write, Written
from workers.account import Line
from workers.assignment import declined
from workers.journal import Before, Intent, Undoing, seal_intents
from workers.pace import Throttle
from workers.tenure import Stopped, Tenure
from workers.traces import Step, judge, raw_digest
from workers.trailing import Round, Spot, There, Trailed, put_off

LOOKS = 5
"""How often a place whose change met something unexpected is looked at anew in one attempt."""
SLICE_SECONDS = 300.0
"""After so long a batch is handed back, so that no batch holds a worker for ever."""


class Change(Struct, frozen=True, kw_only=True):
    """What is to be done about one place."""

    spot: Spot
    there: There
    step: Step
    """What it leads to, in the words of the journal."""
    item: Item | None = None
    """What is put back; None: what is there is removed."""
    dated: datetime | None = None
    """When its user had changed what is put back."""

    @property
    def undone(self) -> Undone:
        """What it counts as."""
        return Undone.REMOVED if self.item is None else Undone.PUT_BACK

    @property
    def size(self) -> int:
        """Bytes that the target has to take."""
        return 0 if self.item is None else self.item.size


class Undo:
    """Works off one batch; made for one and thrown away."""

    def __init__(self, going: Round) -> None:
        self._going = going
        self._tenure = Tenure(going.work, going.held, going.ring)
        self._throttle = Throttle(going.work, going.held, going.phase.limits)
        self._able = going.site.capabilities.get(
            going.phase.to, Capabilities(create_only=True, compare_and_set=False, tombstones=False)
        )
        self._found = {unit.work.user: _out_of_sight(unit) for unit in going.units}
        self._meant: dict[Place, Step] = {
            Place(owner=unit.work.owner, ref=ref): trail.last
            for unit in going.units
            for ref, trail in unit.ours.items()
        }
        """What this undo journalled already, now or in an attempt before."""
        self._went_on = False

    def carry_out(self) -> None:
        """Undo every place of the batch and give it back. Raises `LeaseLost`."""
        state = BatchState.DONE
        try:
            with put_off(self._going, self._tenure):
                for unit in self._going.units:
                    if not unit.pending:
                        self._end(unit)
                for spots in self._going.spots():
                    self._settle(spots)
                    if self._out_of_time():
                        state = BatchState.READY
                        break
        except Stopped as stopped:
            state = stopped.leaves
        self._tenure.finish(state=state)

    def _out_of_time(self) -> bool:
        """Whether to hand the rest back; the last places of a batch end it anyway."""
        going = self._going
        left = any(unit.pending for unit in going.units)
        spent = going.work.monotonic() - self._tenure.began
        return left and self._went_on and spent > SLICE_SECONDS

    def _settle(self, spots: Sequence[Spot]) -> None:
        """Bring every place of the few to a finding, and every unit that is complete to its end."""
        still_open, trouble = list(spots), None
        for turn in range(LOOKS):
            if not still_open:
                break
            changes = self._decide(still_open, anew=turn > 0)
            still_open, trouble = self._carry_out(changes) if changes else ([], None)
            self._tenure.beat()
        for spot in still_open:
            spot.unit.work.trouble = trouble
            self._count(spot.unit)

    # Deciding -----------------------------------------------------------------------------------

    def _decide(self, spots: Sequence[Spot], *, anew: bool) -> list[Change]:
        """What is to be changed; a place that stays as it is gets its finding here."""
        removals: list[Change] = []
        back: list[tuple[Spot, There, Step]] = []
        for spot, there in zip(spots, self._going.look(spots, anew=anew), strict=True):
            meant = self._meant.get(spot.place)
            if meant is not None and meant.leads_to(there.image) and meant.ours(there.tombstone):
                self._did_before(spot, meant, there)
                continue
            verdict = judge(spot.trail.steps, there.image, tombstone=there.tombstone)
            why = verdict.why or self._hindrance(spot, verdict.undo, there)
            if why is not None:
                self._note(spot, Undone.LEFT, why)
            elif verdict.back_to is not None:
                back.append((spot, there, verdict.back_to))
            elif verdict.undo is Undone.REMOVED:
                step = _step_of(spot.trail.last, there, after=None)
                removals.append(Change(spot=spot, there=there, step=step))
            else:
                self._note(spot, verdict.undo)
        return [*removals, *self._put_backs(back)]

    def _hindrance(self, spot: Spot, undone: Undone, there: There) -> Why | None:
        """Why what could be undone may not be."""
        if undone is Undone.ALREADY:
            return None
        removing = undone is Undone.REMOVED
        able = self._able.can_remove if removing else self._able.compare_and_set
        if there.live is not None and not able:
            return Why.UNSAFE
        if undone is Undone.PUT_BACK and spot.unit.work.declined:
            return Why.DECLINED
        return None

    def _put_backs(self, back: Sequence[tuple[Spot, There, Step]]) -> list[Change]:
        """The same with their contents, as the journal keeps them."""
        if not back:
            return []
        rows = self._going.intents(sorted({step.row for _, _, step in back}))
        changes: list[Change] = []
        for spot, there, step in back:
            intents = rows.get(step.row)
            before = None if intents is None else intents[step.index].before
            if before is None:
                self._note(spot, Undone.LEFT, Why.ERASED)
                continue
            item = self._item(spot, step, before)
            changes.append(
                Change(
                    spot=spot,
                    there=there,
                    step=_step_of(step, there, after=item.digest),
                    item=item,
                    dated=before.modified,
                )
            )
        return changes

    def _item(self, spot: Spot, step: Step, before: Before) -> Item:
        seen = self._going.category.recognise(spot.place.owner, before.content, before.attachments)
        raw = raw_digest(before.content, before.attachments)
        return Item(
            ident=Ident(step.ident) if seen is None else seen.ident,
            digest=Digest(raw) if seen is None else seen.digest,
            media=Media(*step.media),
            content=before.content,
            attachments=before.attachments,
            revised=None if seen is None else seen.revised,
        )

    def _did_before(self, spot: Spot, meant: Step, there: There) -> None:
        """It is as this undo meant it: done by an attempt that did not live to say so."""
        if meant.after is None and not meant.verified and meant.before is not None:
            self._finish_removal(spot, meant)
        if not meant.verified:
            left = there.tombstone or ""
            self._prove(spot.unit, [_intent(meant, spot.place.ref, self._undoing, left=left)])
            self._meant[spot.place] = replace(meant, verified=True, left=left)
        self._note(spot, Undone.REMOVED if meant.after is None else Undone.PUT_BACK)

    def _finish_removal(self, spot: Spot, meant: Step) -> None:
        """Ask once more: a target may have died in the middle, and finishes it then."""
        intents = self._going.intents([meant.row]).get(meant.row)
        before = None if intents is None else intents[meant.index].before
        if before is not None:
            removal = Removal(owner=spot.place.owner, ref=spot.place.ref, expected=before.version)
            self._going.target.remove(self._going.name, [removal])

    # Doing --------------------------------------------------------------------------------------

    def _carry_out(self, changes: list[Change]) -> tuple[list[Spot], Cause | None]:
        """Journal, change and read back; what has to be looked at again, and why."""
        self._throttle.wait(
            items=len(changes),
            size=sum(change.size for change in changes),
            beat=self._tenure.beat,
        )
        changes, rows = self._journal(changes)
        again: list[Spot] = []
        trouble: Cause | None = None
        done: list[tuple[Change, Written]] = []
        for change, answer in zip(changes, self._changed(changes), strict=True):
            match answer.fate:
                case Fate.DONE:
                    done.append((change, answer))
                case Fate.REFUSED:
                    self._meant.pop(change.spot.place, None)
                    self._note(change.spot, Undone.LEFT, Why.REFUSED)
                case Fate.CONFLICT:
                    self._meant.pop(change.spot.place, None)
                    again.append(change.spot)
                    trouble = self._cause(answer)
                case Fate.UNKNOWN:
                    again.append(change.spot)
                    trouble = self._cause(answer)
        lost = self._read_back(done, rows)
        if lost:
            trouble = self._cause(Written(fate=Fate.UNKNOWN, detail="not so when read back"))
        return [*again, *lost], trouble

    def _journal(self, changes: list[Change]) -> tuple[list[Change], "_Rows"]:
        """Record what will be changed, with what is there now; what may be changed.

        Nothing is put back for users who asked to be erased by this moment.
        """
        going, work = self._going, self._going.work
        going.ring.ready()
        with self._tenure.transaction() as connection:
            now = work.ledger.clock(connection)
            self._tenure.go_on(connection)
            hashes = list({change.spot.unit.work.user_hash for change in changes})
            erased = declined(connection, going.site.ids.root, hashes)
            may: list[Change] = []
            for change in changes:
                unit = change.spot.unit.work
                unit.declined |= unit.user_hash in erased
                if change.item is not None and unit.declined:
                    self._note(change.spot, Undone.LEFT, Why.DECLINED)
                else:
                    may.append(change)
            may.sort(key=lambda change: change.spot.unit.work.user)
            by_user: dict[int, list[Change]] = {
                user: list(some)
                for user, some in groupby(may, key=lambda change: change.spot.unit.work.user)
            }
            rows = [
                self._row(some[0].spot.unit, [self._intent_of(change) for change in some])
                for some in by_user.values()
            ]
            numbers = outcomes.record_intents(connection, going.held, rows, now=now) if rows else []
        found: _Rows = {}
        for number, some in zip(numbers, by_user.values(), strict=True):
            found[number] = some
            for index, change in enumerate(some):
                self._meant[change.spot.place] = replace(change.step, row=number, index=index)
        return may, found

    def _row(self, unit: Trailed, intents: Sequence[Intent]) -> JournalRow:
        return JournalRow(
            user=unit.work.user,
            user_hash=unit.work.user_hash,
            place=self._going.place,
            sealed=seal_intents(self._going.ring, unit.work.user_hash, intents),
        )

    def _intent_of(self, change: Change) -> Intent:
        live = change.there.live
        return _intent(
            change.step,
            change.spot.place.ref,
            self._undoing,
            before=None if live is None else Before.of(live),
            dated=change.dated,
            proves=False,
        )

    @property
    def _undoing(self) -> Undoing:
        return Undoing.REDONE if self._going.redoes else Undoing.UNDONE

    def _changed(self, changes: Sequence[Change]) -> list[Written]:
        """Hand the changes to the target, and note how long it took; answers in their order."""
        going = self._going
        began = going.work.monotonic()
        answers: dict[Place, Written] = {}
        removed = [change for change in changes if change.item is None]
        written = [change for change in changes if change.item is not None]
        if removed:
            found = going.target.remove(going.name, [_removal(change) for change in removed])
            answers.update(zip((change.spot.place for change in removed), found, strict=True))
        if written:
            found = going.target.write(going.name, [_write(change) for change in written])
            answers.update(zip((change.spot.place for change in written), found, strict=True))
        so_far = self._tenure.answers
        self._tenure.answers = replace(
            so_far,
            writes=so_far.writes + len(changes),
            spent_ms=so_far.spent_ms + int((going.work.monotonic() - began) * 1000),
        )
        return [answers[change.spot.place] for change in changes]

    def _read_back(self, done: Sequence[tuple[Change, Written]], rows: "_Rows") -> list[Spot]:
        """Count what is so when it is read back; what is not is looked at again."""
        going = self._going
        found = going.target.fetch(going.name, [change.spot.place for change, _ in done])
        lost: list[Spot] = []
        proven: dict[Place, str] = {}
        for (change, answer), live in zip(done, found, strict=True):
            spot = change.spot
            image = None if live is None else going.image(spot, live)
            if change.step.leads_to(image):
                left = answer.version if change.item is None else ""
                proven[spot.place] = left
                self._meant[spot.place] = replace(self._meant[spot.place], verified=True, left=left)
                self._note(spot, change.undone)
            else:
                lost.append(spot)
        self._went_on |= bool(proven)
        self._mark(proven, rows)
        return lost

    def _mark(self, proven: dict[Place, str], rows: "_Rows") -> None:
        """A row all of which holds is marked; of others what holds is added, and tombstones are."""
        for number, changes in rows.items():
            held = [change for change in changes if change.spot.place in proven]
            if len(held) == len(changes) and not any(proven[one.spot.place] for one in held):
                self._tenure.verified.append(number)
            elif held:
                self._prove(
                    held[0].spot.unit,
                    [
                        _intent(
                            change.step,
                            change.spot.place.ref,
                            self._undoing,
                            left=proven[change.spot.place],
                        )
                        for change in held
                    ],
                )

    def _prove(self, unit: Trailed, intents: Sequence[Intent]) -> None:
        """Add to the journal that these changes were read back."""
        row = self._row(unit, intents)
        with self._tenure.transaction() as connection:
            now = self._going.work.ledger.clock(connection)
            outcomes.record_intents(connection, self._going.held, [row], now=now, verified=True)

    # Accounting ---------------------------------------------------------------------------------

    def _note(self, spot: Spot, finding: Undone, why: Why | None = None) -> None:
        unit = spot.unit
        self._found[unit.work.user][finding] += 1
        note = note_of(finding, over=False)
        unit.work.lines.append(
            Line(
                ident=spot.trail.last.ident,
                outcome=outcome_of(finding),
                note=note or "",
                reason=why or finding,
            )
        )
        self._count(unit)

    def _count(self, unit: Trailed) -> None:
        unit.pending -= 1
        if not unit.pending:
            self._end(unit)

    def _end(self, unit: Trailed) -> None:
        if unit.work.trouble is not None:
            self._tenure.results.append(self._going.failed(unit, unit.work.trouble))
            return
        self._went_on = True
        self._tenure.results.append(
            UnitResult(
                user=unit.work.user,
                state=UnitState.SETTLED,
                books=books_of(self._found[unit.work.user]),
                account=unit.work.account(),
            )
        )

    def _cause(self, answer: Written) -> Cause:
        said = answer.detail or (
            "the item went on changing while it was being undone"
            if answer.fate is Fate.CONFLICT
            else "the answer to a change was lost"
        )
        kind = self._going.site.plan.targets[self._going.phase.to].kind
        return cause_of(Unavailable(said), category=self._going.name, kind=kind)


_Rows = dict[int, list[Change]]
"""Journal rows and what they are about."""


def _step_of(step: Step, there: There, *, after: bytes | None) -> Step:
    """A step of this undo: from what is there to `after`; what it is about, as before."""
    return replace(step, after=after, before=there.image, verified=False, left="", row=0, index=0)


def _intent(
    step: Step,
    ref: str,
    undoing: Undoing,
    *,
    before: Before | None = None,
    dated: datetime | None = None,
    left: str = "",
    proves: bool = True,
) -> Intent:
    return Intent(
        ident=step.ident,
        ref=ref,
        digest=step.after or b"",
        note=step.note,
        before=before,
        media=step.media,
        undoing=undoing,
        left=left,
        proves=proves,
        outcome=step.outcome,
        origins=step.origins,
        dated=dated,
    )


def _removal(change: Change) -> Removal:
    live, place = change.there.live, change.spot.place
    version = "" if live is None else live.entry.version
    return Removal(owner=place.owner, ref=place.ref, expected=version)


def _write(change: Change) -> Write:
    """Over exactly what is there: a live item, a tombstone, or nothing."""
    assert change.item is not None  # noqa: S101  removals go another way
    live, place = change.there.live, change.spot.place
    expected = change.there.tombstone if live is None else live.entry.version
    return Write(owner=place.owner, item=change.item, ref=place.ref, expected=expected)


def _out_of_sight(unit: Trailed) -> Counter[Drift | Undone]:
    """Places whose collection is not there any more, and rows whose keys were erased."""
    found = Counter[Drift | Undone]()
    if unit.elsewhere:
        found[Undone.ALREADY] = len(unit.elsewhere)
    if unit.unreadable:
        found[Undone.LEFT] = unit.unreadable
    return found
