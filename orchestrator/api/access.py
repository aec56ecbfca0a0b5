"""Who may: one table of every route, what it is about, and which roles have it.

A route that is not in the table answers nobody (500), and a test fails. Roles are columns of the
table in docs/api.md, which the tests compare with this one.
"""

from collections.abc import Mapping

from msgspec import Struct, structs

from orchestrator.identity.roles import Caller, Role, Scope

ALL = frozenset(Role)
V, S, O, A, ADMIN = Role.VIEWER, Role.SUPPORT, Role.OPERATOR, Role.APPROVER, Role.ADMIN  # noqa: E741
STAFF = frozenset({O, A, ADMIN})
OPERATORS = frozenset({O, ADMIN})
APPROVERS = frozenset({A, ADMIN})
ADMINS = frozenset({ADMIN})
NO_VIEWER = ALL - {V}


class Access(Struct, frozen=True, kw_only=True):
    """Who may use a route."""

    scope: Scope | None
    """None: anybody, without a token."""
    roles: frozenset[Role] = frozenset()
    lead: frozenset[Role] = frozenset()
    """Roles that have it only where their token names the scope: a support lead may pause."""
    repeatable: bool = False
    """Of a POST: doing it twice does no more than doing it once, so no Idempotency-Key is needed.

    Such answers are not kept, either.
    """


PUBLIC = Access(scope=None, repeatable=True)


def _to(
    scope: Scope,
    roles: frozenset[Role],
    lead: frozenset[Role] = frozenset(),
    *,
    repeatable: bool = False,
) -> Access:
    return Access(scope=scope, roles=roles, lead=lead, repeatable=repeatable)


def _form(access: Access) -> Access:
    """The same, of a page's form."""
    return structs.replace(access, repeatable=True)


LOOK = _to(Scope.LOOK, ALL)
ONE_USER = _to(Scope.USERS, NO_VIEWER)
STEER = _to(Scope.STEER, OPERATORS)
APPROVE = _to(Scope.APPROVE, APPROVERS)
PLAN = _to(Scope.PLAN, OPERATORS)

REVEAL = _to(Scope.REVEAL, OPERATORS | {S}, repeatable=True)
EVERYBODYS_USERS = _to(Scope.USERS, STAFF)
AUDIT = _to(Scope.AUDIT, STAFF)

