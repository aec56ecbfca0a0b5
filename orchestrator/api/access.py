"""Who may: one table of every route, what it is about, and which roles have it.

A route that is not in the table answers nobody (500), and a test fails. Roles are columns of the
table in docs/api.md, which the tests compare with this one.
"""

from collections.abc import Mapping

from msgspec import Struct

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


LOOK = _to(Scope.LOOK, ALL)
ONE_USER = _to(Scope.USERS, NO_VIEWER)
STEER = _to(Scope.STEER, OPERATORS)
APPROVE = _to(Scope.APPROVE, APPROVERS)
PLAN = _to(Scope.PLAN, OPERATORS)

ROUTES: Mapping[str, Access] = {
    "GET /health": PUBLIC,
    "GET /ready": PUBLIC,
    "GET /api/v1/openapi.json": PUBLIC,
    "POST /api/v1/sessions": PUBLIC,
    "DELETE /api/v1/sessions/current": LOOK,
    "GET /api/v1/me": LOOK,
    "GET /api/v1/tokens": _to(Scope.ADMIN, ADMINS),
    "POST /api/v1/tokens": _to(Scope.ADMIN, ADMINS),
    "DELETE /api/v1/tokens/{token}": _to(Scope.ADMIN, ADMINS),
}


def may(caller: Caller, access: Access) -> bool:
    """Whether a caller may use a route."""
    if access.scope is None:
        return True
    if access.scope in caller.scopes:
        return caller.role in access.roles | access.lead
    return not caller.scopes and caller.role in access.roles
