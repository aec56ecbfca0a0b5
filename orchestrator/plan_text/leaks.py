"""Where a plan's text holds a secret that it should only have named."""

from collections.abc import Iterator

from msgspec import Struct

from orchestrator.options.references import holds_a_secret, is_reference, names_a_secret
from orchestrator.plan_text.yaml_values import Listing, Node, Reading, Scalar, Table

_NAMES_OF_FIELDS = (".fields", ".columns")
"""What maps the names of an item's fields to columns; there `token` is a field like any other."""


class Leak(Struct, frozen=True):
    """A literal secret, and the path to it."""

    scalar: Scalar
    path: str


def leaks(reading: Reading) -> list[Leak]:
    """Every literal secret, those in refused parts of the text included."""
    found: list[Leak] = []
    if reading.root is not None:
        found.extend(_walk(reading.root, "", secret=False))
    for key, node in reading.dropped:
        found.extend(_walk(node, key, secret=names_a_secret(key)))
    return found


def _walk(node: Node, path: str, *, secret: bool) -> Iterator[Leak]:
    match node:
        case Table():
            named = not path.endswith(_NAMES_OF_FIELDS)
            for key, entry in node.entries.items():
                place = f"{path}.{key[:80]}" if path else key[:80]
                yield from _walk(entry.node, place, secret=named and names_a_secret(key))
        case Listing():
            for index, item in enumerate(node.nodes):
                yield from _walk(item, f"{path}[{index}]", secret=secret)
        case Scalar():
            if _leaks(node, secret=secret):
                yield Leak(node, path)


def _leaks(scalar: Scalar, *, secret: bool) -> bool:
    if isinstance(scalar.value, str):
        return (secret and scalar.value != "" and not is_reference(scalar.value)) or holds_a_secret(
            scalar.value
        )
    return secret and scalar.value is not None and not isinstance(scalar.value, bool)
