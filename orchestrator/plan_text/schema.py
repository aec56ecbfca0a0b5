"""The JSON Schema of plans, for editors: `python -m orchestrator.plan_text.schema`.

Made of the same dataclasses that plans are read with, and of every installed kind. It knows what
each part looks like; what the parts demand of each other only `reinstate check` knows.
"""

import json
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import TypeAdapter

from orchestrator.catalogue import Catalogue, Family, installed
from orchestrator.plan import OnConflict
from orchestrator.plan_text.kind_options import classes_of, prepare
from orchestrator.plan_text.language import DefaultsText, Name, PhaseText, PlanText
from orchestrator.ports import Merging

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DEFINITIONS = "#/$defs/{model}"


def plan_schema(catalogue: Catalogue | None = None) -> dict[str, Any]:
    """The schema, with a definition for each section and each installed kind."""
    known = catalogue or installed()
    kinds = {
        **_named("category", known.categories),
        **_named("source", known.sources),
        **_named("target", known.targets),
    }
    classes = {"plan": PlanText, "phase": PhaseText, "defaults": DefaultsText, **kinds}
    with _described(list(classes.values())):
        adapters = {name: TypeAdapter(kind) for name, kind in classes.items()}
        schemas, shared = TypeAdapter.json_schemas(
            [(name, "validation", adapter) for name, adapter in adapters.items()],
            ref_template=_DEFINITIONS,
        )
    definitions: dict[str, Any] = _untitled(shared.get("$defs", {}))
    parts = {name: _resolved(schemas[name, "validation"], definitions) for name in classes}
    plan = parts.pop("plan")
    phase = parts.pop("phase")
    for name, kind in kinds.items():
        sort, word = name.split(" ")
        parts[name] = (
            _phase(phase, parts[name], word, kind)
            if sort == "category"
            else _source_or_target(parts[name], word)
        )
    used = {name.replace(" ", "-"): part for name, part in parts.items() if name in kinds}
    properties = plan["properties"]
    for section, sort in (("sources", "source"), ("targets", "target")):
        properties[section] = {
            "type": "object",
            "description": properties[section]["description"],
            "minProperties": 1,
            "propertyNames": TypeAdapter(Name).json_schema(),
            "additionalProperties": _one_of(used, sort),
        }
    properties["phases"] = {
        "type": "array",
        "description": properties["phases"]["description"],
        "minItems": 1,
        "items": _one_of(used, "category"),
    }
    everything = {**definitions, **used}
    needed = _needed(plan, everything)
    return {
        "$schema": DIALECT,
        **plan,
        "title": "A Reinstate plan",
        "$defs": {name: everything[name] for name in sorted(needed)},
    }


def _named(sort: str, family: Family) -> dict[str, type[Any]]:
    return {f"{sort} {name}": family.kind(name) for name in family.names()}


@contextmanager
def _described(kinds: list[type[Any]]) -> Generator[None]:
    """Let pydantic read attribute docstrings, which takes too long for every start."""
    classes = {part for kind in kinds for part in classes_of(kind)}
    before = {part: vars(part).get("__pydantic_config__") for part in classes}
    for part in classes:
        prepare(part)
        config = vars(part)["__pydantic_config__"]
        _configure(part, {**config, "use_attribute_docstrings": True})
    try:
        yield
    finally:
        for part, config in before.items():
            if config is not None:
                _configure(part, config)
            else:
                del part.__pydantic_config__


def _configure(part: type[Any], config: Mapping[str, Any]) -> None:
    setattr(part, "__pydantic_config__", config)  # noqa: B010  pyright knows no such attribute


def _resolved(schema: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """A section's own schema, taken out of the definitions."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rsplit("/", 1)[-1]]
    return _untitled(schema)


def _untitled(schema: Any) -> Any:
    """A copy without pydantic's titles, which only repeat the names of our classes and fields."""
    match schema:
        case dict():
            return {
                key: _untitled(part)
                for key, part in schema.items()
                if key != "title" or not isinstance(part, str)
            }
        case list():
            return [_untitled(part) for part in schema]
        case _:
            return schema


def _source_or_target(part: dict[str, Any], word: str) -> dict[str, Any]:
    return {
        **part,
        "title": word,
        "properties": {"kind": {"const": word}, **part.get("properties", {})},
        "required": ["kind", *part.get("required", [])],
        "additionalProperties": False,
    }


def _phase(
    phase: dict[str, Any], options: dict[str, Any], word: str, kind: type[Any]
) -> dict[str, Any]:
    """A phase's own fields with its category's options beside them."""
    named = {"enum": sorted(kind.repairs)} if kind.repairs else {"enum": []}
    lossy = [f"{name} (loses something)" if name in kind.lossy else name for name in kind.repairs]
    repairs = {
        "anyOf": [{"enum": ["all", "none"]}, {"type": "array", "items": named}, {"type": "null"}],
        "description": f"{phase['properties']['repairs']['description']}\n\n"
        f"Those of {word}: {', '.join(sorted(lossy)) or 'none'}.",
        "default": None,
    }
    return {
        "title": word,
        "description": options.get("description", ""),
        "type": "object",
        "properties": {
            **phase["properties"],
            "restore": {"const": word},
            "on_conflict": _policies(phase["properties"]["on_conflict"], kind),
            "repairs": repairs,
            **{
                name: option
                for name, option in options.get("properties", {}).items()
                if name not in phase["properties"]
            },
        },
        "required": ["restore", "to", *options.get("required", [])],
        "additionalProperties": False,
    }


def _policies(any_policy: dict[str, Any], kind: type[Any]) -> dict[str, Any]:
    """What a category's phase can ask for: merge only where it has fields to merge."""
    if issubclass(kind, Merging):
        return any_policy
    words = [policy.value for policy in OnConflict if policy is not OnConflict.MERGE]
    return {**any_policy, "anyOf": [{"enum": words}, {"type": "null"}]}


def _one_of(parts: Mapping[str, Any], sort: str) -> dict[str, Any]:
    return {
        "oneOf": [
            {"$ref": _DEFINITIONS.format(model=name)}
            for name in sorted(parts)
            if name.startswith(f"{sort}-")
        ]
    }


def _needed(plan: dict[str, Any], everything: Mapping[str, Any]) -> set[str]:
    """The definitions that the plan leads to."""
    needed: set[str] = set()
    waiting: list[Any] = [plan]
    while waiting:
        match waiting.pop():
            case dict() as part:
                reference = part.get("$ref")
                if isinstance(reference, str):
                    name = reference.rsplit("/", 1)[-1]
                    if name not in needed:
                        needed.add(name)
                        waiting.append(everything[name])
                waiting.extend(part.values())
            case list() as parts:
                waiting.extend(parts)
            case _:
                pass
    return needed


def text(catalogue: Catalogue | None = None) -> str:
    """The schema as the file that is checked in."""
    return json.dumps(plan_schema(catalogue), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
