"""The words of a plan as they are written: sections, fields and their spellings.

One dataclass a section. Their types are the validation, their docstrings the reference and the
JSON Schema. What they mean once every default is filled in is `plan.Plan`.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

from pydantic import Field

from orchestrator.options.paths import PlanPath
from orchestrator.options.quantities import Duration, Durations, Flow, Moment, Rate, Share
from orchestrator.options.references import Location, Secret
from orchestrator.options.spellings import Misspelt, Spelling
from orchestrator.plan import After, OnConflict, Scope
from orchestrator.plan_text.yaml_values import CONTROL, INVISIBLE

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_LONGEST_LINE = 200

VERSION = 1
"""Of the language."""


def read_name(value: Any) -> str:
    """A name that is safe in URLs, metrics, file names and on every terminal."""
    if isinstance(value, str) and _NAME.fullmatch(value):
        return value
    if value is None or isinstance(value, str):
        raise Misspelt(
            "bad-name",
            _wrong_with_name(value or ""),
            hint="up to 63 of A-Z a-z 0-9 _ . - and a letter or digit first",
        )
    if isinstance(value, int | float):
        raise Misspelt("wrong-type", "a name is expected here", hint="write it in quotes")
    raise Misspelt("wrong-type", "a name is expected here")


def _wrong_with_name(name: str) -> str:
    if not name:
        return "a name is empty"
    if "\n" in name or "\r" in name:
        return "a name with a line break"
    if "/" in name or "\\" in name:
        return "a name with a slash"
    if CONTROL.search(name) or INVISIBLE.search(name):
        return "a name with invisible, right-to-left or control characters"
    if len(name) > 63:  # noqa: PLR2004  the pattern's own limit
        return "a name is too long"
    return "a name with characters that names do not have"


def read_line(value: Any) -> str:
    """A short text of one line."""
    if not isinstance(value, str):
        raise Misspelt("wrong-type", "a text is expected here", hint="write it in quotes")
    if len(value) > _LONGEST_LINE:
        raise Misspelt("too-long", f"at most {_LONGEST_LINE} characters")
    if "\n" in value or CONTROL.search(value) or INVISIBLE.search(value):
        raise Misspelt("bad-text", "one line of visible characters is expected here")
    return value


def read_repairs(value: Any) -> str | list[str]:
    """`all`, `none`, or a list of names."""
    if value in ("all", "none"):
        return value
    hint = "all, none, or a list of their names"
    if not isinstance(value, list):
        raise Misspelt("unknown-word", "this is no choice of repairs", hint=hint)
    names = cast("list[Any]", value)
    if not all(isinstance(name, str) for name in names):
        raise Misspelt("wrong-type", "a repair has a name", hint=hint)
    return names


Name = Annotated[str, Spelling(read_name, str, {"type": "string", "pattern": f"^{_NAME.pattern}$"})]
"""What a plan, wave, source or target is called."""

Line = Annotated[str, Spelling(read_line, str, {"type": "string", "maxLength": _LONGEST_LINE})]
"""A short text of one line."""

Repairs = Annotated[
    Any,
    Spelling(
        read_repairs,
        lambda repairs: repairs,
        {"anyOf": [{"enum": ["all", "none"]}, {"type": "array", "items": {"type": "string"}}]},
    ),
]
"""Which repairs are switched on."""

People = Annotated[int, Field(ge=0, le=9)]
Attempts = Annotated[int, Field(ge=1, le=100)]


@dataclass(frozen=True, kw_only=True)
class IncidentText:
    """What happened, and when."""

    as_of: Moment
    """The moment of the loss, with its zone. What is newer on a target is the user's own."""
    reference: Line = ""
    """The incident's number where you keep track of it."""
    service_start: Moment | None = None
    """When the service began: nothing recovered can be older."""


@dataclass(frozen=True, kw_only=True)
class UsersText:
    """Who is restored, and who never."""

    listed: Annotated[PlanPath | None, Field(alias="from")] = None
    """A CSV file with a `user` column, or one id a line; absent: everyone the sources know."""
    decline: PlanPath | None = None
    """The same of users that are never restored: erasure requests."""


