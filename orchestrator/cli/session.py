"""The one seam between the commands and what they ask: a server, or this machine in process."""

import getpass
import os
from collections.abc import Generator
from contextlib import contextmanager

from orchestrator.cli.output import say
from orchestrator.cli.where import where
from orchestrator.client.asking import Client
from orchestrator.client.there import opened_there, server_of
from orchestrator.settings import Settings


@contextmanager
def asking(name: str | None = None) -> Generator[Client]:
    """Ask the server that is named, or the installation of this machine in process.

    `name`: in whose name, by default whoever is at the keyboard; a server knows by the token.
    """
    said = where.get()
    server = server_of(said.server, said.token_file, os.environ)
    if server is not None:
        if server.overheard:
            say("note: this address has no https, so others can read the token", tone="yellow")
        with opened_there(server) as http:
            asked = Client(http, where=server.address)
            yield asked if name is None else asked.named(name)
        return
    from orchestrator.client.here import administrator, opened_here
    from orchestrator.logs import configure_logs

    settings = Settings.read(os.environ)
    configure_logs(settings)
    with opened_here(settings) as http:
        yield Client(http, settings=settings, caller=administrator, name=operator(name))


def operator(name: str | None) -> str:
    """Who is at the keyboard, unless they say otherwise."""
    if name:
        return name.strip()
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
