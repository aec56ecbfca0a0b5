"""How a value is spelled in a plan: a function from text to value, which says what is wrong.

A spelling rides along with a type, `Annotated[timedelta, Spelling(read_duration, …)]`, so that
the type of an option is its whole reference. Importing this costs nothing: the validator is only
met when a plan is read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import CoreSchema


class Misspelt(ValueError):
    """A value of a plan does not say what it has to; `code` is the problem's code.

    Neither sentence holds the value: it may be a secret.
    """

    def __init__(self, code: str, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class Spelling:
    """What is written in a plan for a value, and how it is written down again.

    `read` takes the value as YAML gives it (text, number, …) and raises `Misspelt`. `write` gives
    text that `read` turns into the same value. `schema` is its JSON Schema, for editors.
    """

    read: Callable[[Any], Any]
    write: Callable[[Any], Any]
    schema: Mapping[str, Any]

    def __hash__(self) -> int:
        return hash((self.read, self.write))

    def __get_pydantic_core_schema__(self, source: Any, handler: "GetCoreSchemaHandler") -> Any:
        """The validator and serializer that pydantic uses for the annotated type."""
        from pydantic_core import core_schema  # noqa: PLC0415  kinds are imported without pydantic

        del source, handler
        return core_schema.no_info_plain_validator_function(
            self.read,
            serialization=core_schema.plain_serializer_function_ser_schema(self.write),
        )

    def __get_pydantic_json_schema__(
        self, schema: "CoreSchema", handler: "GetJsonSchemaHandler"
    ) -> dict[str, Any]:
        """What editors check."""
        del schema, handler
        return dict(self.schema)
