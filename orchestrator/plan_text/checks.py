"""What the parts of a plan demand of each other: names that meet, gates that can hold.

Every check works on what could be read, so that these problems show together with all others.
"""

import re
from collections.abc import Iterator
from datetime import datetime

from orchestrator.catalogue import suggest
from orchestrator.options.paths import climbs, overlaps, resolved
from orchestrator.options.references import is_reference
from orchestrator.plan import OnConflict
from orchestrator.plan_text.draft import Draft, KindDraft, PhaseDraft, child, place_of, scalars
from orchestrator.plan_text.kind_options import quoted
from orchestrator.plan_text.language import GateText
from orchestrator.plan_text.problems import Problems
from orchestrator.plan_text.yaml_values import Node, Place, Scalar
from orchestrator.ports import Merging

_PATH_KEYS = frozenset({"path", "paths", "file", "folder", "root", "directory", "database"})
_SQLITE = re.compile(r"sqlite(?:\+[a-z]+)?:///(?P<path>[^?#]+)")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
_ENOUGH_FOR_REPLACE = 2


def check(draft: Draft, problems: Problems, *, base: str, now: datetime) -> None:
    """Note everything that does not go together."""
    _check_times(draft, problems, now)
    _check_users(draft, problems)
    _check_places(draft, problems, base)
    _check_waves(draft, problems)
    _check_phases(draft, problems)
    _check_approvals(draft, problems)
    _check_notify(draft, problems)
    _check_unused(draft, problems)


def _check_times(draft: Draft, problems: Problems, now: datetime) -> None:
    incident = draft.incident
    if incident is None:
        return
    node = child(draft.root, "incident") or draft.root
    if incident.as_of > now:
        problems.add(
            "time-in-future",
            "the moment of the loss is still to come",
            place_of(node, "as_of"),
            "incident.as_of",
            hint="as_of is when the data was lost",
        )
    if incident.service_start is not None and incident.service_start >= incident.as_of:
        problems.add(
            "start-after-loss",
            "the service began after it lost its data",
            place_of(node, "service_start"),
            "incident.service_start",
        )


def _check_users(draft: Draft, problems: Problems) -> None:
    node = child(draft.root, "users")
    place = draft.root.entries["users"].key if node is not None else draft.root.place
    if draft.users.listed is None and not _given(node, "from"):
        problems.add(
            "everyone",
            "every user that the sources know is in scope",
            place,
            "users",
            hint="users: {from: …} names a list",
            warn=True,
        )
    if draft.users.decline is None and not _given(node, "decline"):
        problems.add(
            "nobody-declined",
            "there is no list of erased users, so nobody is left out",
            place,
            "users",
            hint="users: {decline: …} names the list of erasure requests",
            warn=True,
        )


def _given(node: Node | None, key: str) -> bool:
    found = child(node, key)
    return found is not None and not (isinstance(found, Scalar) and found.value is None)


# Where sources and targets lie ----------------------------------------------------------------


def _check_places(draft: Draft, problems: Problems, base: str) -> None:
    read: dict[str, str] = {}
    for source in draft.sources:
        for scalar, path, where in _addresses(source, base):
            _check_climbing(scalar, path, problems)
            read.setdefault(where, source.name)
    for target in draft.targets:
        for scalar, path, where in _addresses(target, base):
            _check_climbing(scalar, path, problems)
            for other, name in read.items():
                if where == other or (where.startswith("/") and overlaps(where, other)):
                    problems.add(
                        "source-is-target",
                        f"this is also read, as source {quoted(name)}",
                        scalar.place,
                        path,
                        hint="recovered material is never written to",
                    )
                    break


def _addresses(kind: KindDraft, base: str) -> Iterator[tuple[Scalar, str, str]]:
    """Where a source or target lies: the value, its path in the plan, and one spelling of it."""
    for key, entry in kind.table.entries.items():
        nodes = [entry.node] if isinstance(entry.node, Scalar) else scalars(entry.node)
        for node in nodes:
            if not isinstance(node.value, str) or not node.value or key == "kind":
                continue
            path = f"{kind.path}.{key}"
            lite = _SQLITE.fullmatch(node.value)
            if lite is not None:
                yield node, path, resolved(lite["path"], base)
            elif key in _PATH_KEYS:
                yield node, path, resolved(node.value, base)
            elif key == "url" and (is_reference(node.value) or _URL.match(node.value)):
                yield node, path, node.value.rstrip("/")


