"""A server, asked over the network with a token, which never stands on a command line."""

import ipaddress
import ssl
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from msgspec import Struct

from orchestrator import VERSION
from orchestrator.errors import PlanInvalid, Refused

SERVER, TOKEN, TOKEN_FILE = "REINSTATE_SERVER", "REINSTATE_TOKEN", "REINSTATE_TOKEN_FILE"
LONGEST = 1000
TIMES = httpx.Timeout(60.0, connect=10.0)
_HOW = f"{TOKEN} holds it, or --token-file FILE (or {TOKEN_FILE}) names a file that does"


class Server(Struct, frozen=True, kw_only=True):
    """Where a server is, and what shows it who asks."""

    address: str
    token: str

    def __repr__(self) -> str:
        return f"Server({self.address!r})"

    @property
    def overheard(self) -> bool:
        """Whether the token goes over a network in clear."""
        parts = urlsplit(self.address)
        return parts.scheme == "http" and not _is_loopback(parts.hostname or "")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def server_of(
    address: str | None, token_file: str | None, environ: Mapping[str, str]
) -> Server | None:
    """The server that options or variables name; None: there is none. Raises `PlanInvalid`."""
    text = (address if address is not None else environ.get(SERVER, "")).strip()
    if not text:
        if token_file is not None or address is not None:
            raise PlanInvalid("no server is named", hint=f"--server URL, or {SERVER}")
        return None
    parts = urlsplit(text)
    if not (parts.scheme in {"http", "https"} and parts.hostname) or parts.query or parts.fragment:
        raise PlanInvalid(
            "a server is named by its address", hint="--server https://restore.example.org"
        )
    return Server(address=text.rstrip("/"), token=_token(token_file, environ))


def _token(token_file: str | None, environ: Mapping[str, str]) -> str:
    named = token_file if token_file is not None else environ.get(TOKEN_FILE, "").strip()
    if token_file is None and environ.get(TOKEN, "").strip():
        text = environ[TOKEN]
    elif named:
        text = _read(Path(named).expanduser())
    else:
        raise Refused("a server asks who you are, and there is no token", hint=_HOW)
    text = text.strip()
    if not (text.isascii() and text.isprintable() and 0 < len(text) <= LONGEST):
        raise PlanInvalid("this is not a token", hint=_HOW)
    return text


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(LONGEST + 1)
    except OSError as error:
        raise PlanInvalid(f"the token file {path} cannot be read ({error.strerror})") from error


@contextmanager
def opened_there(server: Server) -> Generator[httpx.Client]:
    """What asks a server. Nothing is asked yet."""
    headers = {
        "Authorization": f"Bearer {server.token}",
        "User-Agent": f"reinstate/{VERSION}",
    }
    encrypted = server.address.startswith("https:")
    verify: ssl.SSLContext | bool = httpx.create_ssl_context() if encrypted else False
    with httpx.Client(
        base_url=server.address, headers=headers, timeout=TIMES, verify=verify, trust_env=encrypted
    ) as http:
        yield http
