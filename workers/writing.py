"""Carries out what was decided: pre-images, journal, write, read back.

The journal is committed before the first byte is written, for users who may still be restored at
that moment. Not guaranteed: that a write which the target acknowledged, and lost after it was read
back, is noticed before `verify` asks again.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from itertools import groupby
from typing import Final

from msgspec.structs import replace

from orchestrator.causes import Cause, cause_of
from orchestrator.errors import Unavailable
from orchestrator.items import Attachment
from orchestrator.ledger import outcomes
from orchestrator.ledger.outcomes import JournalRow
from orchestrator.ports import Fate, Live, Place, Write, Written
from orchestrator.reasons import Reason
from orchestrator.reconcile import Hand, followed
from workers.assignment import Assignment, declined
from workers.deciding import Open, Planned, left_out
from workers.journal import Before, Intent, seal_intents
from workers.pace import Stride, Throttle
from workers.tenure import Tenure
from workers.workplace import Workplace

A_MOMENT: Final = 0.25
"""Seconds until what was read back otherwise than it was written is read again."""


class Writing:
    """Writes for one batch; raises `Stopped`, `LeaseLost` and what the target raises."""

    def __init__(
        self, work: Workplace, task: Assignment, tenure: Tenure, throttle: Throttle
    ) -> None:
        self._work = work
        self._task = task
        self._tenure = tenure
        self._throttle = throttle
        self._writes = Stride(work, tenure.beat)
        self._reads = Stride(work, tenure.beat)
        self.proved = False
        """Something was written and read back."""

    def carry_out(self, planned: list[Planned]) -> tuple[list[Open], Cause | None]:
        """Journal, write and verify; what has to be looked at again, and why."""
        if not planned:
            return [], None
        self._throttle.wait(
            items=len(planned),
            size=sum(plan.write.item.size for plan in planned),
            beat=self._tenure.beat,
        )
        planned, befores = self._with_pre_images(planned)
        planned, rows = self._journal(planned, befores)
        again: list[Open] = [one for one in befores.vanished if not left_out(one)]
        trouble: Cause | None = self.conflict() if again else None
        if not planned:
            return again, trouble
        done: list[tuple[Planned, str]] = []
        for plan, answer in zip(planned, self._written(planned), strict=True):
            match answer.fate:
                case Fate.DONE:
                    done.append((plan, answer.version))
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
            trouble = self._cause(
                Written(fate=Fate.UNKNOWN, detail="it was gone or another one when read back")
            )
        return [*again, *lost], trouble

    def _written(self, planned: Sequence[Planned]) -> Sequence[Written]:
        """Hand the writes to the target, and note how long it took."""
        began = self._work.monotonic()
        answers: list[Written] = []
        for some in self._writes.portions([plan.write for plan in planned]):
            answers.extend(self._task.target.write(self._task.phase.restore, some))
        so_far = self._tenure.answers
        self._tenure.answers = replace(
            so_far,
            writes=so_far.writes + len(planned),
            spent_ms=so_far.spent_ms + int((self._work.monotonic() - began) * 1000),
        )
        return answers

    def _fetched(self, planned: Sequence[Planned]) -> list[Live | None]:
        """What is at the places of these writes now."""
        places = [Place(owner=plan.write.owner, ref=plan.write.ref) for plan in planned]
        found: list[Live | None] = []
        for some in self._reads.portions(places):
            found.extend(self._task.target.fetch(self._task.phase.restore, some))
        return found

    # Before -------------------------------------------------------------------------------------

    def _with_pre_images(self, planned: list[Planned]) -> tuple[list[Planned], "_Befores"]:
        """Fetch what is about to be replaced; what changed meanwhile is looked at again."""
        befores = _Befores()
        replaced: list[Planned] = []
        kept: list[Planned] = []
        for plan in planned:
            if plan.before is not None:
                befores.images[id(plan)] = plan.before
            (replaced if plan.overwrites and plan.before is None else kept).append(plan)
        if not replaced:
            return kept, befores
        found = self._fetched(replaced)
        for plan, live in zip(replaced, found, strict=True):
            if live is None or live.entry.version != plan.write.expected:
                befores.vanished.append(plan.open)
                continue
            befores.images[id(plan)] = Before.of(live)
            kept.append(plan)
        return kept, befores

    def _journal(
        self, planned: list[Planned], befores: "_Befores"
    ) -> tuple[list[Planned], dict[int, tuple[int, list[Intent]]]]:
        """Record what will be written, for users who may still be restored at this moment.

        Returns what may be written, and by user the row and its intents.
        """
        task, work = self._task, self._work
        task.ring.ready()
        with self._tenure.transaction() as connection:
            now = work.ledger.clock(connection)
            self._tenure.go_on(connection)
            hashes = {plan.open.unit.user_hash for plan in planned}
            erased = declined(connection, task.held.run, list(hashes))
            if erased:
                planned = _without(erased, planned)
            planned.sort(key=_user)
            by_user: dict[int, list[Intent]] = {}
            rows: list[JournalRow] = []
            for user, plans in groupby(planned, key=_user):
                listed = list(plans)
                by_user[user] = [_intent(plan, befores) for plan in listed]
                user_hash = listed[0].open.unit.user_hash
                rows.append(
                    JournalRow(
                        user=user,
                        user_hash=user_hash,
                        place=task.place,
                        sealed=seal_intents(task.ring, user_hash, by_user[user]),
                    )
                )
            numbers = outcomes.record_intents(connection, task.held, rows, now=now) if rows else []
        for plan in planned:
            hand = Hand(
                digest=plan.write.item.digest,
                verified=False,
                outcome=plan.outcome,
                note=plan.note,
                ref=plan.write.ref,
                origins=plan.origins,
                over=plan.overwrites,
            )
            hand = followed(plan.hand, hand)
            plan.open.unit.hands.put(plan.open.winner.copy.item.ident, hand)
        return planned, {
            user: (number, by_user[user]) for user, number in zip(by_user, numbers, strict=True)
        }

    # After --------------------------------------------------------------------------------------

    def _verify(
        self, done: list[tuple[Planned, str]], rows: dict[int, tuple[int, list[Intent]]]
    ) -> list[Open]:
        """Read back what was written in which version.

        What is not there any more is looked at again, and so is what somebody changed in between:
        by its version it is not what we wrote.
        """
        found = self._read_back([plan for plan, _ in done])
        lost: list[Open] = []
        proven: dict[int, set[str]] = {}
        for (plan, version), (live, equal) in zip(done, found, strict=True):
            if live is None or live.entry.version == plan.write.expected:
                lost.append(plan.open)  # gone, or again what it was: the write did not last
            elif equal:
                unit = plan.open.unit
                plan.note_as_done()
                proven.setdefault(unit.user, set()).add(plan.open.winner.copy.item.ident)
            elif version and live.entry.version != version:
                lost.append(plan.open)
            else:
                self._quarantine(plan, Reason.ALTERED, "read back with other content")
        self._mark_verified(proven, rows)
        return lost

    def _read_back(self, planned: Sequence[Planned]) -> list[tuple[Live | None, bool]]:
        """What is there, and whether it is what was written; if not, it is read once more.

        Some stores answer before the last bytes can be read: rclone's S3 showed 126,976 of
        139,698, of some 7 in 28,000 pictures on a busy machine.
        """
        found = self._compared(planned)
        doubtful = [number for number, (live, equal) in enumerate(found) if live and not equal]
        if doubtful:
            self._work.sleep(A_MOMENT)
            again = self._compared([planned[number] for number in doubtful])
            for number, one in zip(doubtful, again, strict=True):
                found[number] = one
        return found

    def _compared(self, planned: Sequence[Planned]) -> list[tuple[Live | None, bool]]:
        return [
            (live, live is not None and self._equal(plan.write, live))
            for plan, live in zip(planned, self._fetched(planned), strict=True)
        ]

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
        self.proved |= bool(proven)
        partly: list[JournalRow] = []
        hashes = {unit.user: unit.user_hash for unit in self._task.units}
        for user, (number, intents) in rows.items():
            held = [intent for intent in intents if intent.ident in proven.get(user, ())]
            if len(held) == len(intents):
                self._tenure.verified.append(number)
            elif held:
                partly.append(
                    JournalRow(
                        user=user,
                        user_hash=hashes[user],
                        place=self._task.place,
                        sealed=seal_intents(self._task.ring, hashes[user], held),
                    )
                )
        if partly:
            with self._tenure.transaction() as connection:
                now = self._work.ledger.clock(connection)
                self._tenure.verified.extend(
                    outcomes.record_intents(connection, self._task.held, partly, now=now)
                )

    def _quarantine(self, plan: Planned, reason: Reason, detail: str) -> None:
        plan.open.unit.keep_refused(plan.open.winner.copy, plan.open.winner.source, reason, detail)

    def conflict(self) -> Cause:
        """Why something is looked at again: it was no longer what it had been."""
        return self._cause(Written(fate=Fate.CONFLICT))

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


class _Befores:
    """Pre-images of what is about to be replaced, and items whose live side changed meanwhile."""

    def __init__(self) -> None:
        self.images: dict[int, Before] = {}
        self.vanished: list[Open] = []


def _user(plan: Planned) -> int:
    return plan.open.unit.user


def _without(erased: AbstractSet[bytes], planned: Sequence[Planned]) -> list[Planned]:
    """Those of users who may still be restored; the others' items are accounted for."""
    for plan in planned:
        if plan.open.unit.user_hash in erased:
            plan.open.unit.declined = True
            left_out(plan.open)
    return [plan for plan in planned if not plan.open.unit.declined]


def _intent(plan: Planned, befores: _Befores) -> Intent:
    item = plan.write.item
    return Intent(
        ident=plan.open.winner.copy.item.ident,
        ref=plan.write.ref,
        digest=item.digest,
        note=plan.note or "",
        before=befores.images.get(id(plan)) if befores.images else None,
        media=(item.media.suffix, item.media.mime),
        outcome=plan.outcome,
        origins=plan.origins,
    )


def _take_back(plan: Planned) -> None:
    """A write did not happen: by our hand is only what was before."""
    hands, ident = plan.open.unit.hands, plan.open.winner.copy.item.ident
    if plan.hand is None:
        hands.pop(ident)
    else:
        hands.put(ident, plan.hand)


def _same(one: Sequence[Attachment], other: Sequence[Attachment]) -> bool:
    if not one and not other:
        return True
    return {part.name: part.data for part in one} == {part.name: part.data for part in other}
