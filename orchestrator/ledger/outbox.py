"""Notices, kept in the transaction of what they tell, and handed out like batches.

At least once: a notice that was committed is delivered after all, whoever is killed; it can arrive
twice, and has the same id then. In no order: each has its time in it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import (
    BigInteger,
    Connection,
    Integer,
    Row,
    bindparam,
    exists,
    func,
    insert,
    select,
    text,
    update,
)

from orchestrator.ledger.database import insert_missing, upsert
from orchestrator.ledger.schema import UNDELIVERED, delivery, delivery_attempt, notice, run
from orchestrator.notices import (
    ATTEMPTS,
    Channel,
    DeliveryEnd,
    DeliveryState,
    NoticeKind,
    notice_id,
    wait_ms,
)
from orchestrator.plan import Notify
from orchestrator.plan_text.document import notify_of

LEASE_MS = 60_000
"""Longer than an attempt may take, with its names looked up."""
AT_ONCE = 16
UNHEARD = frozenset({"preview"})
"""Purposes of runs that nobody is told about."""


class Knock(Struct, frozen=True, kw_only=True):
    """What the broker carries: nothing but two numbers."""

    delivery: int
    epoch: int


class Held(Struct, frozen=True, kw_only=True):
    """A delivery that is ours for one attempt."""

    id: int
    epoch: int
    run: str
    channel: Channel
    attempts: int
    tries: int
    notice: str
    kind: NoticeKind
    at: int
    data: dict[str, Any]
    notify: Notify


def tell(
    connection: Connection,
    run_id: str,
    kind: NoticeKind,
    *,
    now: int,
    subject: str | None = None,
    data: Mapping[str, object] | None = None,
) -> None:
    """Keep a notice for whoever the run's plan names; nothing where that is nobody.

    `subject` tells it from others of its kind, and the same is kept once; None: its time does.
    """
    about = connection.execute(
        select(run.c.name, run.c.purpose, run.c.plan).where(run.c.id == run_id)
    ).one()
    if about.purpose in UNHEARD:
        return
    notify = notify_of(about.plan)
    named = (
        (Channel.WEBHOOK, notify.webhook),
        (Channel.OPERATORS, notify.operators),
    )
    channels = [channel for channel, address in named if address is not None]
    if not channels:
        return
    number = notice_id(run_id, kind, str(now) if subject is None else subject)
    if connection.execute(select(notice.c.id).where(notice.c.id == number)).first() is not None:
        return
    said = {"run": run_id, "plan": about.name, "purpose": about.purpose, **(data or {})}
    row = {"id": number, "run": run_id, "kind": kind, "at": now}
    insert_missing(connection, notice, [{**row, "data": msgspec.json.encode(said).decode()}])
    for channel in channels:
        gone = exists().where(
            delivery.c.run == run_id,
            delivery.c.channel == channel,
            delivery.c.state == DeliveryState.GONE,
        )
        is_gone = connection.execute(select(gone)).scalar_one()
        connection.execute(
            insert(delivery).values(
                run=run_id,
                notice=number,
                channel=channel,
                state=DeliveryState.GONE if is_gone else DeliveryState.WAITING,
                not_before=now,
            )
        )


def due(connection: Connection, *, now: int, most: int = AT_ONCE) -> list[Knock]:
    """Lease what is due to whoever comes for it; publish these after the commit."""
    numbers = list(connection.execute(_DUE, {"by_now": now, "most": most}).scalars())
    if not numbers:
        return []
    rows = connection.execute(
        update(delivery)
        .where(delivery.c.id.in_(numbers))
        .values(epoch=delivery.c.epoch + 1, lease_until=now + LEASE_MS)
        .returning(delivery.c.id, delivery.c.epoch)
    )
    return [Knock(delivery=row.id, epoch=row.epoch) for row in rows]


_BY_NOW = bindparam("by_now", type_=BigInteger)
_DUE = (
    select(delivery.c.id)
    .where(text(UNDELIVERED), delivery.c.not_before <= _BY_NOW, delivery.c.lease_until < _BY_NOW)
    .order_by(delivery.c.not_before)
    .limit(bindparam("most", type_=Integer))
)


def claim(connection: Connection, knock: Knock, *, now: int) -> Held | None:
    """The delivery, ours for one attempt, which counts from here on; None: somebody else's."""
    row = connection.execute(
        update(delivery)
        .where(*_held(knock.delivery, knock.epoch))
        .values(
            attempts=delivery.c.attempts + 1,
            tries=delivery.c.tries + 1,
            epoch=delivery.c.epoch + 1,
            lease_until=now + LEASE_MS,
        )
        .returning(delivery)
    ).one_or_none()
    if row is None:
        return None
    told = connection.execute(select(notice).where(notice.c.id == row.notice)).one()
    plan = connection.execute(select(run.c.plan).where(run.c.id == row.run)).scalar_one()
    begun = {"delivery": row.id, "attempt": row.tries, "at": now, "duration_ms": 0}
    cut_off = {**begun, "end": DeliveryEnd.CUT_OFF, "status": None}
    insert_missing(connection, delivery_attempt, [cut_off])
    return Held(
        id=row.id,
        epoch=row.epoch,
        run=row.run,
        channel=Channel(row.channel),
        attempts=row.attempts,
        tries=row.tries,
        notice=row.notice,
        kind=NoticeKind(told.kind),
        at=told.at,
        data=msgspec.json.decode(told.data),
        notify=notify_of(plan),
    )


