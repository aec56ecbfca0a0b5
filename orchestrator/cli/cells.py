"""One value for people."""

from datetime import datetime


def cell(value: object) -> str:
    """One value for people: nothing in it that a terminal obeys."""
    from orchestrator.plan_text.diagnostics import harmless

    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.1f}"
        case datetime():
            return value.strftime("%Y-%m-%d %H:%M")
        case _:
            return harmless(str(value))
