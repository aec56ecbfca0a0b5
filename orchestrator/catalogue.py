"""Which categories, sources and targets are installed.

An entry point of `reinstate.categories`, `reinstate.sources` or `reinstate.targets` names a
package; every module in it that defines `KIND` is a kind, and the module's name is the kind's
name. A module whose name starts with an underscore is no kind. Looking one up imports that one
only; listing them imports them all.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, cached_property
from importlib.metadata import entry_points
from typing import Any

from orchestrator.errors import NotFound, Unavailable


@dataclass(frozen=True)
class Family:
    """All kinds of one sort. `modules` says of each kind's name how to come by its class.

    A loader gives None where there is no kind after all.
    """

    word: str
    """What one of them is called: category, source kind, target kind."""
    modules: Mapping[str, Callable[[], type[Any] | None]]

    @cached_property
    def _loaded(self) -> dict[str, type[Any] | None]:
        return {}

    def _load(self, name: str) -> type[Any] | None:
        if name not in self._loaded:
            self._loaded[name] = self.modules[name]()
        return self._loaded[name]

    def names(self) -> tuple[str, ...]:
        """All of them, by name; one that cannot be loaded here is left out."""
        return tuple(name for name in sorted(self.modules) if self._loads(name))

    def _loads(self, name: str) -> bool:
        try:
            return self._load(name) is not None
        except Unavailable:
            return False

    def kind(self, name: str) -> type[Any]:
        """The class of that name.

        Raises `NotFound` with the nearest name as hint, and `Unavailable` where it is installed
        but something that it needs is not.
        """
        found = self._load(name) if name in self.modules else None
        if found is None:
            raise NotFound(f"'{name}' is not an installed {self.word}", hint=self.suggestion(name))
        return found

    def suggestion(self, name: str) -> str:
        """`did you mean 'photos'?`, or what there is."""
        return suggest(name, self.names())


def suggest(word: str, known: tuple[str, ...]) -> str:
    """The nearest of the known words as a question, or else all of them."""
    if nearest := closest(word, known):
        return f"did you mean '{nearest}'?"
    return f"one of: {', '.join(known)}" if known else "none is installed"


def closest(word: str, known: tuple[str, ...]) -> str | None:
    """The known word that this one was probably meant to be."""
    shortened = word[:80]  # comparing is quadratic
    folded = {name.casefold().replace("-", "_"): name for name in reversed(known)}
    near = get_close_matches(shortened.casefold().replace("-", "_"), folded, n=1, cutoff=0.6)
    return folded[near[0]] if near else None


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """Everything that a plan can name."""

    categories: Family
    sources: Family
    targets: Family


@cache
def installed() -> Catalogue:
    """What is installed in this environment, looked for once a process."""
    return Catalogue(
        categories=_family("category", "reinstate.categories"),
        sources=_family("source kind", "reinstate.sources"),
        targets=_family("target kind", "reinstate.targets"),
    )


def _family(word: str, group: str) -> Family:
    places: dict[str, list[str]] = {}
    for package in sorted({point.value for point in entry_points(group=group)}):
        try:
            path = importlib.import_module(package).__path__
        except ImportError:  # left behind by a package that is gone
            continue
        for module in pkgutil.iter_modules(path):
            if not module.name.startswith("_"):
                places.setdefault(module.name, []).append(f"{package}.{module.name}")
    return Family(word, {name: _loader(name, modules) for name, modules in places.items()})


def _loader(name: str, modules: list[str]) -> Callable[[], type[Any] | None]:
    def load() -> type[Any] | None:
        kinds: list[type[Any]] = []
        for module in modules:
            try:
                kind = getattr(importlib.import_module(module), "KIND", None)
            except ImportError as error:
                raise Unavailable(
                    f"'{name}' is installed, but needs the module '{error.name}'",
                    hint=f"install it where {module} is used",
                ) from error
            if kind is not None:
                kinds.append(kind)
        if len(kinds) > 1:  # which of them a plan means is not ours to guess
            raise Unavailable(
                f"'{name}' is installed more than once: {', '.join(modules)}",
                hint="uninstall all but one",
            )
        return kinds[0] if kinds else None

    return load


def categories() -> tuple[str, ...]:
    """The names of all installed categories, in alphabetical order."""
    return installed().categories.names()


def category_kind(name: str) -> type[Any]:
    """The class of that category; raises `NotFound` with a suggestion."""
    return installed().categories.kind(name)


def source_kind(name: str) -> type[Any]:
    """The class of that kind of source; raises `NotFound` with a suggestion."""
    return installed().sources.kind(name)


def target_kind(name: str) -> type[Any]:
    """The class of that kind of target; raises `NotFound` with a suggestion."""
    return installed().targets.kind(name)
