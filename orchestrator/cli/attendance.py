"""An engine for as long as somebody waits, where the broker is ours to start."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import TypeGuard

from orchestrator.embedded.one_machine import Engine, engine_running
from orchestrator.settings import AUTO, Settings


class Attendance:
    """Sees to it that an engine works while somebody waits, where the broker is ours to start.

    It starts none where one works already, and takes over when that one goes.
    """

    def __init__(self, settings: Settings | None) -> None:
        """Starts nothing yet; nothing ever without `settings`: a server has engines of its own."""
        self._settings = settings
        self._engines = ExitStack()
        self._engine: Engine | None = None
        self.ours = False
        """Whether the engine ends when we do."""

    def tend(self) -> None:
        """Start an engine where there is none; start it again where it died."""
        if self._engine is not None:
            self._engine.revive()
        elif self._may_start(self._settings):
            self.ours = True
            self._engine = self._engines.enter_context(Engine(self._settings))

    @staticmethod
    def _may_start(settings: Settings | None) -> TypeGuard[Settings]:
        if settings is None or settings.broker_url != AUTO:
            return False
        return not engine_running(settings.home)

    def close(self) -> None:
        """Stop our engine, if there is one."""
        self._engine = None
        self._engines.close()


@contextmanager
def attendance(settings: Settings | None) -> Generator[Attendance]:
    """Somebody who can start an engine, for as long as it is needed."""
    found = Attendance(settings)
    try:
        yield found
    finally:
        found.close()
