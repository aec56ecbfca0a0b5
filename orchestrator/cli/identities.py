"""The `token` command: make, list and revoke what the API asks for."""

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from orchestrator.cli.arguments import Who
from orchestrator.cli.exits import Exit
from orchestrator.cli.help import Takes
from orchestrator.cli.output import Format
from orchestrator.errors import PlanInvalid

if TYPE_CHECKING:
    from orchestrator.cli.session import Session
    from orchestrator.identity.tokens import Tokens

RoleName = Literal["viewer", "support", "operator", "approver", "admin"]
ScopeName = Literal[
    "look", "users", "status", "reveal", "plan", "stop", "steer", "approve", "audit", "admin"
]


def token(  # noqa: PLR0913  one command, and the options of its actions
    action: Annotated[
        Literal["list", "create", "revoke", "link"], Parameter(help="What to do.")
    ] = "list",
    name: Annotated[
        str | None,
        Parameter(help="Of `create`: who will use it. Of `revoke` and `link`: the token's id."),
    ] = None,
    /,
    *,
    role: Annotated[
        RoleName, Parameter(help="Of `create`: what they may do."), Takes("ROLE")
    ] = "viewer",
    right: Annotated[
        list[ScopeName] | None,
        Parameter(help="Of `create`: only this of what the role may; may be given again."),
        Takes("RIGHT"),
    ] = None,
    run: Annotated[
        list[str] | None,
        Parameter(help="Of `create`: only this run; may be given again."),
        Takes("RUN"),
    ] = None,
    purpose: Annotated[str, Parameter(help="Of `create`: what it is for."), Takes("TEXT")] = "",
    days: Annotated[
        int, Parameter(help="Of `create`: how long it is valid; 0: for ever."), Takes("DAYS")
    ] = 90,
    as_: Who = None,
    output: Format = "table",
) -> Exit:
    """Make, list or revoke the tokens by which people and programs use the API and its pages.

    A token is shown once, when it is made; the ledger keeps a keyed hash of it. Its holder's name
    is what approvals and the audit log show. `link` prints an address that logs a browser in,
    once, within a quarter of an hour.

        reinstate token create jo --role approver --purpose "release team"
        reinstate token revoke 5afd975c3b69
    """
    from orchestrator.cli.output import say
    from orchestrator.cli.session import operator, session
    from orchestrator.identity.tokens import Tokens

    if action != "list" and name is None:
        raise PlanInvalid(
            f"{action} needs {'the name of its holder' if action == 'create' else 'a token'}",
            hint="reinstate token --help",
        )
    if not 0 <= days <= MOST_DAYS:
        raise PlanInvalid(f"a token is valid for 0 to {MOST_DAYS} days")
    with session() as asked:
        tokens = Tokens(asked.ledger, asked.sealer)
        match action:
            case "list":
                _list(tokens, output)
            case "create":
                from orchestrator.identity.roles import Role, Scope

                text, row = tokens.create(
                    holder=name or "",
                    role=Role(role),
                    scopes=[Scope(word) for word in right or ()],
                    runs=[asked.run(prefix) for prefix in run] if run else None,
                    purpose=purpose,
                    days=days or None,
                    who=operator(as_),
                )
                _print(text)
                say(f"the token {row.id} of {row.holder}, {row.role}; it is not shown again")
            case "revoke":
                tokens.revoke(name or "", who=operator(as_))
                say("revoked, with every browser session that was begun with it")
            case "link":
                _link(asked, tokens, name or "")
    return Exit.DONE


MOST_DAYS = 3650


def _list(tokens: "Tokens", output: str) -> None:
    from orchestrator.cli.output import show_rows
    from orchestrator.cli.tables import text

    show_rows(
        ({name: getattr(row, name) for name in row.__struct_fields__} for row in tokens.rows()),
        output,
        text("id", "holder", "role", "purpose", "expires", "revoked", "last_used"),
        empty="there are no tokens; make one: reinstate token create NAME --role ROLE",
    )


def _link(asked: "Session", tokens: "Tokens", token_id: str) -> None:
    from orchestrator.cli.output import hint
    from orchestrator.identity.sessions import Sessions

    code = Sessions(asked.ledger, asked.sealer).offer(tokens.holder_of(token_id))
    _print(f"{asked.settings.public_url}/login?code={code}")
    hint("it works once, within a quarter of an hour")


def _print(text: str) -> None:
    import sys

    sys.stdout.write(text + "\n")
    sys.stdout.flush()
