"""A plan as canonical JSON: what the ledger keeps, the digest is made of and workers read.

Every default is filled in and every quantity has one spelling, so that two texts that ask for the
same have the same document, and a stored plan means the same after an upgrade. Sources are a list:
their order is their trust. Mappings whose order means nothing are sorted.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from pydantic import ValidationError

from orchestrator.catalogue import Catalogue, installed
from orchestrator.errors import NotFound, PlanInvalid, Problem
from orchestrator.options.quantities import (
    read_duration,
    read_durations,
    read_flow,
    read_moment,
    read_rate,
    read_share,
    write_duration,
    write_durations,
    write_flow,
    write_rate,
    write_share,
)
from orchestrator.plan import (
    After,
    Backoff,
    Gate,
    Incident,
    Kind,
    Limits,
    Notify,
    OnConflict,
    Phase,
    Plan,
    Scope,
    Users,
    Wave,
)
from orchestrator.plan_text.kind_options import build


def canonical(document: Mapping[str, Any]) -> bytes:
    """The one JSON text of a document."""
    return json.dumps(
        document, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
    ).encode()


def digest_of(document: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON, in hexadecimal."""
    return sha256(canonical(document)).hexdigest()


def gate_document(gate: Gate) -> dict[str, Any]:
    """A gate as JSON values."""
    return {
        "settled": None if gate.settled is None else write_share(gate.settled),
        "failed": write_share(gate.failed),
        "approve": gate.approve,
        "soak": write_duration(gate.soak),
    }


def limits_document(limits: Limits) -> dict[str, Any]:
    """Limits as JSON values."""
    return {
        "rate": None if limits.rate is None else write_rate(limits.rate),
        "bytes": None if limits.bytes is None else write_flow(limits.bytes),
    }


def backoff_document(backoff: Backoff) -> str:
    """The waits as a plan spells them."""
    return write_durations((backoff.first, backoff.most))


def notify_document(notify: Notify) -> dict[str, Any]:
    """Who hears of a run, as what the document has of it: nothing where it is nobody."""
    if notify == Notify():
        return {}
    webhook = {"url": notify.webhook, "secret": notify.webhook_secret}
    return {
        "notify": {
            "webhook": webhook if notify.webhook is not None else None,
            "operators": notify.operators,
        }
    }


def notify_from_document(document: Mapping[str, Any]) -> Notify:
    """The same, back."""
    part = document.get("notify") or {}
    webhook = part.get("webhook") or {}
    return Notify(
        webhook=webhook.get("url"),
        webhook_secret=webhook.get("secret"),
        operators=part.get("operators"),
    )


def notify_of(text: str) -> Notify:
    """The same of a stored plan, which may be long and mostly names nobody."""
    return notify_from_document(json.loads(text)) if '"notify"' in text else Notify()


def plan_from_document(document: Mapping[str, Any], *, catalogue: Catalogue | None = None) -> Plan:
    """The plan that a document describes: the same that `read_plan` gave.

    Raises `PlanInvalid` where the document is none, or where a kind that it names is not
    installed here or has other options.
    """
    known = catalogue or installed()
    ordered = json.loads(canonical(document))
    try:
        return _plan(ordered, known)
    except NotFound as missing:
        raise _unfit(missing.message, missing.hint) from missing
    except ValidationError as invalid:
        raise _unfit(f"the options of {invalid.title} have changed since it was stored") from None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _unfit(f"it has no valid {error}" if isinstance(error, KeyError) else "") from error


def _unfit(why: str, hint: str = "") -> PlanInvalid:
    message = f"the stored plan cannot be read{': ' if why else ''}{why}"
    problem = Problem(code="bad-document", message=message, line=1, column=1, hint=hint)
    return PlanInvalid(message, problems=[problem], hint=hint)


def _plan(document: dict[str, Any], known: Catalogue) -> Plan:
    incident = document["incident"]
    started = incident["service_start"]
    return Plan(
        name=document["name"],
        incident=Incident(
            as_of=read_moment(incident["as_of"]),
            reference=incident["reference"],
            service_start=None if started is None else read_moment(started),
        ),
        users=Users(listed=document["users"]["from"], decline=document["users"]["decline"]),
        census=document["census"],
        sources={
            entry["name"]: Kind(
                name=entry["name"],
                kind=entry["kind"],
                options=build(known.sources.kind(entry["kind"]), entry["options"]),
            )
            for entry in document["sources"]
        },
        targets={
            name: Kind(
                name=name,
                kind=entry["kind"],
                options=build(known.targets.kind(entry["kind"]), entry["options"]),
            )
            for name, entry in document["targets"].items()
        },
        waves=tuple(_wave(wave) for wave in document["waves"]),
        phases=tuple(_phase(phase, known) for phase in document["phases"]),
        approvals=document["approvals"],
        notify=notify_from_document(document),
        version=document["version"],
        document=document,
        digest=digest_of(document),
    )


def _wave(wave: dict[str, Any]) -> Wave:
    share = wave["share"]
    return Wave(
        name=wave["name"],
        users=wave["users"],
        share=None if share is None else read_share(share),
    )


def _phase(phase: dict[str, Any], known: Catalogue) -> Phase:
    gate, limits = phase["gate"], phase["limits"]
    first, most = read_durations(phase["backoff"])
    return Phase(
        restore=phase["restore"],
        to=phase["to"],
        sources=tuple(phase["from"]),
        on_conflict=OnConflict(phase["on_conflict"]),
        scope=Scope(phase["scope"]),
        after=After(phase["after"]),
        gate=Gate(
            settled=None if gate["settled"] is None else read_share(gate["settled"]),
            failed=read_share(gate["failed"]),
            approve=gate["approve"],
            soak=read_duration(gate["soak"]),
        ),
        limits=Limits(
            rate=None if limits["rate"] is None else read_rate(limits["rate"]),
            bytes=None if limits["bytes"] is None else read_flow(limits["bytes"]),
        ),
        attempts=phase["attempts"],
        backoff=Backoff(first=first, most=most),
        repairs=tuple(phase["repairs"]),
        options=build(known.categories.kind(phase["restore"]), phase["options"]),
    )