def _check_climbing(scalar: Scalar, path: str, problems: Problems) -> None:
    lite = _SQLITE.fullmatch(str(scalar.value))
    if str(scalar.value).startswith("~"):
        problems.add(
            "bad-path", "'~' is not expanded", scalar.place, path, hint="write the whole path"
        )
    elif climbs(lite["path"] if lite else str(scalar.value)):
        problems.add(
            "climbing-path",
            "a relative path may not lead out of the plan's folder",
            scalar.place,
            path,
            hint="write an absolute path, or move the plan",
        )


# Waves ----------------------------------------------------------------------------------------


def _check_waves(draft: Draft, problems: Problems) -> None:
    names: set[str] = set()
    everyone: str | None = None
    shares = 0.0
    for index, (node, wave) in enumerate(draft.waves):
        path = f"waves[{index}]"
        if wave is None:
            continue
        if wave.name in names:
            problems.add(
                "name-twice",
                f"there are two waves called {quoted(wave.name)}",
                place_of(node, "name"),
                f"{path}.name",
            )
        names.add(wave.name)
        if wave.users is not None and wave.share is not None:
            problems.add(
                "users-and-share",
                "a wave has a number of users or a share of them, not both",
                place_of(node, "share"),
                f"{path}.share",
            )
        if everyone is not None:
            problems.add(
                "wave-after-everyone",
                f"nobody is left after the wave {quoted(everyone)}",
                node.place,
                path,
                hint="a wave without users and share admits everyone and comes last",
            )
        elif wave.users is None and wave.share is None:
            everyone = wave.name
        shares += wave.share or 0.0
        if shares > 1 + 1e-9 and wave.share is not None:
            problems.add(
                "shares-over-100",
                f"the waves' shares are {shares * 100:g}% up to here",
                place_of(node, "share"),
                f"{path}.share",
            )
    complete = everyone is not None or shares > 1 - 1e-9
    if draft.waves and not complete and all(wave for _, wave in draft.waves):
        problems.add(
            "not-everyone",
            "after the last wave users may be left who are never restored",
            draft.waves[-1][0].place,
            f"waves[{len(draft.waves) - 1}]",
            hint="end with a wave that has only a name",
            warn=True,
        )


# Phases ---------------------------------------------------------------------------------------


def _check_phases(draft: Draft, problems: Problems) -> None:
    sources = tuple(source.name for source in draft.sources)
    targets = tuple(target.name for target in draft.targets)
    categories: dict[str, str] = {}
    for index, phase in enumerate(draft.phases):
        _check_category_twice(phase, categories, problems)
        to = phase.scalar("to")
        if to is not None and isinstance(to.value, str) and to.value not in targets:
            problems.add(
                "unknown-target",
                f"no target is called {quoted(to.value)}",
                to.place,
                f"{phase.path}.to",
                hint=suggest(to.value, targets) if targets else "name one under targets:",
            )
        _check_from(phase, sources, problems)
        _check_repairs(phase, problems)
        _check_merging(phase, draft, problems)
        if index == 0 and phase.text is not None and phase.text.scope == "user":
            problems.add(
                "no-predecessor",
                "the first phase has no phase before it to wait for",
                place_of(phase.node, "scope"),
                f"{phase.path}.scope",
                warn=True,
            )
        _check_gate(child(phase.node, "gate"), phase.text and phase.text.gate, phase.path, problems)
    defaults = child(draft.root, "defaults")
    _check_gate(child(defaults, "gate"), draft.defaults.gate, "defaults", problems)


def _check_category_twice(
    phase: PhaseDraft, categories: dict[str, str], problems: Problems
) -> None:
    restore = phase.scalar("restore")
    if restore is None or not isinstance(restore.value, str):
        return
    if restore.value in categories:
        problems.add(
            "category-twice",
            f"{quoted(restore.value)} is restored in {categories[restore.value]} already",
            restore.place,
            f"{phase.path}.restore",
            hint="a phase reads all its sources: name them with from: […]",
        )
    categories.setdefault(restore.value, phase.path)


