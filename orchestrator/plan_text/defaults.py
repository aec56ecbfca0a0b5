"""A draft without errors, with every default filled in, as the document of a plan."""

from collections.abc import Mapping
from typing import Any

from orchestrator.errors import PlanInvalid
from orchestrator.options.quantities import write_moment, write_share
from orchestrator.plan import After, Backoff, Gate, Limits, Notify, OnConflict, Phase, Scope
from orchestrator.plan_text.document import (
    backoff_document,
    gate_document,
    limits_document,
    notify_document,
)
from orchestrator.plan_text.draft import Draft, PhaseDraft
from orchestrator.plan_text.kind_options import values_of
from orchestrator.plan_text.language import VERSION, GateText, LimitsText, NotifyText

_ATTEMPTS: int = Phase(restore="", to="", sources=()).attempts


def document_of(draft: Draft) -> dict[str, Any]:
    """The canonical document of a draft without errors."""
    incident = draft.incident
    if draft.name is None or incident is None:
        raise PlanInvalid("a plan without name and incident")
    started = incident.service_start
    return {
        "version": VERSION,
        "name": draft.name,
        "incident": {
            "as_of": write_moment(incident.as_of),
            "reference": incident.reference,
            "service_start": None if started is None else write_moment(started),
        },
        "users": {"from": draft.users.listed, "decline": draft.users.decline},
        "census": draft.census,
        "sources": [
            {"name": source.name, "kind": source.kind, "options": values_of(source.options)}
            for source in draft.sources
        ],
        "targets": {
            target.name: {"kind": target.kind, "options": values_of(target.options)}
            for target in draft.targets
        },
        "waves": [
            {
                "name": wave.name,
                "users": wave.users,
                "share": None if wave.share is None else write_share(wave.share),
            }
            for _, wave in draft.waves
            if wave is not None
        ]
        or [{"name": "everyone", "users": None, "share": None}],
        "phases": [_phase_document(phase, draft) for phase in draft.phases],
        "approvals": draft.approvals,
        **notify_document(_notify(draft.notify)),
    }


def _notify(text: NotifyText | None) -> Notify:
    if text is None:
        return Notify()
    webhook = text.webhook
    return Notify(
        webhook=None if webhook is None else webhook.url,
        webhook_secret=None if webhook is None else webhook.secret,
        operators=text.operators,
    )


def _phase_document(phase: PhaseDraft, draft: Draft) -> dict[str, Any]:
    text, defaults = phase.text, draft.defaults
    if text is None or phase.category is None:
        raise PlanInvalid("a phase without category")
    waits = text.backoff or defaults.backoff
    backoff = Backoff(first=waits[0], most=waits[1]) if waits else Backoff()
    return {
        "restore": text.restore,
        "to": text.to,
        "from": text.read if text.read is not None else [source.name for source in draft.sources],
        "on_conflict": (text.on_conflict or defaults.on_conflict or OnConflict.NEWEST).value,
        "scope": (text.scope or defaults.scope or Scope.WAVE).value,
        "after": (text.after or defaults.after or After.TERMINAL).value,
        "gate": gate_document(_gate(text.gate, defaults.gate)),
        "limits": limits_document(_limits(text.limits, defaults.limits)),
        "attempts": text.attempts or defaults.attempts or _ATTEMPTS,
        "backoff": backoff_document(backoff),
        "repairs": _repairs(
            phase.category, defaults.repairs if text.repairs is None else text.repairs
        ),
        "options": values_of(phase.options),
    }


def _gate(own: GateText | None, default: GateText | None) -> Gate:
    """Field by field: the phase's, else the plan's, else ours."""
    given = _first(own, default, Gate.__dataclass_fields__)
    return Gate(**given)


def _limits(own: LimitsText | None, default: LimitsText | None) -> Limits:
    given = _first(own, default, Limits.__dataclass_fields__)
    return Limits(**given)


def _first(own: Any, default: Any, names: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in names:
        for section in (own, default):
            if section is not None and getattr(section, name) is not None:
                found[name] = getattr(section, name)
                break
    return found


def _repairs(category: type[Any], asked: str | list[str] | None) -> list[str]:
    """The names that are switched on, in alphabetical order."""
    everything = set(category.repairs)
    match asked:
        case None:
            return sorted(everything - set(category.lossy))
        case "all":
            return sorted(everything)
        case "none":
            return []
        case _:
            return sorted(set(asked))
