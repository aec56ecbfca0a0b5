"""What happens around every route: who asks, may they, is the body bounded, was it asked before.

In this order, and nothing of a route runs before all of it: access table, identity, role, origin of
a browser's request, body, Idempotency-Key.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from http import HTTPStatus
from typing import Annotated, Any, cast
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from orchestrator.api.access import ROUTES, Access, may
from orchestrator.api.idempotency import LONGEST_KEY, Kept, Verdict, fingerprint
from orchestrator.api.installation import Installation, installation
from orchestrator.api.problems import Declined
from orchestrator.api.strict_json import parse
from orchestrator.identity.roles import OWN_CALLER, Caller
from orchestrator.identity.sessions import Begun

COOKIE = "reinstate_session"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
LARGEST_BODY = 2 * 1024 * 1024
LARGEST_WITH_FILES = 64 * 1024 * 1024
"""Of requests that carry lists of users or mended copies."""
BODY_SECONDS = 30.0
REPLAYED = "Idempotency-Replayed"

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class StrictRequest(Request):
    """A request whose body was read already, bounded, and whose JSON is read strictly."""

    given: bytes = b""

    async def body(self) -> bytes:
        """What was read."""
        return self.given

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The same, for readers of forms."""
        yield self.given
        yield b""

    async def json(self) -> Any:
        """The value; refuses what JSON readers understand differently."""
        return parse(self.given)


class GatedRoute(APIRoute):
    """The class of every route of ours: `APIRouter(route_class=GatedRoute)`."""

    largest_body = LARGEST_BODY

    def get_route_handler(self) -> Handler:
        """The route behind the gate."""
        inner = super().get_route_handler()
        path = self.path_format

        async def handle(request: Request) -> Response:
            method = "GET" if request.method == "HEAD" else request.method
            access = ROUTES.get(f"{method} {path}")
            request.scope["reinstate_route"] = path
            if access is None:
                raise Declined(
                    HTTPStatus.INTERNAL_SERVER_ERROR, "unlisted", "nobody may use this address yet"
                )
            asked = installation(request)
            caller, renewed = await _authorised(request, asked, access)
            request.state.caller = caller
            response = await self._answer(request, asked, access, inner)
            if renewed is not None:
                set_cookie(response, request, renewed)
            return response

        return handle

    async def _answer(
        self, request: Request, asked: Installation, access: Access, inner: Handler
    ) -> Response:
        strict = StrictRequest(request.scope, request.receive)
        if any("\0" in str(value) for value in request.path_params.values()):
            raise _malformed("a zero byte in the address")
        if request.method in SAFE:
            return await inner(strict)
        body = await _bounded(request, self.largest_body)
        strict.given = body
        if body and request.url.path.startswith("/api/") and not _is_json(request):
            raise Declined(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                "media-type",
                "the body has to be JSON",
                hint="Content-Type: application/json",
            )
        if request.method != "POST" or access.scope is None:
            return await inner(strict)
        return await _once(strict, asked, access, body, inner)


# Who asks -----------------------------------------------------------------------------------------


def caller(request: Request) -> Caller:
    """Whoever asks; on a public route there is nobody."""
    found = cast("Caller | None", request.state.caller)
    if found is None:
        raise _unknown()
    return found


Who = Annotated[Caller, Depends(caller)]
"""What a route takes as an argument to know who asks."""


async def _authorised(
    request: Request, asked: Installation, access: Access
) -> tuple[Caller | None, Begun | None]:
    if access.scope is None:
        return None, None
    found, renewed = request.scope.get(OWN_CALLER), None
    if found is None:
        found = asked.recent.caller(_secret(request))
    if found is None:
        found, renewed = await run_in_threadpool(identify, request, asked)
        if found is not None and renewed is None:
            asked.recent.remember(_secret(request), found)
    if found is None:
        raise _unknown()
    if found.session and request.method not in SAFE and not same_origin(request):
        raise Declined(
            HTTPStatus.FORBIDDEN,
            "cross-site",
            "a browser sent this for another site",
            hint="use the pages of this site, or a token",
        )
    if not may(found, access):
        raise Declined(
            HTTPStatus.FORBIDDEN,
            "forbidden",
            f"this needs the right '{access.scope}'",
            hint="ask an administrator for a token that has it",
        )
    return found, renewed


def identify(request: Request, asked: Installation) -> tuple[Caller | None, Begun | None]:
    """Whoever the request's token or session is of, and the session's new secret, if it has one."""
    header = request.headers.get("authorization")
    if header is not None:
        kind, _, text = header.partition(" ")
        if kind.lower() != "bearer":
            return None, None
        return asked.tokens.find(text.strip()), None
    secret = request.cookies.get(COOKIE)
    found = asked.sessions.find(secret) if secret else None
    return found or (None, None)


