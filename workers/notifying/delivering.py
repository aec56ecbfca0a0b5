"""One attempt of one delivery: claim it, tell whom it is for, note what came of it.

The secrets are the worker's, as all are. A worker that is killed in the middle has told nobody, or
has, and is followed by another attempt with the same id.
"""

from orchestrator.errors import Unavailable
from orchestrator.ledger import outbox
from orchestrator.ledger.outbox import Held, Knock
from orchestrator.logs import get_logger
from orchestrator.notices import Channel, DeliveryEnd
from workers.notifying.addresses import Forbidden, destination
from workers.notifying.calling import BadSecret, Came, call, signed
from workers.notifying.operators import tell_operators
from workers.workplace import Workplace

log = get_logger("worker")


def deliver(work: Workplace, knock: Knock) -> None:
    """Answer one knock. Where the ledger is away meanwhile, the delivery's lease lapses."""
    work.deadline(outbox.LEASE_MS / 1000)
    try:
        _deliver(work, knock)
    finally:
        work.deadline(0)


def _deliver(work: Workplace, knock: Knock) -> None:
    try:
        with work.ledger.begin() as connection:
            held = outbox.claim(connection, knock, now=work.ledger.clock(connection))
    except Unavailable:
        return
    if held is None:
        return
    began = work.monotonic()
    try:
        came = _tell(work, held)
    except Unavailable:  # the secret is not here; its name is in the plan
        came = Came(end=DeliveryEnd.SECRET_MISSING)
    took = work.monotonic() - began
    work.tally.count("reinstate_delivery_attempts_total", held.channel, came.end)
    work.tally.observe("reinstate_delivery_seconds", took, held.channel)
    work.tell(work.tally.take())
    log.info(
        "delivery_tried",
        run_id=held.run,
        kind=held.channel.value,
        outcome=came.end.value,
        attempt=held.tries,
        duration_ms=int(took * 1000),
    )
    try:
        with work.ledger.begin() as connection:
            outbox.ended(
                connection,
                held,
                came.end,
                now=work.ledger.clock(connection),
                duration_ms=int(took * 1000),
                status=came.status,
                retry_in_ms=came.retry_in_ms,
            )
    except Unavailable:
        log.warning("ledger_away", run_id=held.run)


def _tell(work: Workplace, held: Held) -> Came:
    """Raises `Unavailable` where the secret, or where the address, is not to be found here."""
    notify = held.notify
    match held.channel:
        case Channel.OPERATORS:
            return tell_operators(held, work.secret(notify.operators or ""))
        case Channel.WEBHOOK:
            url = work.secret(notify.webhook or "")
            secret = work.secret(notify.webhook_secret or "")
            try:
                headers, body = signed(held, secret=secret, now=work.clock())
                to = destination(url, trusted=work.hook_hosts)
            except Forbidden as error:
                bad = DeliveryEnd.BAD_ADDRESS if error.bad else DeliveryEnd.FORBIDDEN_ADDRESS
                return Came(end=bad)
            except BadSecret:
                return Came(end=DeliveryEnd.SECRET_MISSING)
            except OSError:
                return Came(end=DeliveryEnd.UNREACHABLE)
            return call(to, headers, body)
