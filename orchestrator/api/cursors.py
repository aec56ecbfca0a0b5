"""Cursors: where the next page of a list begins. Signed, so that nobody makes them up.

A cursor is bound to the list that it continues: same address, same run, same query.
"""

import base64
import binascii
import hmac
import json
from http import HTTPStatus
from typing import Any

from orchestrator.api.problems import Declined
from orchestrator.sealing import Sealer

_MAC = 16
LONGEST = 1000
_FIRST = "c"
"""How each begins: on a command line, what begins with a hyphen would be an option."""


def cursor(sealer: Sealer, which: str, place: Any) -> str:
    """A cursor to `place`, any JSON value, in the list `which`."""
    data = json.dumps(place, separators=(",", ":")).encode()
    coded = base64.urlsafe_b64encode(_mac(sealer, which, data) + data).decode().rstrip("=")
    return _FIRST + coded


def place_of(sealer: Sealer, which: str, text: str | None) -> Any:
    """The place that a cursor leads to; None for no cursor. Refuses what we did not make."""
    if text is None:
        return None
    coded = text.removeprefix(_FIRST)
    try:
        raw = base64.b64decode(coded + "=" * (-len(coded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if coded == text:
        raw = b""
    mac, data = raw[:_MAC], raw[_MAC:]
    if not hmac.compare_digest(mac, _mac(sealer, which, data)):
        raise Declined(
            HTTPStatus.BAD_REQUEST,
            "cursor",
            "this cursor was not given out for this list",
            hint="begin at the first page, without a cursor",
        )
    return json.loads(data)


def unit_place(sealer: Sealer, which: str, text: str | None) -> tuple[int, int]:
    """The user and phase that a cursor leads to; before all of them for no cursor."""
    user, phase = place_of(sealer, which, text) or (-1, -1)
    return user, phase


def _mac(sealer: Sealer, which: str, data: bytes) -> bytes:
    return sealer.sign(b"cursor", which.encode() + b"\0" + data)[:_MAC]
