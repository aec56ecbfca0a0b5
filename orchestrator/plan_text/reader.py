"""The parts of a plan from its YAML, each by itself, so that one that is wrong hides no other."""

from collections.abc import Mapping
from typing import Any, TypeVar

from orchestrator.catalogue import Catalogue, Family
from orchestrator.errors import NotFound, Unavailable
from orchestrator.options.spellings import Misspelt
from orchestrator.plan_text.draft import Draft, KindDraft, PhaseDraft, child, scalar
from orchestrator.plan_text.kind_options import missing_key, quoted, read_section, unknown_key
from orchestrator.plan_text.language import (
    VERSION,
    DefaultsText,
    IncidentText,
    NotifyText,
    PhaseText,
    PlanText,
    UsersText,
    WaveText,
    read_name,
)
from orchestrator.plan_text.problems import Problems
from orchestrator.plan_text.yaml_values import Listing, Node, Place, Scalar, Table

LATER_KEYS: Mapping[str, frozenset[str]] = {
    "users": frozenset({"query"}),
}
"""Keys that the language knows and this version does not have, by the section they stand in."""

_REQUIRED = ("version", "name", "incident", "sources", "targets", "phases")
_TOP = tuple(PlanText.__dataclass_fields__)
_PHASE_KEYS = (
    "restore",
    "to",
    "from",
    *(name for name in DefaultsText.__dataclass_fields__),
)

Section = TypeVar("Section")


