"""Roles, what narrows them, and the caller: whoever asks, once it is known who that is.

Which route needs what is one table: `orchestrator/api/access.py`.
"""

from enum import StrEnum

from msgspec import Struct

OWN_CALLER = "reinstate_caller"
"""The key of an ASGI scope under which a request of our own process says who asks.

Nothing that comes over a network ever becomes a key of a scope.
"""


class Role(StrEnum):
    """What kind of person or program a token is for."""

    VIEWER = "viewer"
    """Sees runs, progress and failures; no user one by one."""
    SUPPORT = "support"
    """Sees one user at a time, masked."""
    OPERATOR = "operator"
    """Submits plans and steers runs."""
    APPROVER = "approver"
    """Approves what others submitted, opens gates, accepts losses."""
    ADMIN = "admin"
    """Hands out tokens; may do everything, but approve what is their own."""


class Scope(StrEnum):
    """What a route is about. A token may be narrowed to some of them."""

    LOOK = "look"
    """Runs, progress, causes: numbers, nobody by name."""
    METRICS = "metrics"
    """Numbers for Prometheus."""
    USERS = "users"
    """Users by reference, and what became of each."""
    STATUS = "status"
    """How far one user is, in two sentences: for a banner in the operator's own product."""
    REVEAL = "reveal"
    """Who a reference stands for, and bytes of quarantined copies; audited."""
    PLAN = "plan"
    """Check, store, preview and submit plans."""
    STOP = "stop"
    """Pause."""
    STEER = "steer"
    """Resume, cancel, retry, release, decline, prioritize, verify, undo."""
    APPROVE = "approve"
    """Approve, promote, accept losses."""
    AUDIT = "audit"
    """Read the audit log."""
    ADMIN = "admin"
    """Tokens and webhooks."""


class Caller(Struct, frozen=True, kw_only=True):
    """Who asks. `holder` is the name that approvals and the audit log show."""

    holder: str
    role: Role
    scopes: frozenset[Scope] = frozenset()
    """Only these; empty: everything that the role may."""
    runs: frozenset[str] | None = None
    """Only these runs; any other is as if it were not there. None: every run."""
    token: str = ""
    """The id of the token, of a session: of the one it was begun with."""
    session: str = ""
    """The id of the browser's session; empty where a token came with the request."""

    def sees(self, run_id: str) -> bool:
        """Whether a run is there for this caller."""
        return self.runs is None or run_id in self.runs
