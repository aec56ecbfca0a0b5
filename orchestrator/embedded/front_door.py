"""Where the pages of one machine are, and how its owner gets in without making a token first.

Whoever may read the home has its key and its ledger, so a link for them is no more than they have.
"""

import http.client
import socket
import time
from dataclasses import replace

from orchestrator.errors import Refused
from orchestrator.identity.roles import Caller, Role
from orchestrator.identity.sessions import Sessions
from orchestrator.ledger.database import Ledger
from orchestrator.sealing import load_sealer
from orchestrator.settings import Settings

PATIENCE = 15.0
"""Seconds that the pages may take to come up."""


def with_free_address(settings: Settings, *, chosen: bool) -> Settings:
    """The settings, at another port where that of the default is taken.

    Raises `Refused` where somebody chose the address and it cannot be had.
    """
    try:
        return replace(settings, api=_free(settings.api))
    except OSError as error:
        if chosen:
            host, port = settings.api
            raise Refused(
                f"nothing can listen at {host}:{port} ({error.strerror})",
                hint="REINSTATE_API=127.0.0.1:0 takes any port that is free",
            ) from error
        return replace(settings, api=_free((settings.api[0], 0)))


def _free(address: tuple[str, int]) -> tuple[str, int]:
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tried.bind((host, port))
        return host, tried.getsockname()[1]


def answers(settings: Settings) -> bool:
    """Whether the pages answer; waits a little for it."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        connection = http.client.HTTPConnection(*settings.api, timeout=2)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return True
        except OSError:
            time.sleep(0.1)
        finally:
            connection.close()
    return False


def owners_link(settings: Settings, *, owner: str) -> str:
    """An address that logs a browser in once, within a quarter of an hour, as administrator."""
    sealer = load_sealer(settings)
    ledger = Ledger(settings.ledger_url)
    ledger.prepare(key_check=sealer.check)
    try:
        code = Sessions(ledger, sealer).offer(Caller(holder=owner, role=Role.ADMIN))
    finally:
        ledger.close()
    return f"{settings.public_url}/login?code={code}"
