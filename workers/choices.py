"""What single users chose about their conflicts, as the ledger knows it at this moment."""

from sqlalchemy import Connection, select

from orchestrator.ledger.schema import choice
from orchestrator.plan import Choice, OnConflict
from orchestrator.ports import Category, Merging


def policies(
    connection: Connection, run: str, *, first: int, last: int, name: str, category: Category
) -> dict[int, OnConflict]:
    """By number, of users from `first` to `last`, who chose anything for the category `name`.

    What they chose for this category alone counts more. Nobody can choose to merge what does not
    consist of fields: then the plan's policy holds.
    """
    rows = connection.execute(
        select(choice.c.user, choice.c.choice)
        .where(
            choice.c.run == run,
            choice.c.user.between(first, last),
            choice.c.category.in_(("", name)),
        )
        .order_by(choice.c.user, choice.c.category)
    )
    chosen = {row.user: Choice(row.choice).policy for row in rows}
    if not isinstance(category, Merging):
        chosen = {user: how for user, how in chosen.items() if how is not OnConflict.MERGE}
    return chosen
