"""One signed request to a webhook: to the address that was looked at, bounded, never redirected.

Of the answer only the status and when to come again are taken; its body is not even read.
"""

import asyncio
import base64
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus

import httpx
from cloudevents.core.bindings.http import to_structured_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from msgspec import Struct
from standardwebhooks.webhooks import Webhook

from orchestrator import VERSION
from orchestrator.ledger.outbox import Held
from orchestrator.notices import DeliveryEnd, sentence
from workers.notifying.addresses import Destination

SECONDS = 10.0
"""From connecting to the answer's headers, over all of it."""
LONGEST_WAIT_MS = 6 * 3600 * 1000


class Came(Struct, frozen=True, kw_only=True):
    """What came of an attempt."""

    end: DeliveryEnd
    status: int | None = None
    retry_in_ms: int = 0


SECRET_BYTES = 24
"""At least, as Standard Webhooks asks."""


class BadSecret(Exception):
    """What shall sign is no secret of Standard Webhooks."""


def signing(secret: str) -> Webhook:
    """What signs with this secret: `whsec_` and at least 24 bytes in base64. Raises `BadSecret`."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        raise BadSecret from None
    if len(key) < SECRET_BYTES:
        raise BadSecret
    return Webhook(key)


def event_of(held: Held) -> CloudEvent:
    """The notice as a CloudEvent; its id is the same on every attempt."""
    return CloudEvent(
        {
            "specversion": "1.0",
            "id": held.notice,
            "source": f"urn:reinstate:run:{held.run}",
            "type": f"reinstate.{held.kind}",
            "subject": held.run,
            "time": datetime.fromtimestamp(held.at / 1000, UTC),
            "datacontenttype": "application/json",
        },
        {**held.data, "sentence": sentence(held.kind, held.data)},
    )


def signed(held: Held, *, secret: str, now: datetime) -> tuple[dict[str, str], bytes]:
    """Headers and body. Raises `BadSecret`."""
    signer = signing(secret)
    message = to_structured_event(event_of(held), JSONFormat())
    signature = signer.sign(held.notice, now.astimezone(UTC), message.body.decode())
    headers = {
        **dict(message.headers),
        "webhook-id": held.notice,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signature,
        "user-agent": f"reinstate/{VERSION}",
        "accept-encoding": "identity",
    }
    return headers, message.body


def call(
    to: Destination,
    headers: Mapping[str, str],
    body: bytes,
    *,
    seconds: float = SECONDS,
    trust: ssl.SSLContext | None = None,
) -> Came:
    """Ask once. `trust`: which certificates are believed; None: those that the system believes."""
    return asyncio.run(_call(to, headers, body, seconds, trust or ssl.create_default_context()))


async def _call(
    to: Destination, headers: Mapping[str, str], body: bytes, seconds: float, trust: ssl.SSLContext
) -> Came:
    try:
        async with (
            asyncio.timeout(seconds),
            httpx.AsyncClient(
                verify=trust, follow_redirects=False, trust_env=False, timeout=seconds
            ) as client,
            client.stream(
                "POST",
                to.pinned,
                headers={**headers, "host": to.host_header},
                content=body,
                extensions={"sni_hostname": to.host},
            ) as response,
        ):
            return _came(response.status_code, response.headers.get("retry-after", ""))
    except (TimeoutError, httpx.TimeoutException):
        return Came(end=DeliveryEnd.TOO_SLOW)
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError):
        return Came(end=DeliveryEnd.UNREACHABLE)


def _came(status: int, retry_after: str) -> Came:
    wait = int(retry_after) * 1000 if retry_after.isdecimal() and len(retry_after) < 7 else 0  # noqa: PLR2004
    match status:
        case HTTPStatus.GONE:
            end = DeliveryEnd.GONE
        case _ if 200 <= status < 300:  # noqa: PLR2004
            end = DeliveryEnd.DELIVERED
        case _ if 300 <= status < 400:  # noqa: PLR2004
            end = DeliveryEnd.REDIRECT
        case _:
            end = DeliveryEnd.DECLINED
    return Came(end=end, status=status, retry_in_ms=min(wait, LONGEST_WAIT_MS))
