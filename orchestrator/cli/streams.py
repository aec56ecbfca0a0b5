"""Standard output and error as they are: any encoding, and readers that go away."""

import codecs
import os
import sys
from pathlib import Path
from typing import TextIO

FALLBACK = "reinstate"
"""The error handler of streams that cannot write every character."""

_PLAIN = str.maketrans(
    {
        "━": "=",
        "╍": "x",
        "─": "-",
        "✔": "+",
        "✘": "x",
        "●": "*",
        "◐": "*",
        "○": "o",
        "‖": "|",
        "·": "-",
        "…": "~",
        "→": ">",
        "\N{EN DASH}": "-",
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    }
)
"""What stands for our own signs; each is one column wide, so that tables stay aligned."""


def prepare() -> None:
    """Let both streams write anything: what their encoding lacks is spelled out."""
    codecs.register_error(FALLBACK, _spell_out)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  never closed
            setattr(sys, name, nowhere)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=FALLBACK)


def _spell_out(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_PLAIN)
    return text.encode("ascii", "backslashreplace").decode(), error.end


def writes_unicode(stream: TextIO) -> bool:
    """Whether every character can be written as it is."""
    return (stream.encoding or "").lower().replace("-", "").startswith("utf")


def mute(stream: TextIO) -> None:
    """Whoever read this stream is gone: what is written from now on goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
    finally:
        os.close(nowhere)


def flush() -> None:
    """Write out what waits; a reader that is gone does not matter any more."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            mute(stream)