def ended(
    connection: Connection,
    held: Held,
    end: DeliveryEnd,
    *,
    now: int,
    duration_ms: int,
    status: int | None = None,
    retry_in_ms: int = 0,
) -> None:
    """Note what came of an attempt, and when the next one is due; nothing where it is not ours."""
    match end:
        case DeliveryEnd.DELIVERED:
            state = DeliveryState.DELIVERED
        case DeliveryEnd.GONE:
            state = DeliveryState.GONE
        case _ if held.attempts >= ATTEMPTS:
            state = DeliveryState.FAILED
        case _:
            state = DeliveryState.WAITING
    wait = max(retry_in_ms, wait_ms(held.id, held.attempts))
    changed = connection.execute(
        update(delivery)
        .where(*_held(held.id, held.epoch))
        .values(state=state, lease_until=0, not_before=now + wait)
    ).rowcount
    row = {"delivery": held.id, "attempt": held.tries, "at": now, "end": end, "status": status}
    upsert(connection, delivery_attempt, [{**row, "duration_ms": duration_ms}])
    if changed and state is DeliveryState.GONE:
        connection.execute(
            update(delivery)
            .where(
                delivery.c.run == held.run,
                delivery.c.channel == held.channel,
                delivery.c.state == DeliveryState.WAITING,
            )
            .values(state=DeliveryState.GONE)
        )


def _held(number: int, epoch: int) -> tuple[Any, ...]:
    return (
        delivery.c.id == number,
        delivery.c.epoch == epoch,
        delivery.c.state == DeliveryState.WAITING,
    )


def send_again(connection: Connection, number: int, *, now: int) -> None:
    """Let a delivery go out once more, its attempts counted anew; its channel is open again."""
    about = connection.execute(
        select(delivery.c.run, delivery.c.channel).where(delivery.c.id == number)
    ).one()
    connection.execute(
        update(delivery)
        .where(
            delivery.c.run == about.run,
            delivery.c.channel == about.channel,
            delivery.c.state == DeliveryState.GONE,
        )
        .values(state=DeliveryState.FAILED)
    )
    connection.execute(
        update(delivery)
        .where(delivery.c.id == number)
        .values(
            state=DeliveryState.WAITING,
            attempts=0,
            epoch=delivery.c.epoch + 1,
            not_before=now,
            lease_until=0,
        )
    )


def page(
    connection: Connection, run_id: str, *, before: int | None = None, limit: int = 50
) -> Sequence[Row[Any, Any, Any, Any, Any, Any, Any, Any]]:
    """A run's deliveries with what they tell, the newest first."""
    chosen = (
        select(
            delivery.c.id,
            delivery.c.notice,
            delivery.c.channel,
            delivery.c.state,
            delivery.c.tries,
            delivery.c.not_before,
            notice.c.kind,
            notice.c.at,
        )
        .join(notice, notice.c.id == delivery.c.notice)
        .where(delivery.c.run == run_id)
    )
    if before is not None:
        chosen = chosen.where(delivery.c.id < before)
    return connection.execute(chosen.order_by(delivery.c.id.desc()).limit(limit)).all()


def attempts_of(connection: Connection, numbers: Sequence[int]) -> Sequence[Row[Any]]:
    """Every attempt of these deliveries, in order."""
    return connection.execute(
        select(delivery_attempt)
        .where(delivery_attempt.c.delivery.in_(numbers))
        .order_by(delivery_attempt.c.delivery, delivery_attempt.c.attempt)
    ).all()


def waiting(connection: Connection) -> tuple[int, int | None]:
    """How many deliveries still have to arrive, and since when the oldest is due."""
    row = connection.execute(
        select(func.count(), func.min(notice.c.at))
        .select_from(delivery)
        .join(notice, notice.c.id == delivery.c.notice)
        .where(text("delivery.state = 'waiting'"))
    ).one()
    return row[0], row[1]
