"""A dataclass's fields from the values of a plan, with a problem for each that does not fit.

The same for the plan's own sections and for the options of categories, sources and targets.
Values are taken strictly: a text is no number, a number no text, and an unknown key is an error.
"""

import dataclasses
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from msgspec import Struct
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from orchestrator.catalogue import closest
from orchestrator.options.spellings import Misspelt
from orchestrator.plan_text.yaml_values import Entry, Listing, Node, Place, Scalar, Table, plain

_CONFIG = ConfigDict(
    extra="forbid",  # pydantic ignores unknown keys of standard dataclasses otherwise
    hide_input_in_errors=True,
    validate_by_alias=True,
    validate_by_name=False,
    arbitrary_types_allowed=True,
)

_EXPECTED: Mapping[str, str] = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "a mapping",
    "dataclass_type": "a mapping",
    "dataclass_exact_type": "a mapping",
    "datetime_type": "a date and time",
    "time_delta_type": "a duration",
    "path_type": "a path",
    "none_required": "nothing",
}
_BOUNDS: Mapping[str, tuple[str, str]] = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}
_CHOICES = frozenset({"literal_error", "enum"})
_UNKNOWN = frozenset({"unexpected_keyword_argument", "extra_forbidden"})
_MISSING = frozenset({"missing", "missing_argument", "missing_keyword_only_argument"})


class Fault(Struct, frozen=True, kw_only=True):
    """One value that does not fit, with its place and path from the plan's root."""

    code: str
    message: str
    place: Place
    path: str
    hint: str = ""


def prepare(kind: type[Any]) -> None:
    """Make pydantic refuse unknown keys of a dataclass and of every dataclass in its fields."""
    for part in classes_of(kind):
        if "__pydantic_config__" not in vars(part):
            setattr(part, "__pydantic_config__", _CONFIG)  # noqa: B010  pyright knows no such attribute


def classes_of(kind: type[Any]) -> set[type[Any]]:
    """A dataclass and every dataclass that its fields are made of."""
    found: set[type[Any]] = set()
    waiting: list[Any] = [kind]
    while waiting:
        part = waiting.pop()
        if isinstance(part, type) and dataclasses.is_dataclass(part):
            if part not in found:
                found.add(part)
                waiting.extend(get_type_hints(part).values())
        else:
            waiting.extend(get_args(part))
    return found


@cache
def adapter(kind: type[Any]) -> TypeAdapter[Any]:
    """The validator of a dataclass, made once a process."""
    prepare(kind)
    return TypeAdapter(kind)


@cache
def option_names(kind: type[Any]) -> tuple[str, ...]:
    """The keys that a plan may give, in the order of their definition."""
    hints = get_type_hints(kind, include_extras=True)
    return tuple(
        _alias(hints[field.name]) or field.name for field in dataclasses.fields(kind) if field.init
    )


def _alias(hint: Any) -> str | None:
    if get_origin(hint) is Annotated:
        for extra in get_args(hint)[1:]:
            if isinstance(extra, FieldInfo) and extra.alias:
                return extra.alias
    return None


def build(kind: type[Any], values: Any) -> Any:
    """The instance of these values; raises pydantic's `ValidationError`."""
    return adapter(kind).validate_json(json.dumps(values), strict=True)


def values_of(options: Any) -> dict[str, Any]:
    """All options as JSON values, defaults included; `build` makes the same instance of them."""
    kind = type(options)
    fields = {field.name for field in dataclasses.fields(kind) if field.init}
    return adapter(kind).dump_python(options, mode="json", by_alias=True, include=fields)


def read_section(
    kind: type[Any], node: Node, path: str, *, also: Collection[str] = ()
) -> tuple[Any, list[Fault]]:
    """The instance that a node describes, or None and every reason why not.

    `also` names keys that are at home beside the section's own, for suggestions.
    """
    try:
        section = build(kind, plain(node))
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False, include_input=False)
    else:
        zoneless = [_zoneless(node, steps, path) for steps in _without_zone(section)]
        return (None if zoneless else section), zoneless
    faults: list[Fault] = []
    seen: set[tuple[Place, str]] = set()
    for error in errors:
        fault = _fault(kind, node, path, error, also)
        spot = (fault.place, fault.message if fault.code == "missing-key" else "")
        if spot not in seen:  # each branch of a union complains on its own
            seen.add(spot)
            faults.append(fault)
    return None, faults


def _without_zone(value: Any) -> Iterator[tuple[Any, ...]]:
    """The steps to every time that does not say where on earth it is meant."""
    parts: Iterable[tuple[Any, Any]] = ()
    if dataclasses.is_dataclass(value):
        parts = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    elif isinstance(value, Mapping):
        parts = value.items()
    elif isinstance(value, list | tuple):
        parts = enumerate(value)
    elif isinstance(value, datetime) and value.tzinfo is None:
        yield ()
    for step, part in parts:
        for steps in _without_zone(part):
            yield (step, *steps)


def _zoneless(node: Node, steps: Sequence[Any], path: str) -> Fault:
    _, place, path = locate(node, steps, path)
    return Fault(
        code="no-zone",
        message="a time without its zone could be any of 26 hours",
        place=place,
        path=path,
        hint="for example 2009-10-01T00:00:00-07:00",
    )


