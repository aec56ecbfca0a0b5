"""Everything that answers over HTTP, as one application in one process: `reinstate api`.

Here API and pages meet; neither of them knows this module.
"""

import gc
import os
import signal
import sys
from types import FrameType

import uvicorn
from fastapi import FastAPI

from orchestrator import VERSION, spans
from orchestrator.api.app import create_app
from orchestrator.api.events import Hub
from orchestrator.api.installation import Installation, opened
from orchestrator.dashboard.pages import page_of_problem
from orchestrator.dashboard.routes import ROUTERS
from orchestrator.errors import ReinstateError
from orchestrator.logs import configure_logs, get_logger, own_uncaught
from orchestrator.metrics.export import export
from orchestrator.readiness import exit_status
from orchestrator.settings import Settings

log = get_logger("api")

DRAIN_SECONDS = 5
"""How long requests under way may take when the process is asked to stop."""


def application(installation: Installation) -> FastAPI:
    """API and pages of one installation."""
    return create_app(installation, more=ROUTERS, page_of_problem=page_of_problem)


class _Server(uvicorn.Server):
    """Lets those go who watch, when it is asked to stop: they would stay for minutes."""

    def __init__(self, hub: Hub, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._hub = hub

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal to stop."""
        self._hub.stop()
        super().handle_exit(sig, frame)


def serve(settings: Settings) -> None:
    """Answer until SIGTERM or SIGINT. Raises `Refused` or `Unavailable` where it cannot start."""
    with opened(settings) as installation:
        host, port = settings.api
        spans.start("api")
        export(settings, installation.tally, installation.gauges.collect)
        answering = application(installation)
        _spare_the_program()
        server = _Server(
            installation.hub,
            uvicorn.Config(
                answering,
                host=host,
                port=port,
                log_config=None,  # `configure_logs` has every line
                access_log=False,  # ours names no address: see `orchestrator.api.surroundings`
                server_header=False,
                timeout_graceful_shutdown=DRAIN_SECONDS,
            ),
        )
        for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them again at its end
            signal.signal(number, lambda _number, _frame: None)
        log.info("api_started", version=VERSION, pid=os.getpid())
        server.run()
        log.info("api_stopped", pid=os.getpid())


def _spare_the_program() -> None:
    """Look for cyclic garbage among what requests leave only.

    To look through the program's own hundred thousand objects, too, takes 50 to 80 ms, for which
    whoever is just being answered would have to wait.
    """
    gc.collect()
    gc.freeze()


def main() -> None:
    """Answer until told to stop: `python -m orchestrator.web`."""
    try:
        settings = Settings.read(os.environ)
        configure_logs(settings)
        own_uncaught()
        serve(settings)
    except ReinstateError as error:
        log.error("api_refused", error=error)  # noqa: TRY400  its text is not for logs
        sys.exit(exit_status(error))


if __name__ == "__main__":
    main()
