"""Log lines: what may be in them, how they look, where they go.

Nothing personal gets out: an event is a fixed word, and of its values only the keys in `ALLOWED`
pass, each in the shape that it promises. What does not fit is dropped and counted. Exceptions
become their class, a fingerprint and source lines; their text is never logged, because texts hold
content. Lines of libraries keep their text only where it is a literal of the library's source.

    configure_logs(settings)
    log = get_logger("conductor")
    log.info("batch_finished", run_id="7f3a", batch=17, units=100, duration_ms=2140)
"""

import hashlib
import json
import logging
import re
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO, cast

import structlog

from orchestrator.errors import ReinstateError
from orchestrator.settings import Settings

Event = MutableMapping[str, Any]
Shape = Callable[[object], bool]


# What may pass ---------------------------------------------------------------------------------


def _text(pattern: str) -> Shape:
    shape = re.compile(pattern, re.ASCII)
    return lambda value: isinstance(value, str) and shape.fullmatch(value) is not None


def _number(value: object) -> bool:
    return isinstance(value, int | float)  # True and False are numbers too


def _lines(value: object) -> bool:
    return isinstance(value, list) and all(_LINE(line) for line in cast("list[object]", value))


_NAME = r"[A-Za-z][A-Za-z0-9_-]{0,63}"
_WORD = _text(_NAME)
_DOTTED = _text(rf"{_NAME}(\.{_NAME}){{0,7}}")
_LINE = _text(r"[\w.<>-]{1,80}:\d{1,6}")

COUNTS = (
    "attempt",
    "attempts",
    "backlog",
    "batches",
    "bytes",
    "copies",
    "count",
    "crashes",
    "declined",
    "duration_ms",
    "epoch",
    "exit_code",
    "expected",
    "failed",
    "found",
    "held",
    "items",
    "lease_seconds",
    "lost",
    "merged",
    "pending",
    "phases",
    "pid",
    "present",
    "quarantined",
    "ready",
    "restarts",
    "restored",
    "retry_in",
    "rows",
    "runs",
    "settled",
    "status",
    "superseded",
    "unbalanced",
    "units",
    "users",
    "waiting",
    "waves",
    "window",
    "workers",
)
ALLOWED: Mapping[str, Shape] = {
    "run_id": _text(r"[0-9a-f-]{4,36}"),
    "batch": _number,
    "category": _WORD,
    "phase": lambda value: _number(value) or _WORD(value),
    "wave": lambda value: _number(value) or _WORD(value),
    "unit": lambda value: _number(value) or _text(r"\d+(/\d+){0,2}")(value),
    "user_ref": _text(r"u_[0-9a-f]{10}"),
    "cause": _text(r"[0-9a-f]{6}"),
    "reason": _WORD,
    "outcome": _WORD,
    "state": _WORD,
    "old": _WORD,
    "new": _WORD,
    "kind": _WORD,
    "purpose": _WORD,
    "source": _WORD,
    "target": _WORD,
    "program": _WORD,
    "broker": _WORD,
    "check": _WORD,
    "signal": _WORD,
    "method": _WORD,
    "route": _text(r"[a-z0-9/{}_.-]{1,120}"),
    "version": _text(r"[0-9][0-9A-Za-z.+-]{0,31}"),
    "digest": _text(r"[0-9a-f]{12,64}"),
    "error": _DOTTED,
    "fingerprint": _text(r"[0-9a-f]{6}"),
    "frames": _lines,
    "library": _DOTTED,
    "at": _LINE,
    **dict.fromkeys(COUNTS, _number),
}
"""Keys that may be in a log line, and the shape that each value must have."""

_OURS = frozenset({"event", "level", "timestamp"})
_STATIC = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_LONGEST_EVENT = 64


def keep_allowed(_logger: object, _method: str, event: Event) -> Event:
    """Only what `ALLOWED` names, in its shape; `dropped` says how many values were not."""
    kept = {
        key: value
        for key, value in event.items()
        if key in _OURS or ((shape := ALLOWED.get(key)) is not None and shape(value))
    }
    dropped = len(event) - len(kept)
    name = event.get("event")
    if not isinstance(name, str) or len(name) > _LONGEST_EVENT or not _STATIC.fullmatch(name):
        kept["event"] = "unnamed_event"
        dropped += 1
    if dropped:
        kept["dropped"] = dropped
    return kept


# Exceptions ------------------------------------------------------------------------------------


def describe(error: BaseException) -> dict[str, Any]:
    """The class, a fingerprint and the innermost source lines of an exception; never its text."""
    frames = [
        f"{Path(frame.f_code.co_filename).name}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
    ][-8:]
    names = [type(link).__name__ for link in _chain(error)]
    seed = "|".join(names + [line.partition(":")[0] for line in frames])
    return {
        "error": ".".join(names[:3]),
        "fingerprint": hashlib.sha256(seed.encode()).hexdigest()[:6],
        "frames": frames,
    }


def _chain(error: BaseException) -> list[BaseException]:
    links: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in links:
        links.append(following)
        following = following.__cause__ or following.__context__
    return links


