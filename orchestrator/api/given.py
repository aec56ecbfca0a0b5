"""What requests may hold: the parts that many routes share."""

from typing import Annotated

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

SMALL = 2**31 - 1


class Given(BaseModel):
    """What a body may hold; anything else in it is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Reason = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=1000),
    Field(description="Why; it is kept in the audit log."),
]
NeededReason = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=3, max_length=1000),
    Field(description="Why; it is kept in the audit log."),
]
Digest = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
UserName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=512),
    Field(description="A user's id, reference (u_…) or number (#17)."),
]
Limit = Annotated[int, Query(ge=1, le=500, description="How many rows at most.")]
CursorText = Annotated[str | None, Query(max_length=1000, description="`next` of the page before.")]
QueryText = Annotated[
    str,
    Query(max_length=2000, description="The query language: `state:failed category:photos`."),
]
UserPath = Annotated[
    str, Path(min_length=1, max_length=512, description="Reference (u_…), number (#17) or id.")
]
Number = Annotated[int, Path(ge=1, le=2**53)]


class Said(Given):
    """Only a reason."""

    reason: Reason = ""


class SaidWhy(Given):
    """A reason that has to be given."""

    reason: NeededReason