def _secret(request: Request) -> str:
    """What shows who asks, as it came."""
    header = request.headers.get("authorization")
    return f"session {request.cookies.get(COOKIE)}" if header is None else header


def _unknown() -> Declined:
    return Declined(
        HTTPStatus.UNAUTHORIZED,
        "unknown-caller",
        "there is no token, or none that is valid",
        hint="Authorization: Bearer rst_…",
        headers={"WWW-Authenticate": "Bearer"},
    )


def same_origin(request: Request) -> bool:
    """Whether a browser sent this from one of our own pages. Without a sign of it: no."""
    fetched = request.headers.get("sec-fetch-site")
    if fetched is not None:
        return fetched == "same-origin"
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc == request.headers.get("host")


def set_cookie(response: Response, request: Request, begun: Begun) -> None:
    """Let the browser keep the session."""
    response.set_cookie(
        COOKIE,
        begun.secret,
        max_age=begun.seconds,
        path="/",
        httponly=True,
        samesite="lax",
        secure=is_https(request),
    )


def clear_cookie(response: Response, request: Request) -> None:
    """Let the browser forget the session."""
    response.delete_cookie(
        COOKIE, path="/", httponly=True, samesite="lax", secure=is_https(request)
    )


def is_https(request: Request) -> bool:
    """Whether people reach us by https, as far as we can tell."""
    public = installation(request).settings.url
    return request.url.scheme == "https" or public.startswith("https:")


# The body -----------------------------------------------------------------------------------------


async def _bounded(request: Request, largest: int) -> bytes:
    """The body. Refuses one that is too large, or too slow."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > largest:
        raise _too_large(largest)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > largest:
                    raise _too_large(largest)
                parts.append(part)
    except TimeoutError:
        raise Declined(
            HTTPStatus.REQUEST_TIMEOUT,
            "too-slow",
            f"the body did not come within {BODY_SECONDS:.0f} seconds",
            headers={"Connection": "close"},
        ) from None
    except ClientDisconnect:
        raise _malformed("the body ended early") from None
    return b"".join(parts)


def _too_large(largest: int) -> Declined:
    return Declined(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "too-large",
        f"a body has at most {largest // 1024:,} KiB here",
        headers={"Connection": "close"},
    )


def _is_json(request: Request) -> bool:
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media == "application/json"


def _malformed(detail: str) -> Declined:
    return Declined(HTTPStatus.BAD_REQUEST, "malformed", detail)


# Idempotency --------------------------------------------------------------------------------------


async def _once(
    request: StrictRequest, asked: Installation, access: Access, body: bytes, inner: Handler
) -> Response:
    """Answer a POST; one with a key that was answered before, as it was then."""
    key = request.headers.get("idempotency-key")
    if key is None or access.repeatable:
        if access.repeatable:
            return await inner(request)
        raise Declined(
            HTTPStatus.BAD_REQUEST,
            "key-missing",
            "this needs an Idempotency-Key: with it, asking again does nothing twice",
            hint="any text of your own that is new for each thing you want done, such as a UUID",
        )
    key = key.strip()
    if not key or len(key) > LONGEST_KEY or not (key.isascii() and key.isprintable()):
        raise _malformed(f"an Idempotency-Key has 1 to {LONGEST_KEY} printable ASCII characters")
    holder = caller(request).holder
    seen = fingerprint(request.method, request.url.path, request.url.query, body)
    found = await run_in_threadpool(asked.answers.look, holder, key, seen)
    match found:
        case Kept():
            headers = {**dict(found.headers), REPLAYED: "true"}
            return Response(found.body, found.status, headers)
        case Verdict.OTHER_REQUEST:
            raise Declined(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "key-reused",
                "this Idempotency-Key was used for another request",
                hint="take a new one for each thing you want done",
            )
        case Verdict.UNDER_WAY:
            raise Declined(
                HTTPStatus.CONFLICT,
                "under-way",
                "the same request is just being answered",
                headers={"Retry-After": "1"},
            )
        case Verdict.GO_ON:
            return await _first(request, asked, (holder, key), inner)


async def _first(
    request: StrictRequest, asked: Installation, named: tuple[str, str], inner: Handler
) -> Response:
    kept = False
    try:
        response = await inner(request)
        if response.status_code < HTTPStatus.BAD_REQUEST:
            answer = Kept(
                response.status_code, list(response.headers.items()), bytes(response.body)
            )
            await run_in_threadpool(asked.answers.keep, *named, answer)
            kept = True
        return response
    finally:
        if not kept:
            await run_in_threadpool(asked.answers.forget, *named)