def _fault(
    kind: type[Any], node: Node, path: str, error: Mapping[str, Any], also: Collection[str]
) -> Fault:
    what = str(error["type"])
    if what in _MISSING:
        *within, key = error["loc"]
        parent, _, path = locate(node, within, path)
        return missing_key(str(key), parent, path, names_at(kind, within))
    if what in _UNKNOWN:
        *within, key = error["loc"]
        parent, _, path = locate(node, within, path)
        entry = parent.entries.get(str(key)) if isinstance(parent, Table) else None
        known = (*names_at(kind, within), *(also if not within else ()))
        return unknown_key(str(key), entry, path, known)
    found, place, path = locate(node, error["loc"], path)
    code, message, hint = _sentence(what, error, found)
    return Fault(code=code, message=message, place=place, path=path, hint=hint)


def missing_key(key: str, parent: Node, path: str, known: Sequence[str]) -> Fault:
    """A key that has to be there; the hint names the one that it was probably written as."""
    given = tuple(parent.entries) if isinstance(parent, Table) else ()
    typo = closest(key, tuple(name for name in given if name not in known))
    return Fault(
        code="missing-key",
        message=f"'{key}' is missing",
        place=parent.place,
        path=path,
        hint=f"is it {quoted(typo)}?" if typo else "",
    )


def unknown_key(key: str, entry: Entry | None, path: str, known: Sequence[str]) -> Fault:
    """A key that nothing here is called."""
    typo = closest(key, tuple(known))
    listed = ", ".join(known)
    return Fault(
        code="unknown-key",
        message=f"{quoted(key)} means nothing here",
        place=entry.key if entry else Place(),
        path=f"{path}.{key[:80]}" if path else key[:80],
        hint=f"did you mean '{typo}'?" if typo else f"one of: {listed}" if listed else "",
    )


def _sentence(what: str, error: Mapping[str, Any], node: Node) -> tuple[str, str, str]:
    """Code, message and hint of one of pydantic's errors; never the value itself."""
    context: Mapping[str, Any] = error.get("ctx") or {}
    cause = context.get("error")
    if isinstance(cause, Misspelt):
        return cause.code, cause.message, cause.hint
    if what in _EXPECTED:
        hint = "write it in quotes" if what == "string_type" and _unquoted(node) else ""
        return "wrong-type", f"{_EXPECTED[what]} is expected here, not {_sort(node)}", hint
    if what in _BOUNDS:
        words, key = _BOUNDS[what]
        return "out-of-range", f"{words} {context.get(key)} is expected here", ""
    if what in _CHOICES:
        return "unknown-word", f"{context.get('expected')} is expected here", _nearest(node, error)
    said = (
        str(error.get("msg", "")).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    )
    return "bad-option", said[:1].lower() + said[1:], ""


def _nearest(node: Node, error: Mapping[str, Any]) -> str:
    if not isinstance(node, Scalar) or not isinstance(node.value, str):
        return ""
    words = str((error.get("ctx") or {}).get("expected", "")).split("'")[1::2]
    typo = closest(node.value, tuple(words))
    return f"did you mean '{typo}'?" if typo else ""


def _unquoted(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is not None


def _sort(node: Node) -> str:
    match node:
        case Table():
            return "a mapping"
        case Listing():
            return "a list"
        case Scalar(value=None):
            return "nothing"
        case Scalar(value=bool()):
            return "true or false"
        case Scalar(value=str()):
            return "a text"
        case Scalar():
            return "a number"


def locate(node: Node, steps: Sequence[Any], path: str) -> tuple[Node, Place, str]:
    """Where a path of keys and indices leads, as far as the text goes."""
    for step in steps:
        match node:
            case Table(entries=entries) if step in entries:
                node = entries[step].node
                path = f"{path}.{step}" if path else str(step)
            case Listing(nodes=nodes) if isinstance(step, int) and step < len(nodes):
                node = nodes[step]
                path = f"{path}[{step}]"
            case _:
                pass  # the name of a union's branch: no part of the text
    return node, node.place, path


def names_at(kind: Any, steps: Sequence[Any]) -> tuple[str, ...]:
    """The keys that are known where a path of keys and indices leads."""
    for step in steps:
        kind = _step_into(kind, step)
    found = _dataclass_in(kind)
    return option_names(found) if found else ()


def _step_into(hint: Any, step: Any) -> Any:
    found = _dataclass_in(hint)
    if found is not None:
        hints = get_type_hints(found, include_extras=True)
        for field in dataclasses.fields(found):
            if (_alias(hints[field.name]) or field.name) == step:
                return hints[field.name]
        return None
    for part in _alternatives(hint):
        arguments = get_args(part)
        origin = get_origin(part)
        if isinstance(origin, type) and arguments:
            return arguments[-1] if issubclass(origin, Mapping) else arguments[0]
    return None


def _dataclass_in(hint: Any) -> type[Any] | None:
    for part in _alternatives(hint):
        if isinstance(part, type) and dataclasses.is_dataclass(part):
            return part
    return None


def _alternatives(hint: Any) -> list[Any]:
    origin = get_origin(hint)
    if origin is Annotated:
        return _alternatives(get_args(hint)[0])
    if origin is Union or origin is UnionType:
        return [part for argument in get_args(hint) for part in _alternatives(argument)]
    return [hint]


def quoted(text: str) -> str:
    """A piece of the plan as part of a sentence: short, and harmless on a terminal."""
    visible = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text[:60])
    return f"'{visible}…'" if len(text) > 60 else f"'{visible}'"  # noqa: PLR2004  a line's worth