def _check_from(phase: PhaseDraft, sources: tuple[str, ...], problems: Problems) -> None:
    listing = child(phase.node, "from")
    if phase.text is not None and phase.text.read == [] and listing is not None:
        problems.add(
            "empty-list", "a phase reads at least one source", listing.place, f"{phase.path}.from"
        )
    seen: set[str] = set()
    for index, name in enumerate(scalars(listing)):
        path = f"{phase.path}.from[{index}]"
        if not isinstance(name.value, str):
            continue
        if name.value not in sources:
            problems.add(
                "unknown-source",
                f"no source is called {quoted(name.value)}",
                name.place,
                path,
                hint=suggest(name.value, sources) if sources else "name one under sources:",
            )
        elif name.value in seen:
            problems.add("name-twice", "this source is named twice", name.place, path)
        seen.add(name.value)


def _check_repairs(phase: PhaseDraft, problems: Problems) -> None:
    if phase.category is None:
        return
    known = tuple(sorted(phase.category.repairs))
    for index, name in enumerate(scalars(child(phase.node, "repairs"))):
        if isinstance(name.value, str) and name.value not in known:
            problems.add(
                "unknown-repair",
                f"{quoted(name.value)} is not a repair of this category",
                name.place,
                f"{phase.path}.repairs[{index}]",
                hint=suggest(name.value, known),
            )


def _check_merging(phase: PhaseDraft, draft: Draft, problems: Problems) -> None:
    """Only what consists of fields can be merged field by field."""
    category, word = phase.category, phase.scalar("on_conflict")
    if category is None or phase.text is None or issubclass(category, Merging):
        return
    asked = phase.text.on_conflict or draft.defaults.on_conflict
    named = phase.scalar("restore")
    if asked is OnConflict.MERGE and named is not None:
        problems.add(
            "cannot-merge",
            f"{quoted(str(named.value))} has no fields that could be merged"
            + ("" if word is not None else ", and merge is the plan's default"),
            (word or named).place,
            f"{phase.path}.{'on_conflict' if word is not None else 'restore'}",
            hint="give this phase on_conflict: newest, keep-live, keep-both or replace",
        )


def _check_gate(node: Node | None, gate: GateText | None, path: str, problems: Problems) -> None:
    if node is None or gate is None or gate.settled is None or gate.failed is None:
        return
    if gate.settled + gate.failed > 1 + 1e-9:
        problems.add(
            "gate-contradicts",
            "settled and failed together are more than 100%: "
            "where that many fail, that many cannot settle",
            place_of(node, "failed"),
            f"{path}.gate.failed",
            hint=f"at most {round((1 - gate.settled) * 100, 9):g}% can fail where "
            f"{round(gate.settled * 100, 9):g}% settle",
        )


def _check_approvals(draft: Draft, problems: Problems) -> None:
    if draft.approvals == 0:
        problems.add(
            "nobody-approves",
            "nobody has to approve this plan before it writes",
            place_of(draft.root, "approvals"),
            "approvals",
            warn=True,
        )
    if draft.approvals >= _ENOUGH_FOR_REPLACE:
        return
    places: list[tuple[Node | None, str]] = [(child(draft.root, "defaults"), "defaults")]
    places.extend((phase.node, phase.path) for phase in draft.phases)
    for node, path in places:
        word = child(node, "on_conflict")
        if isinstance(word, Scalar) and word.value == OnConflict.REPLACE.value:
            problems.add(
                "replace-needs-approvals",
                "replace overwrites what users changed since; it takes two approvals",
                word.place,
                f"{path}.on_conflict",
                hint="approvals: 2",
            )


def _check_notify(draft: Draft, problems: Problems) -> None:
    webhook = draft.notify.webhook if draft.notify is not None else None
    if webhook is None or is_reference(webhook.url):
        return
    if not webhook.url.startswith(("https://", "http://")):
        problems.add(
            "bad-url",
            "a webhook is called by https",
            place_of(draft.root, "notify", "webhook", "url"),
            "notify.webhook.url",
            hint="https://…, or a reference like env:HOOK_URL",
        )


def _check_unused(draft: Draft, problems: Problems) -> None:
    if not draft.phases or not all(phase.text for phase in draft.phases):
        return
    texts = [phase.text for phase in draft.phases if phase.text is not None]
    written = {text.to for text in texts}
    everything = any(text.read is None for text in texts)
    read = {name for text in texts for name in text.read or ()}
    for kind in draft.targets:
        if kind.name not in written:
            _unused(kind, "no phase restores to this target", problems)
    for kind in draft.sources:
        if not everything and kind.name not in read:
            _unused(kind, "no phase reads this source", problems)


def _unused(kind: KindDraft, message: str, problems: Problems) -> None:
    place: Place = kind.key
    problems.add("unused", message, place, kind.path, warn=True)
