"""A plan half read: what could be understood of each part, and where it stands in the text.

What could not be understood is None; its problems have been noted, and the checks of what
belongs together go on with the rest.
"""

from dataclasses import dataclass, field
from typing import Any

from orchestrator.plan_text.language import (
    DefaultsText,
    IncidentText,
    NotifyText,
    PhaseText,
    UsersText,
    WaveText,
)
from orchestrator.plan_text.yaml_values import Listing, Node, Place, Scalar, Table


@dataclass(kw_only=True)
class KindDraft:
    """A source or target as it stands in the text."""

    name: str
    key: Place
    path: str
    table: Table
    kind: str | None = None
    options: Any = None


@dataclass(kw_only=True)
class PhaseDraft:
    """A phase as it stands in the text."""

    path: str
    node: Node
    text: PhaseText | None = None
    category: type[Any] | None = None
    options: Any = None

    def scalar(self, key: str) -> Scalar | None:
        """The single value under a key, whether or not the phase as a whole makes sense."""
        return scalar(self.node, key)


@dataclass(kw_only=True)
class Draft:
    """All of a plan."""

    root: Table
    name: str | None = None
    incident: IncidentText | None = None
    users: UsersText = field(default_factory=UsersText)
    census: str | None = None
    sources: list[KindDraft] = field(default_factory=list[KindDraft])
    targets: list[KindDraft] = field(default_factory=list[KindDraft])
    waves: list[tuple[Node, WaveText | None]] = field(
        default_factory=list[tuple[Node, WaveText | None]]
    )
    defaults: DefaultsText = field(default_factory=DefaultsText)
    phases: list[PhaseDraft] = field(default_factory=list[PhaseDraft])
    approvals: int = 1
    notify: NotifyText | None = None


def child(node: Node | None, key: str) -> Node | None:
    """What stands under a key."""
    if isinstance(node, Table) and key in node.entries:
        return node.entries[key].node
    return None


def scalar(node: Node | None, key: str) -> Scalar | None:
    """The single value under a key."""
    found = child(node, key)
    return found if isinstance(found, Scalar) else None


def place_of(node: Node, *keys: str) -> Place:
    """Where the value under these keys stands, or the nearest that there is."""
    for key in keys:
        found = child(node, key)
        if found is None:
            break
        node = found
    return node.place


def scalars(node: Node | None) -> list[Scalar]:
    """The single values of a list."""
    if not isinstance(node, Listing):
        return []
    return [item for item in node.nodes if isinstance(item, Scalar)]