def name_exceptions(_logger: object, _method: str, event: Event) -> Event:
    """Replace `exc_info`, or an exception given as `error`, by what `describe` says of it."""
    given = event.pop("exc_info", None) or event.get("error")
    event.pop("stack_info", None)
    if given is True:
        given = sys.exc_info()
    error = cast("object", given[1] if isinstance(given, tuple) else given)
    if isinstance(error, BaseException):
        event.update(describe(error))
    return event


def _log_uncaught(
    _kind: type[BaseException], error: BaseException | None, _trace: TracebackType | None
) -> None:
    get_logger("uncaught").critical("process_crashed", exc_info=error)


def own_uncaught() -> None:
    """What nobody catches is logged by the same rules, instead of a traceback with its values."""
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda args: _log_uncaught(args.exc_type, args.exc_value, None)


# Lines of libraries ----------------------------------------------------------------------------


def reduced(record: logging.LogRecord) -> Event:
    """A library's record without what may hold content: its arguments and composed texts."""
    event: Event = {
        "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
        "level": record.levelname.lower(),
        "event": "library_line",
        "library": record.name,
        "at": f"{Path(record.pathname).name}:{record.lineno}",
    }
    if record.exc_info and record.exc_info[1] is not None:
        event |= describe(record.exc_info[1])
    event = keep_allowed(None, record.levelname, event)
    if isinstance(record.msg, str) and _is_literal(record, record.msg):
        event["template"] = " ".join(record.msg.split())[:200]
    return event


def _is_literal(record: logging.LogRecord, text: str) -> bool:
    """Whether the text stands in the source of the function that logs: then it holds no data.

    An f-string or a concatenation is no constant of its function's code.
    """
    for frame, _line in traceback.walk_stack(None):
        code = frame.f_code
        if code.co_filename == record.pathname and code.co_name == record.funcName:
            return text in code.co_consts
    return False


# How a line looks ------------------------------------------------------------------------------


def render_json(event: Event) -> str:
    """One line of ASCII JSON: whatever is in a value cannot begin a line of its own."""
    return json.dumps(_ordered(event))


def render_console(event: Event) -> str:
    """One line for people; control characters are shown, never sent."""
    values = _ordered(event)
    time = str(values.pop("timestamp", ""))[11:19]
    head = f"{time} {values.pop('level', ''):<7} {values.pop('event')}"
    rest = "".join(f"  {key}={_plain(value)}" for key, value in values.items())
    return escape(head + rest)


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ",".join(str(part) for part in cast("list[object]", value))
    return str(value)


def escape(text: str) -> str:
    """The text with everything that a terminal or a line reader might obey made visible."""
    return "".join(
        part if part.isprintable() else part.encode("unicode_escape").decode() for part in text
    )


def _ordered(event: Event) -> dict[str, Any]:
    first = ("timestamp", "level", "event")
    return {key: event[key] for key in first if key in event} | {
        key: value for key, value in event.items() if key not in first
    }


# Setting up ------------------------------------------------------------------------------------


class SafeLine(logging.Formatter):
    """Makes one line of a record, ours or a library's."""

    def __init__(self, *, people: bool) -> None:
        """`people`: for reading on a terminal, else JSON."""
        super().__init__()
        self._render = render_console if people else render_json

    def format(self, record: logging.LogRecord) -> str:
        """Never formats the record's own message: its arguments are dropped unread."""
        ours = record.name.startswith(_LOGGER) and isinstance(record.msg, dict)
        return self._render(cast("Event", record.msg) if ours else reduced(record))


def _hand_over(_logger: object, _method: str, event: Event) -> tuple[tuple[Event], dict[str, Any]]:
    return (event,), {}


_LOGGER = "reinstate"
_QUIET = (
    "alembic",
    "httpx",
    "httpcore",
    "urllib3",
    "sqlalchemy",
    "kombu",
    "amqp",
    "asyncio",
    "PIL",
    "uvicorn",
)
_MARK = "reinstate-lines"


def configure_logs(settings: Settings, *, stream: TextIO | None = None) -> None:
    """Send every line of this process, ours and the libraries', through the rules above.

    To `stream`, else to the settings' file, else to stderr. May be called again, also after a
    fork.
    """
    handler, terminal = _handler(settings, stream)
    people = settings.log_format == "console" or (settings.log_format == "auto" and terminal)
    handler.setFormatter(SafeLine(people=people))
    handler.set_name(_MARK)
    root = logging.getLogger()
    for old in [old for old in root.handlers if old.get_name() == _MARK]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(settings.log_level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.raiseExceptions = False  # a handler that fails prints the record with its arguments
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            name_exceptions,
            keep_allowed,
            _hand_over,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _handler(settings: Settings, stream: TextIO | None) -> tuple[logging.Handler, bool]:
    if stream is None and settings.log_file is not None:
        settings.log_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return logging.FileHandler(settings.log_file, encoding="utf-8"), False
    out = stream or sys.stderr
    return logging.StreamHandler(out), out.isatty()


def get_logger(program: str) -> structlog.stdlib.BoundLogger:
    """What a part of this package logs with: `log.info("static_event", key=value)`.

    May be called before `configure_logs`, also at import.
    """
    return structlog.stdlib.get_logger(f"{_LOGGER}.{program}", program=program)


def explain(error: ReinstateError) -> str:
    """An error of ours for a person: its sentence and its hint, safe for a terminal."""
    return escape(error.message) + (f"\nhint: {escape(error.hint)}" if error.hint else "")
