"""What surrounds every answer: security headers, and one log line that names no one.

The log line has the route's template, never the address: an address may name a user.
"""

import time
from collections.abc import Mapping
from typing import Any, cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator import spans
from orchestrator.identity.roles import OWN_CALLER
from orchestrator.logs import get_logger
from orchestrator.metrics.tally import Tally

log = get_logger("api")

HEADERS: Mapping[str, str] = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
}
"""Of every answer, unless the route says otherwise. No script that is not ours, no frame."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
"""That have a name in the metrics; whatever else somebody makes up is `other`."""
SERVER_FAULT = 500
STRICT_TRANSPORT = "max-age=31536000"


class Surroundings:
    """ASGI middleware, outermost but for the server."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and look after its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        status = 500

        async def guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _guard(message, https=_is_https(scope))
            await send(message)

        try:
            await self._app(scope, receive, guarded)
        finally:
            seconds = time.perf_counter() - begun
            route = scope.get("reinstate_route", "unknown")
            method = scope["method"] if scope["method"] in METHODS else "other"
            _tally(scope).observe("reinstate_request_seconds", seconds, method, route, str(status))
            told = {"method": method, "route": route, "status": int(status)}
            spans.record("request", seconds, failed=status >= SERVER_FAULT, **told)
            if OWN_CALLER not in scope:  # a command of this machine is no traffic
                log.info(
                    "request_answered",
                    method=scope["method"],
                    route=route,
                    status=int(status),
                    duration_ms=round(seconds * 1000, 1),
                )


def _guard(message: Message, *, https: bool) -> None:
    headers: list[tuple[bytes, bytes]] = list(message.get("headers", ()))
    there = {name.lower() for name, _ in headers}
    wanted = dict(HEADERS)
    if https:
        wanted["strict-transport-security"] = STRICT_TRANSPORT
    headers += [
        (name.encode(), value.encode())
        for name, value in wanted.items()
        if name.encode() not in there
    ]
    message["headers"] = headers


def _tally(scope: Scope) -> Tally:
    return cast("Tally", scope["app"].state.installation.tally)


def _is_https(scope: Scope) -> bool:
    state: Any = scope["app"].state if "app" in scope else None
    public = state.installation.settings.url if state is not None else ""
    return scope.get("scheme") == "https" or public.startswith("https:")
