"""Which server a command asks, as its command line says."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """What `--server` and `--token-file` say; nothing: the environment does, or this machine."""

    server: str | None = None
    token_file: str | None = None


where: ContextVar[Where] = ContextVar("where", default=Where())  # noqa: B039  it is frozen
"""Of the command that is being carried out."""