ROUTES: Mapping[str, Access] = {
    "GET /health": PUBLIC,
    "GET /ready": PUBLIC,
    "GET /metrics": _to(Scope.METRICS, ALL),
    "GET /api/v1/openapi.json": PUBLIC,
    "POST /api/v1/sessions": PUBLIC,
    "DELETE /api/v1/sessions/current": LOOK,
    "GET /api/v1/me": LOOK,
    # Plans
    "POST /api/v1/plans/check": _to(Scope.PLAN, OPERATORS, repeatable=True),
    "GET /api/v1/plans": _to(Scope.PLAN, STAFF),
    "POST /api/v1/plans": PLAN,
    "GET /api/v1/plans/{plan}": _to(Scope.PLAN, STAFF),
    "PUT /api/v1/plans/{plan}": PLAN,
    "GET /api/v1/plans/{plan}/versions": _to(Scope.PLAN, STAFF),
    "GET /api/v1/plans/{plan}/diff": _to(Scope.PLAN, STAFF),
    "POST /api/v1/previews": PLAN,
    "GET /api/v1/previews/{run}": LOOK,
    # Runs
    "GET /api/v1/runs": LOOK,
    "POST /api/v1/runs": PLAN,
    "GET /api/v1/runs/{run}": LOOK,
    "GET /api/v1/runs/{run}/events": LOOK,
    "GET /api/v1/runs/{run}/phases": LOOK,
    "GET /api/v1/runs/{run}/waves": LOOK,
    "GET /api/v1/runs/{run}/failures": LOOK,
    "GET /api/v1/runs/{run}/report": LOOK,
    "GET /api/v1/runs/{run}/plan": _to(Scope.PLAN, STAFF),
    "GET /api/v1/runs/{run}/inventory": _to(Scope.PLAN, STAFF),
    "GET /api/v1/runs/{run}/audit": AUDIT,
    "POST /api/v1/runs/{run}/approve": APPROVE,
    "POST /api/v1/runs/{run}/promote": APPROVE,
    "POST /api/v1/runs/{run}/losses/accept": APPROVE,
    "POST /api/v1/runs/{run}/pause": _to(Scope.STOP, STAFF, lead=frozenset({S}), repeatable=True),
    "POST /api/v1/runs/{run}/resume": STEER,
    "POST /api/v1/runs/{run}/cancel": STEER,
    "POST /api/v1/runs/{run}/declines": STEER,
    # After a run
    "POST /api/v1/runs/{run}/verify": STEER,
    "POST /api/v1/runs/{run}/undo": STEER,
    "GET /api/v1/runs/{run}/findings": LOOK,
    "POST /api/v1/runs/{run}/close": _to(Scope.ADMIN, ADMINS),
    "POST /api/v1/runs/{run}/users/{user}/forget": STEER,
    "POST /api/v1/runs/{run}/users/{user}/choice": _to(Scope.STEER, OPERATORS | {S}),
    # What the public is told
    "GET /api/v1/promises": LOOK,
    "GET /api/v1/runs/{run}/deliveries": LOOK,
    "POST /api/v1/runs/{run}/deliveries/{number}/resend": STEER,
    "POST /api/v1/runs/{run}/deliveries/test": STEER,
    "GET /api/v1/runs/{run}/bulletins": LOOK,
    "GET /api/v1/runs/{run}/bulletins/draft": LOOK,
    "POST /api/v1/runs/{run}/bulletins": STEER,
    "GET /api/v1/runs/{run}/public-page": LOOK,
    "PUT /api/v1/runs/{run}/public-page": STEER,
    # Claims
    "GET /api/v1/runs/{run}/claims": ONE_USER,
    "POST /api/v1/runs/{run}/claims": _to(Scope.STEER, OPERATORS | {S}),
    "GET /api/v1/claims/{claim}": ONE_USER,
    "POST /api/v1/claims/{claim}/top-up": _to(Scope.STEER, OPERATORS | {S}),
    "POST /api/v1/claims/{claim}/reveal": REVEAL,
    # Users
    "GET /api/v1/runs/{run}/units": EVERYBODYS_USERS,
    "GET /api/v1/runs/{run}/losses": EVERYBODYS_USERS,
    "POST /api/v1/runs/{run}/users/find": _to(Scope.USERS, NO_VIEWER, repeatable=True),
    "GET /api/v1/runs/{run}/users/{user}": ONE_USER,
    "GET /api/v1/runs/{run}/users/{user}/timeline": ONE_USER,
    "POST /api/v1/runs/{run}/users/{user}/reveal": REVEAL,
    "POST /api/v1/runs/{run}/users/reveal": _to(Scope.REVEAL, OPERATORS, repeatable=True),
    "POST /api/v1/runs/{run}/users/{user}/prioritize": _to(Scope.STEER, OPERATORS | {S}),
    "POST /api/v1/runs/{run}/users/{user}/link": _to(Scope.STEER, OPERATORS | {S}),
    "POST /api/v1/runs/{run}/links": _to(Scope.REVEAL, OPERATORS, repeatable=True),
    "POST /api/v1/runs/{run}/links/revoke": STEER,
    "GET /api/v1/users/{user}/status": _to(Scope.STATUS, NO_VIEWER),
    # Operations
    "POST /api/v1/runs/{run}/retries": STEER,
    "GET /api/v1/runs/{run}/operations": LOOK,
    "GET /api/v1/operations/{operation}": LOOK,
    "POST /api/v1/operations/{operation}/confirm": STEER,
    "POST /api/v1/operations/{operation}/continue": STEER,
    "DELETE /api/v1/operations/{operation}": STEER,
    "GET /api/v1/operations/{operation}/failed": EVERYBODYS_USERS,
    # Quarantine
    "GET /api/v1/runs/{run}/quarantine": EVERYBODYS_USERS,
    "GET /api/v1/runs/{run}/quarantine/reasons": LOOK,
    "POST /api/v1/runs/{run}/quarantine/{number}/raw": _to(
        Scope.REVEAL, OPERATORS, repeatable=True
    ),
    "POST /api/v1/runs/{run}/quarantine/export": _to(Scope.REVEAL, OPERATORS, repeatable=True),
    "POST /api/v1/runs/{run}/quarantine/release": STEER,
    # Overseeing
    "GET /api/v1/workers": LOOK,
    "GET /api/v1/audit-log": AUDIT,
    "GET /api/v1/audit-log/verification": AUDIT,
    "GET /api/v1/audit-log/export": AUDIT,
    # Tokens
    "GET /api/v1/tokens": _to(Scope.ADMIN, ADMINS),
    "POST /api/v1/tokens": _to(Scope.ADMIN, ADMINS),
    "DELETE /api/v1/tokens/{token}": _to(Scope.ADMIN, ADMINS),
    # Pages: the same rights as the routes that they show; forms carry no Idempotency-Key
    "GET /login": PUBLIC,
    "POST /login": PUBLIC,
    "GET /login/sso": PUBLIC,
    "GET /login/sso/callback": PUBLIC,
    "GET /static/{name}": PUBLIC,
    "POST /logout": _form(LOOK),
    "GET /status/{slug}": PUBLIC,
    "GET /status/{slug}/status.json": PUBLIC,
    "GET /status/{slug}/feed.atom": PUBLIC,
    "GET /mine/{link}": PUBLIC,
    "POST /mine/{link}": PUBLIC,
    "GET /": LOOK,
    "GET /runs/{run}": LOOK,
    "GET /runs/{run}/live": LOOK,
    "GET /runs/{run}/plan": _to(Scope.PLAN, STAFF),
    "POST /runs/{run}/approve": _form(APPROVE),
    "POST /runs/{run}/promote": _form(APPROVE),
    "POST /runs/{run}/losses/accept": _form(APPROVE),
    "POST /runs/{run}/pause": _to(Scope.STOP, STAFF, lead=frozenset({S}), repeatable=True),
    "POST /runs/{run}/resume": _form(STEER),
    "POST /runs/{run}/cancel": _form(STEER),
    "GET /runs/{run}/users": EVERYBODYS_USERS,
    "GET /runs/{run}/losses": EVERYBODYS_USERS,
    "POST /runs/{run}/users/find": _to(Scope.USERS, NO_VIEWER, repeatable=True),
    "GET /runs/{run}/users/{user}": ONE_USER,
    "POST /runs/{run}/users/{user}/reveal": REVEAL,
    "POST /runs/{run}/users/{user}/prioritize": _to(Scope.STEER, OPERATORS | {S}, repeatable=True),
    "POST /runs/{run}/users/{user}/link": _to(Scope.STEER, OPERATORS | {S}, repeatable=True),
    "GET /runs/{run}/claims": ONE_USER,
    "POST /runs/{run}/users/{user}/claims": _to(Scope.STEER, OPERATORS | {S}, repeatable=True),
    "GET /claims/{claim}": ONE_USER,
    "POST /claims/{claim}/top-up": _to(Scope.STEER, OPERATORS | {S}, repeatable=True),
    "GET /runs/{run}/deliveries": LOOK,
    "POST /runs/{run}/deliveries/{number}/resend": _form(STEER),
    "POST /runs/{run}/deliveries/test": _form(STEER),
    "GET /runs/{run}/bulletins": LOOK,
    "POST /runs/{run}/bulletins": _form(STEER),
    "POST /runs/{run}/public-page": _form(STEER),
    "POST /runs/{run}/users/{user}/choice": _to(Scope.STEER, OPERATORS | {S}, repeatable=True),
    "POST /runs/{run}/users/{user}/forget": _form(STEER),
    "GET /runs/{run}/afterwards": LOOK,
    "GET /runs/{run}/verify": STEER,
    "POST /runs/{run}/verify": _form(STEER),
    "GET /runs/{run}/undo": STEER,
    "POST /runs/{run}/undo": _form(STEER),
    "POST /runs/{run}/close": _to(Scope.ADMIN, ADMINS, repeatable=True),
    "POST /runs/{run}/submit": _form(PLAN),
    "GET /runs/{run}/failures": LOOK,
    "GET /runs/{run}/failures/{cause}": LOOK,
    "GET /runs/{run}/retry": STEER,
    "POST /runs/{run}/retries": _form(STEER),
    "GET /operations/{operation}": LOOK,
    "POST /operations/{operation}/confirm": _form(STEER),
    "POST /operations/{operation}/continue": _form(STEER),
    "POST /operations/{operation}/drop": _form(STEER),
    "GET /runs/{run}/quarantine": EVERYBODYS_USERS,
    "POST /runs/{run}/quarantine/{number}/raw": _to(Scope.REVEAL, OPERATORS, repeatable=True),
    "POST /runs/{run}/quarantine/{number}/open": _to(Scope.REVEAL, OPERATORS, repeatable=True),
    "POST /runs/{run}/quarantine/{number}/release": _form(STEER),
    "POST /runs/{run}/quarantine/export": _to(Scope.REVEAL, OPERATORS, repeatable=True),
    "GET /plans": _to(Scope.PLAN, STAFF),
    "GET /plans/new": PLAN,
    "GET /plans/{plan}": _to(Scope.PLAN, STAFF),
    "POST /plans/check": _form(PLAN),
    "POST /plans/store": _form(PLAN),
    "POST /plans/preview": _form(PLAN),
    "POST /plans/submit": _form(PLAN),
    "GET /workers": LOOK,
    "GET /audit": AUDIT,
}


def may(caller: Caller, access: Access) -> bool:
    """Whether a caller may use a route."""
    if access.scope is None:
        return True
    if access.scope in caller.scopes:
        return caller.role in access.roles | access.lead
    return not caller.scopes and caller.role in access.roles
