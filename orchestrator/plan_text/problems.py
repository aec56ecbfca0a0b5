"""Gathers the problems of a plan: each place once, in the order of the text, no secret in any."""

from collections.abc import Iterable, Sequence

from msgspec import structs

from orchestrator.errors import Problem
from orchestrator.plan_text.kind_options import Fault
from orchestrator.plan_text.leaks import Leak
from orchestrator.plan_text.yaml_values import Place

_MASK = "***"
_SHORTEST = 4
"""A shorter secret than this cannot be told from the words around it; no sentence repeats it."""


class Problems:
    """What has been found so far."""

    def __init__(self, found: Iterable[Problem] = ()) -> None:
        self._found = list(found)
        self._places = {(problem.line, problem.column) for problem in self._found}
        self._leaks: set[tuple[int, int]] = set()
        self._secrets: set[str] = set()

    def add(
        self,
        code: str,
        message: str,
        place: Place,
        path: str,
        *,
        hint: str = "",
        warn: bool = False,
    ) -> None:
        """One more; the first problem of a place stands for what follows from it."""
        spot = (place.line, place.column)
        if code != "missing-key" and not warn:  # several keys can be missing in one place
            if spot in self._places and (code != "inline-secret" or spot in self._leaks):
                return
            self._places.add(spot)
        if code == "inline-secret":
            self._leaks.add(spot)
        self._found.append(
            Problem(
                code=code,
                message=message,
                line=place.line,
                column=place.column,
                length=place.length,
                path=path,
                hint=hint,
                severity="warning" if warn else "error",
            )
        )

    def add_all(self, faults: Iterable[Fault]) -> None:
        """All of these."""
        for fault in faults:
            self.add(fault.code, fault.message, fault.place, fault.path, hint=fault.hint)

    def add_leaks(self, leaks: Sequence[Leak]) -> None:
        """A problem for each secret; from now on no sentence repeats one."""
        for leak in leaks:
            place = Place(leak.scalar.place.line, leak.scalar.place.column, len(_MASK))
            self.add(
                "inline-secret",
                "a plan never holds a secret itself",
                place,
                leak.path,
                hint="name it: env:NAME, or file:/path of a file that holds it",
            )
            self._secrets.update({leak.scalar.text, str(leak.scalar.value)})

    def sorted(self) -> list[Problem]:
        """Errors and warnings as they stand in the text."""
        secrets = sorted((s for s in self._secrets if len(s) >= _SHORTEST), key=len, reverse=True)
        ordered = sorted(
            self._found, key=lambda problem: (problem.line, problem.column, problem.code)
        )
        return [_scrubbed(problem, secrets) for problem in ordered] if secrets else ordered

    @property
    def errors(self) -> int:
        """How many of them stop the plan."""
        return sum(problem.severity == "error" for problem in self._found)


def _scrubbed(problem: Problem, secrets: Sequence[str]) -> Problem:
    message, hint, path = problem.message, problem.hint, problem.path
    for secret in secrets:
        message = message.replace(secret, _MASK)
        hint = hint.replace(secret, _MASK)
        path = path.replace(secret, _MASK)
    return structs.replace(problem, message=message, hint=hint, path=path)
