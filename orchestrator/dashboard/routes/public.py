"""What everybody may see: how a restoration is going, as a page, as JSON, and as a feed.

Why no cookie, no name and no number of few people is in it: whoever stands between a million people
and this may keep and share it. Rendered once for all who look within seconds.
"""

import hashlib
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated

import msgspec
from fastapi import APIRouter, Header, Request
from msgspec import Struct
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from orchestrator.api.gate import GatedRoute
from orchestrator.api.installation import Asked, Installation
from orchestrator.dashboard.pages import shown
from orchestrator.errors import NotFound
from orchestrator.public.status_page import PublicStatus

router = APIRouter(route_class=GatedRoute, include_in_schema=False)

CACHE = "public, max-age=15, stale-while-revalidate=60, stale-if-error=3600"
EVERYWHERE = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}
"""Other sites may read it in their visitors' browsers: a banner in a product of yours."""
Seen = Annotated[str | None, Header(alias="if-none-match", max_length=500)]
Render = Callable[[Request, Installation, str, PublicStatus], Response]


class _Rendered(Struct, frozen=True):
    """A page as it was made of a status."""

    of: PublicStatus
    body: bytes
    etag: str
    media: str


@router.get("/status/{slug}")
async def get_status(request: Request, slug: str, asked: Asked, seen: Seen = None) -> Response:
    """How a restoration is going."""
    return await _answer(request, asked, slug, seen, _as_page)


@router.get("/status/{slug}/status.json")
async def get_status_as_json(
    request: Request, slug: str, asked: Asked, seen: Seen = None
) -> Response:
    """The same for programs."""
    return await _answer(request, asked, slug, seen, _as_json)


@router.get("/status/{slug}/feed.atom")
async def get_status_as_feed(
    request: Request, slug: str, asked: Asked, seen: Seen = None
) -> Response:
    """The bulletins, for whoever wants to be told."""
    return await _answer(request, asked, slug, seen, _as_feed)


async def _answer(
    request: Request, asked: Installation, slug: str, seen: str | None, render: Render
) -> Response:
    statuses = asked.statuses
    try:
        status = statuses.recent(slug) or await run_in_threadpool(statuses.at, slug)
    except NotFound:
        return shown(request, "public_nothing.html", answer=HTTPStatus.NOT_FOUND)
    kept: dict[tuple[str, Render], _Rendered] = request.app.state.__dict__.setdefault(
        "public_pages", {}
    )
    found = kept.get((slug, render))
    if found is None or found.of is not status:
        made = render(request, asked, slug, status)
        body = bytes(made.body)
        etag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
        found = _Rendered(status, body, etag, made.media_type or "text/html")
        kept[slug, render] = found
    headers = {"Cache-Control": CACHE, "ETag": found.etag}
    if render is not _as_page:
        headers |= EVERYWHERE
    if seen is not None and found.etag in [
        part.strip().removeprefix("W/") for part in seen.split(",")
    ]:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(found.body, media_type=found.media, headers=headers)


def _as_page(request: Request, asked: Installation, slug: str, status: PublicStatus) -> Response:
    return shown(request, "public_status.html", status=status, slug=slug, url=_url(asked, slug))


def _as_json(_request: Request, _asked: Installation, _slug: str, status: PublicStatus) -> Response:
    return Response(msgspec.json.encode(status), media_type="application/json")


def _as_feed(request: Request, asked: Installation, slug: str, status: PublicStatus) -> Response:
    made = shown(request, "public_feed.atom", status=status, url=_url(asked, slug))
    return Response(made.body, media_type="application/atom+xml")


def _url(asked: Installation, slug: str) -> str:
    return f"{asked.settings.public_url}/status/{slug}"
