"""One class per decision that whoever catches it must take.

ReinstateError
├── PlanInvalid     the operator changes the plan (exit 2)
├── Refused         the operator does something else first (exit 7)
├── NotFound        the operator names something that exists (exit 2)
├── Unavailable     try again later; honour `retry_in`
├── ItemRejected    quarantine this copy and go on
└── LeaseLost       stop at once and write nothing more
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from orchestrator.reasons import Reason


class ReinstateError(Exception):
    """Anything that this package raises on purpose. `hint` says what to do next."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Problem(Struct, frozen=True, kw_only=True):
    """One thing that is wrong with a plan, and where.

    `line` and `column` count from 1; `length` is what the caret underlines; `path` is written
    like `phases[4].restore`. A literal secret is never part of any field.
    """

    code: str
    message: str
    line: int
    column: int
    length: int = 1
    path: str = ""
    hint: str = ""
    severity: str = "error"


class PlanInvalid(ReinstateError):
    """The plan asks for something that cannot be; `problems` holds every one that was found."""

    def __init__(self, message: str, *, problems: Sequence[Problem] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(problems)


class Refused(ReinstateError):
    """What was asked is not allowed now: approval missing, plan changed, wrong state."""


class NotFound(ReinstateError):
    """No run, user, kind or category of that name."""


class Unavailable(ReinstateError):
    """A source, target, broker or ledger is away or overloaded; `retry_in` is in seconds.

    `owners`: the user ids whose places alone are away; none of them named: it concerns everyone's.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_in: float | None = None,
        hint: str = "",
        owners: Iterable[str] = (),
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_in = retry_in
        self.owners = frozenset(owners)


class ItemRejected(ReinstateError):
    """These bytes cannot become an item; `data` holds what there is of them."""

    def __init__(self, reason: Reason, detail: str = "", *, data: bytes = b"") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail
        self.data = data


class LeaseLost(ReinstateError):
    """Another worker owns the batch now, or nobody should."""
