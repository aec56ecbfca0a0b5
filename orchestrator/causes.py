"""Failures that have one cause get one name, so that they can be counted and retried together."""

import hashlib
import re
from http import HTTPStatus

from msgspec import Struct

from orchestrator.errors import ItemRejected, ReinstateError, Unavailable

_FORGOTTEN = (
    (re.compile(r"(?<!\w)([\"'`]).*?\1(?!\w)"), "…"),  # quoted: may be content
    (re.compile(r"\b[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE), "…"),
    (re.compile(r"\S+@\S+"), "…"),
    (re.compile(r"(?:/[^\s/:]+){1,}/?"), "…"),  # paths
    (re.compile(r"\b(?=\w*\d)[0-9a-f]{8,}(?:-[0-9a-f]{4,})*\b", re.IGNORECASE), "…"),
)
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_LONGEST = 160


class Cause(Struct, frozen=True, kw_only=True):
    """Why units fail, the same for all that fail alike."""

    fingerprint: str
    """Six hexadecimal digits: `cause:9f2c1a` in queries."""
    code: str
    """The decision that the error asks for, as a word: `unavailable`, `item-rejected` …"""
    sentence: str
    """For an operator; holds nothing of any user."""
    transient: bool
    """It may pass by itself: worth another attempt later."""


def normalised(message: str) -> str:
    """What a message has in common with its likes, on one line.

    No numbers but HTTP statuses, no ids, quoted texts, addresses or paths.
    """
    text = " ".join(message.split())
    for pattern, instead in _FORGOTTEN:
        text = pattern.sub(instead, text)
    text = _NUMBER.sub(_only_status, text)
    return "".join(part for part in text if part.isprintable())[:_LONGEST].strip()


def _only_status(found: re.Match[str]) -> str:
    text = found.group()
    known = text.isascii() and text.isdigit() and int(text) in _FAILURES
    return text if known else "#"


_FAILURES = frozenset(int(status) for status in HTTPStatus if status >= HTTPStatus.BAD_REQUEST)


def fingerprint(*, category: str, kind: str, error: str, message: str) -> str:
    """Six hexadecimal digits of where it happened, the error's class, and what it says."""
    seed = "\x1f".join((category, kind, error, normalised(message).casefold()))
    return hashlib.sha256(seed.encode()).hexdigest()[:6]


def cause_of(error: BaseException, *, category: str, kind: str) -> Cause:
    """The cause of a failure in `category` at an adapter of that `kind`.

    The text of errors that are not ours is neither shown nor hashed: it may hold content.
    """
    name = type(error).__name__
    message = error.message if isinstance(error, ReinstateError) else ""
    said = normalised(message) or f"unexpected {name}"
    return Cause(
        fingerprint=fingerprint(category=category, kind=kind, error=name, message=message),
        code=str(error.reason) if isinstance(error, ItemRejected) else _kebab(name),
        sentence=f"{kind}: {said}" if kind else said,
        transient=isinstance(error, Unavailable),
    )


def _kebab(name: str) -> str:
    return _CAMEL.sub("-", name).lower()