@dataclass(frozen=True, kw_only=True)
class WaveText:
    """A group of users admitted together; with neither `users` nor `share`, everyone left."""

    name: Name
    """What the wave is called; different from all others."""
    users: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    """So many users."""
    share: Share | None = None
    """So many of all users in scope, in per cent."""


@dataclass(frozen=True, kw_only=True)
class GateText:
    """What must hold of a wave's phase before the next wave and the next phase open."""

    settled: Share | None = None
    """At least this share of its units is settled. Default: not asked."""
    failed: Share | None = None
    """At most this share of its units has failed. Default: 1%."""
    approve: People | None = None
    """So many people have to promote it by hand. Default: 0."""
    soak: Duration | None = None
    """So long it has to rest after its last unit. Default: not at all."""


@dataclass(frozen=True, kw_only=True)
class LimitsText:
    """What a phase may demand of its target, over all workers."""

    rate: Rate | None = None
    """Items a second, minute or hour."""
    bytes: Flow | None = None
    """Bytes a second, minute or hour."""


@dataclass(frozen=True, kw_only=True)
class DefaultsText:
    """What holds for every phase that does not say otherwise."""

    on_conflict: OnConflict | None = None
    """Who wins where the target holds something else. Default: newest."""
    scope: Scope | None = None
    """What a phase waits for: its wave's previous phase, or each user's own. Default: wave."""
    after: After | None = None
    """Whether a user's previous category must be settled, or only ended. Default: terminal."""
    gate: GateText | None = None
    """What must hold before the next wave and phase open."""
    attempts: Attempts | None = None
    """How often a unit is tried. Default: 5."""
    backoff: Durations | None = None
    """The first and the longest wait between attempts. Default: 30s..10m."""
    limits: LimitsText | None = None
    """What a phase may demand of its target."""
    repairs: Literal["all", "none"] | None = None
    """Which repairs are switched on. Default: all that lose nothing."""


@dataclass(frozen=True, kw_only=True)
class PhaseText(DefaultsText):
    """One category restored for everyone in scope; the category's own options stand beside."""

    restore: str
    """The category."""
    to: str
    """The name of the target."""
    read: Annotated[list[str] | None, Field(alias="from")] = None
    """Names of the sources to read, most trusted first. Default: all, in the plan's order."""
    repairs: Repairs | None = None
    """Which repairs are switched on: all (lossy ones too), none, or their names.

    Default: all that lose nothing."""


@dataclass(frozen=True, kw_only=True)
class WebhookText:
    """A program of yours that is told, by signed HTTP requests."""

    url: Location
    """Where it answers: https://…, or a reference to that."""
    secret: Secret
    """What signs the requests: `whsec_…`, by reference."""


@dataclass(frozen=True, kw_only=True)
class NotifyText:
    """Who hears of what happens to the run: numbers and states, nothing about a person."""

    webhook: WebhookText | None = None
    """A program of yours. Default: none."""
    operators: Secret | None = None
    """Apprise URLs of people, by reference; needs the extra `apprise` on workers. Default: none."""


@dataclass(frozen=True, kw_only=True)
class PlanText:
    """A restoration plan."""

    version: Literal[1]
    """Of the language: 1."""
    name: Name
    """What the plan is called."""
    incident: IncidentText
    """What happened, and when."""
    sources: dict[str, Any]
    """The recovered material by name, most trusted first."""
    targets: dict[str, Any]
    """The live systems by name."""
    phases: list[Any]
    """What is restored, in this order."""
    users: UsersText | None = None
    """Who is restored, and who never. Default: everyone the sources know."""
    census: PlanPath | None = None
    """A CSV file with the columns user, category, expected: what each user had."""
    waves: list[WaveText] | None = None
    """Groups of users, admitted one after the other. Default: everyone at once."""
    defaults: DefaultsText | None = None
    """What holds for every phase that does not say otherwise."""
    approvals: Annotated[int, Field(ge=0, le=9)] = 1
    """So many people, none of them the author, have to approve the plan before it writes."""
    notify: NotifyText | None = None
    """Who hears of what happens. Default: nobody."""