class PlanReader:
    """Turns a tree into a draft and notes every problem on the way."""

    def __init__(self, catalogue: Catalogue, problems: Problems) -> None:
        self.catalogue = catalogue
        self.problems = problems

    def read(self, root: Node | None) -> Draft | None:
        """The draft, or None where it is no plan of this version at all."""
        if root is None and self.problems.errors:
            return None
        if root is None or (isinstance(root, Scalar) and root.value is None):
            hint = "start with version: 1"
            self.problems.add("empty", "the plan is empty", Place(), "", hint=hint)
            return None
        if not isinstance(root, Table):
            hint = "start with version: 1"
            self.problems.add("not-a-plan", "a plan is a mapping", root.place, "", hint=hint)
            return None
        if not self._version(root):
            return None
        self._keys(root)
        draft = Draft(root=root)
        draft.name = self._name(child(root, "name"))
        draft.incident = self._section(IncidentText, child(root, "incident"), "incident")
        draft.users = self._section(UsersText, self._users(root), "users") or draft.users
        draft.census = self._plain(root, "census")
        approvals = self._plain(root, "approvals")
        draft.approvals = 1 if approvals is None else approvals
        draft.sources = self._kinds(root, "sources", self.catalogue.sources)
        draft.targets = self._kinds(root, "targets", self.catalogue.targets)
        draft.waves = self._waves(child(root, "waves"))
        draft.notify = self._section(NotifyText, child(root, "notify"), "notify")
        defaults = child(root, "defaults")
        draft.defaults = self._section(DefaultsText, defaults, "defaults") or draft.defaults
        draft.phases = self._phases(child(root, "phases"))
        return draft

    def _version(self, root: Table) -> bool:
        """Whether the rest is in the language that we know."""
        given = child(root, "version")
        if given is None:
            return True  # said as a missing key, with the rest
        value = given.value if isinstance(given, Scalar) else None
        if isinstance(value, bool) or not isinstance(value, int):
            self.problems.add("wrong-type", "the version is a number: 1", given.place, "version")
        elif value != VERSION:
            message = f"version {value} of the plan language is not known"
            hint = f"this is version {VERSION}"
            self.problems.add("unknown-version", message, given.place, "version", hint=hint)
            return False
        return True

    def _keys(self, root: Table) -> None:
        for key, entry in root.entries.items():
            if key not in _TOP:
                self.problems.add_all([unknown_key(key, entry, "", _TOP)])
        for key in _REQUIRED:
            if key not in root.entries:
                self.problems.add_all([missing_key(key, root, "", _TOP)])

    def _later(self, what: str, place: Place, path: str) -> None:
        self.problems.add("not-available", f"{what} is not available yet", place, path)

    def _section(self, kind: type[Section], node: Node | None, path: str) -> Section | None:
        if node is None or (isinstance(node, Scalar) and node.value is None and path != "incident"):
            return None
        section, faults = read_section(kind, node, path)
        self.problems.add_all(faults)
        return section

    def _plain(self, root: Table, key: str) -> Any:
        """A value of the top level, checked together with whatever else is wrong there."""
        node = child(root, key)
        if node is None or (isinstance(node, Scalar) and node.value is None):
            return None
        alone = Table({key: root.entries[key]}, root.place)
        _, faults = read_section(PlanText, alone, "")
        mine = [fault for fault in faults if fault.path == key]
        self.problems.add_all(mine)
        return None if mine or not isinstance(node, Scalar) else node.value

    def _name(self, node: Node | None) -> str | None:
        if node is None:
            return None
        value = node.value if isinstance(node, Scalar) else ()
        return self._spelled_name(value, node.place, "name")

    def _spelled_name(self, value: Any, place: Place, path: str) -> str | None:
        try:
            return read_name(value)
        except Misspelt as wrong:
            self.problems.add(wrong.code, wrong.message, place, path, hint=wrong.hint)
            return None

    def _users(self, root: Table) -> Node | None:
        node = child(root, "users")
        if not isinstance(node, Table):
            return node
        for key in LATER_KEYS["users"] & node.entries.keys():
            self._later(f"'users.{key}'", node.entries[key].key, f"users.{key}")
        rest = {key: e for key, e in node.entries.items() if key not in LATER_KEYS["users"]}
        return Table(rest, node.place)

    # Sources and targets

    def _kinds(self, root: Table, section: str, family: Family) -> list[KindDraft]:
        node = child(root, section)
        if node is None:
            return []
        if not isinstance(node, Table):
            message = f"{section} are a mapping of names"
            hint = f"{section}: {{core: {{kind: …}}}}"
            self.problems.add("wrong-type", message, node.place, section, hint=hint)
            return []
        if not node.entries:
            message = f"a plan has at least one of its {section}"
            self.problems.add("empty-list", message, node.place, section)
        drafts: list[KindDraft] = []
        for name, entry in node.entries.items():
            path = f"{section}.{name[:80]}"
            self._spelled_name(name, entry.key, path)
            if not isinstance(entry.node, Table):
                message = "a mapping with a kind is expected here"
                self.problems.add("wrong-type", message, entry.node.place, path)
                continue
            draft = KindDraft(name=name, key=entry.key, path=path, table=entry.node)
            self._options(draft, family)
            drafts.append(draft)
        return drafts

    def _options(self, draft: KindDraft, family: Family) -> None:
        given = scalar(draft.table, "kind")
        if "kind" not in draft.table.entries:
            hint = f"one of: {', '.join(family.names())}"
            self.problems.add(
                "missing-key", "'kind' is missing", draft.table.place, draft.path, hint=hint
            )
            return
        if given is None or not isinstance(given.value, str):
            place = draft.table.entries["kind"].node.place
            message = "the name of a kind is expected here"
            self.problems.add("wrong-type", message, place, f"{draft.path}.kind")
            return
        found = self._kind(family, given.value, given.place, f"{draft.path}.kind")
        if found is None:
            return
        draft.kind = given.value
        options = {key: entry for key, entry in draft.table.entries.items() if key != "kind"}
        draft.options, faults = read_section(
            found, Table(options, draft.table.place), draft.path, also=("kind",)
        )
        self.problems.add_all(faults)

    def _kind(self, family: Family, name: str, place: Place, path: str) -> type[Any] | None:
        try:
            return family.kind(name)
        except NotFound as missing:
            code = f"unknown-{family.word.split()[-1]}"
            message = missing.message if name.isprintable() else "this is no name"
            message = message.replace(f"'{name}'", quoted(name))
            self.problems.add(code, message, place, path, hint=missing.hint)
        except Unavailable as broken:
            self.problems.add("kind-unavailable", broken.message, place, path, hint=broken.hint)
        return None

    # Waves and phases

    def _items(self, node: Node | None, section: str) -> list[Node]:
        if node is None or (isinstance(node, Scalar) and node.value is None and section == "waves"):
            return []
        if not isinstance(node, Listing):
            message = f"{section} are a list"
            self.problems.add("wrong-type", message, node.place, section)
            return []
        if not node.nodes:
            message = f"an empty list: a plan has at least one of its {section}"
            self.problems.add("empty-list", message, node.place, section)
        return node.nodes

    def _waves(self, node: Node | None) -> list[tuple[Node, WaveText | None]]:
        items = enumerate(self._items(node, "waves"))
        return [(item, self._section(WaveText, item, f"waves[{index}]")) for index, item in items]

    def _phases(self, node: Node | None) -> list[PhaseDraft]:
        items = enumerate(self._items(node, "phases"))
        return [self._phase(item, f"phases[{index}]") for index, item in items]

    def _phase(self, node: Node, path: str) -> PhaseDraft:
        draft = PhaseDraft(path=path, node=node)
        if not isinstance(node, Table):
            message = "a phase is a mapping"
            hint = "{restore: contacts, to: …}"
            self.problems.add("wrong-type", message, node.place, path, hint=hint)
            return draft
        named = scalar(node, "restore")
        if named is not None and isinstance(named.value, str):
            draft.category = self._kind(
                self.catalogue.categories, named.value, named.place, f"{path}.restore"
            )
        own = {key: entry for key, entry in node.entries.items() if key in _PHASE_KEYS}
        rest = {key: entry for key, entry in node.entries.items() if key not in _PHASE_KEYS}
        draft.text, faults = read_section(PhaseText, Table(own, node.place), path)
        self.problems.add_all(fault for fault in faults if fault.code != "missing-key")
        for key in ("restore", "to"):
            if key not in own:
                self.problems.add_all([missing_key(key, node, path, _PHASE_KEYS)])
        if draft.category is not None:
            options = Table(rest, node.place)
            draft.options, faults = read_section(draft.category, options, path, also=_PHASE_KEYS)
            self.problems.add_all(faults)
        else:  # whether these are options of a category nobody knows
            for key, entry in rest.items():
                self.problems.add_all([unknown_key(key, entry, path, _PHASE_KEYS)])
        return draft
