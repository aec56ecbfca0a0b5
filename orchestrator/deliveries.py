"""What became of a run's notices: every attempt, and once more for those that did not arrive."""

from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection, select

from orchestrator.errors import NotFound, Refused
from orchestrator.ledger import audit_log, outbox
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.flow import moment
from orchestrator.ledger.schema import delivery
from orchestrator.notices import DeliveryState, NoticeKind
from orchestrator.plan import Notify
from orchestrator.plan_text.document import notify_of
from orchestrator.standing.rows import row_of


class Attempt(Struct, frozen=True, kw_only=True):
    """One attempt. Of the answer only its status is known."""

    attempt: int
    at: datetime
    end: str
    status: int | None
    duration_ms: int


class Delivery(Struct, frozen=True, kw_only=True):
    """A notice on its way over one channel."""

    id: int
    notice: str
    """The same on every attempt: `webhook-id`."""
    kind: str
    happened: datetime
    channel: str
    state: str
    next_attempt: datetime | None
    """At the earliest; None: there is none."""
    attempts: list[Attempt]


class Sent(Struct, frozen=True, kw_only=True):
    """How many deliveries go out for what was asked."""

    deliveries: int


class Deliveries:
    """Shows deliveries and sends them again; `who` is the name that the audit log will show."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def page(self, run_id: str, *, before: int | None = None, limit: int = 50) -> list[Delivery]:
        """A run's deliveries, the newest first."""
        with self._ledger.read() as connection:
            rows = outbox.page(connection, run_id, before=before, limit=limit)
            attempts: dict[int, list[Attempt]] = {row.id: [] for row in rows}
            for row in outbox.attempts_of(connection, list(attempts)):
                attempts[row.delivery].append(
                    Attempt(
                        attempt=row.attempt,
                        at=moment(row.at),
                        end=row.end,
                        status=row.status,
                        duration_ms=row.duration_ms,
                    )
                )
        return [
            Delivery(
                id=row.id,
                notice=row.notice,
                kind=row.kind,
                happened=moment(row.at),
                channel=row.channel,
                state=row.state,
                next_attempt=(
                    moment(row.not_before) if row.state == DeliveryState.WAITING else None
                ),
                attempts=attempts[row.id],
            )
            for row in rows
        ]

    def send_again(self, run_id: str, number: int, *, who: str) -> Sent:
        """Let one go out once more, also one that arrived; whoever said 410 is told again."""
        with self._ledger.begin() as connection:
            found = connection.execute(
                select(delivery.c.id).where(delivery.c.id == number, delivery.c.run == run_id)
            ).one_or_none()
            if found is None:
                raise NotFound(
                    "the run has no such delivery", hint=f"reinstate deliveries {run_id}"
                )
            now = self._ledger.clock(connection)
            outbox.send_again(connection, number, now=now)
            detail = {"delivery": number}
            audit_log.append(
                connection, now=now, who=who, action="send_again", run=run_id, detail=detail
            )
        return Sent(deliveries=1)

    def try_out(self, run_id: str, *, who: str) -> Sent:
        """Tell everybody whom the plan names that this is only a test."""
        with self._ledger.begin() as connection:
            notify = _notify(connection, run_id)
            if notify == Notify():
                raise Refused(
                    "the run's plan names nobody to tell",
                    hint="notify: {webhook: {url: env:HOOK_URL, secret: env:HOOK_SECRET}}",
                )
            now = self._ledger.clock(connection)
            outbox.tell(connection, run_id, NoticeKind.TEST, now=now)
            audit_log.append(
                connection, now=now, who=who, action="try_out_notices", run=run_id, detail={}
            )
        return Sent(deliveries=sum(one is not None for one in (notify.webhook, notify.operators)))


def _notify(connection: Connection, run_id: str) -> Notify:
    row = row_of(connection, run_id)
    return Notify() if row.purpose in outbox.UNHEARD else notify_of(row.plan)
