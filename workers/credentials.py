"""Where secrets come from: only workers hold them, and only while they are used."""

import os
from pathlib import Path

from orchestrator.errors import Unavailable

_LONGEST = 64 * 1024


def resolve(reference: str) -> str:
    """The value behind `env:NAME` or `file:/path`; other texts are returned as they are.

    Raises `Unavailable` where the reference leads nowhere; the message names it, never a value.
    """
    kind, _, name = reference.partition(":")
    match kind:
        case "env":
            value = os.environ.get(name)
            if value is None:
                raise Unavailable(
                    f"the environment of the workers has no {name}",
                    hint=f"set {name} where the workers run, and start them again",
                )
            return value
        case "file" if name.startswith("/") and not name.startswith("//"):
            try:
                with Path(name).open(encoding="utf-8") as file:
                    return file.read(_LONGEST).rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                raise Unavailable(
                    "a secret's file cannot be read by the workers",
                    hint="check the plan's file: references and the files' permissions",
                ) from error
        case _:
            return reference
