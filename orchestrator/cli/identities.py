"""The `token` command: make, list and revoke what the API asks for."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from orchestrator.cli.arguments import Who
from orchestrator.cli.exits import Exit
from orchestrator.cli.help import Takes
from orchestrator.cli.output import Format
from orchestrator.errors import PlanInvalid

if TYPE_CHECKING:
    from orchestrator.client.asking import Client

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
    from orchestrator.cli.output import hint, print_line, say
    from orchestrator.cli.session import asking

    if action != "list" and name is None:
        raise PlanInvalid(
            f"{action} needs {'the name of its holder' if action == 'create' else 'a token'}",
            hint="reinstate token --help",
        )
    if not 0 <= days <= MOST_DAYS:
        raise PlanInvalid(f"a token is valid for 0 to {MOST_DAYS} days")
    with asking(as_) as asked:
        match action:
            case "list":
                _list(asked, output)
            case "create":
                wish = {
                    "holder": name,
                    "role": role,
                    "scopes": right or [],
                    "runs": [asked.run(prefix) for prefix in run] if run else None,
                    "purpose": purpose,
                    "days": days or None,
                }
                made = asked.post("/tokens", dict[str, Any], wish)
                row = made["row"]
                print_line(made["token"])
                say(f"the token {row['id']} of {row['holder']}, {row['role']}; not shown again")
            case "revoke":
                asked.delete(f"/tokens/{name}")
                say("revoked, with every browser session that was begun with it")
            case "link":
                print_line(_link(asked, name or ""))
                hint("it works once, within a quarter of an hour")
    return Exit.DONE


MOST_DAYS = 3650


def _link(asked: "Client", token_id: str) -> str:
    """An address that logs a browser in as the holder of a token; this machine alone gives any."""
    from orchestrator.api.installation import opened
    from orchestrator.errors import Refused

    if asked.settings is None:
        raise Refused(
            "a server gives no login links",
            hint="on a machine that has its key: leave --server out",
        )
    with opened(asked.settings) as installation:
        code = installation.sessions.offer(installation.tokens.holder_of(token_id))
    return f"{asked.settings.public_url}/login?code={code}"


def _list(asked: "Client", output: str) -> None:
    from orchestrator.cli.output import show_rows
    from orchestrator.cli.tables import moments, text

    show_rows(
        asked.rows("/tokens"),
        output,
        (*text("id", "holder", "role", "purpose"), *moments("expires", "revoked", "last_used")),
        empty="there are no tokens; make one: reinstate token create NAME --role ROLE",
    )
