"""The environment, read once: where things are and how many. No other module reads it."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from platformdirs import user_data_path

from orchestrator.errors import Refused

AUTO = "auto"
"""Broker address: whatever the embedded engine finds or starts."""

SANDBOXES = ("auto", "required", "off")
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("auto", "json", "console")
KNOWN = {
    "REINSTATE_HOME": "folder of the embedded state",
    "REINSTATE_LEDGER_URL": "postgresql://… or sqlite:///…",
    "REINSTATE_BROKER_URL": "redis://…, rediss://…, sentinel://…, amqp://…, or auto",
    "REINSTATE_BROKER_PREFIX": "prefix of every key in Redis",
    "REINSTATE_KEY": "master key, 32 bytes in base64",
    "REINSTATE_WORKERS": "worker processes on this machine",
    "REINSTATE_LEASE_SECONDS": "how long a silent worker keeps its batch",
    "REINSTATE_SANDBOX": "how recovered bytes are parsed: auto, required or off",
    "REINSTATE_API": "host:port where the API listens",
    "REINSTATE_URL": "https://… under which people reach the API and its pages",
    "REINSTATE_OIDC_ISSUER": "https://… of an OpenID Connect provider: people log in there",
    "REINSTATE_OIDC_CLIENT": "the client id that the provider gave us",
    "REINSTATE_OIDC_SECRET": "the client's secret, or file:/path; none: a public client",
    "REINSTATE_OIDC_SCOPE": "what to ask the provider for",
    "REINSTATE_OIDC_NAME": "the claim that names a person",
    "REINSTATE_OIDC_GROUPS": "the claim that lists a person's groups",
    "REINSTATE_OIDC_ROLES": "group=role, …: the first that fits",
    "REINSTATE_HOOK_HOSTS": "host or host:port, …: webhooks that may be inside, and without TLS",
    "REINSTATE_METRICS": "host:port where this process exports metrics",
    "REINSTATE_SERVER": "https://… of a server that commands ask, instead of this machine",
    "REINSTATE_TOKEN": "the token by which that server knows who asks",
    "REINSTATE_TOKEN_FILE": "a file that holds it",
    "REINSTATE_LOG": "level and format: debug|info|warning|error, auto|json|console",
    "REINSTATE_LOG_FILE": "where log lines go instead of stderr",
}
"""Every variable, with one phrase of what it holds."""

_BROKERS = ("redis", "rediss", "redis+socket", "sentinel", "amqp", "amqps", "filesystem", "memory")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIdConnect:
    """Where people log in, and what their groups may do."""

    issuer: str
    client: str
    secret: str = field(default="", repr=False)
    """As it was given: itself, or `file:/path`. Empty: a public client."""
    scope: str = "openid email profile"
    name: str = "email"
    groups: str = "groups"
    roles: tuple[tuple[str, str], ...] = ()
    """Pairs of a group and a role, in the order in which they are tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the environment says, checked. Whatever may hold a secret is not in its repr."""

    home: Path
    """Folder of everything embedded: ledger, key, logs, broker. Deleting it leaves nothing."""
    ledger_url: str = field(repr=False)
    broker_url: str = field(default=AUTO, repr=False)
    broker_prefix: str = "reinstate:"
    key: str | None = field(default=None, repr=False)
    """The master key in base64; None: the file `key` in `home`."""
    workers: int = 2
    lease_seconds: int = 60
    sandbox: str = SANDBOXES[0]
    """`auto`: in readers confined as far as the kernel can; `required`: or not at all; `off`."""
    api: tuple[str, int] = ("127.0.0.1", 8730)
    """Host and port that the API listens on."""
    url: str = ""
    """Where people reach it, without a slash at the end; empty: at that host and port."""
    hook_hosts: frozenset[str] = frozenset()
    """Hosts, or host:port, that webhooks may call although they are not public, and by http."""
    metrics: tuple[str, int] | Path | None = None
    """Where this process exports metrics; a path: whom it tells them; None: nowhere."""
    log_level: str = "info"
    log_format: str = "auto"
    """`auto`: for people on a terminal, JSON elsewhere."""
    log_file: Path | None = None
    oidc: OpenIdConnect | None = None
    """None: people log in with tokens only."""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """What `environ` says, with defaults. Touches no disk. Raises `Refused` for nonsense."""
        given = {name: environ.get(name, "").strip() for name in KNOWN}
        home = _home(given["REINSTATE_HOME"])
        level, log_format = _log(given["REINSTATE_LOG"])
        log_file = given["REINSTATE_LOG_FILE"]
        return cls(
            home=home,
            ledger_url=_ledger(given["REINSTATE_LEDGER_URL"], home),
            broker_url=_broker(given["REINSTATE_BROKER_URL"] or AUTO),
            broker_prefix=_name(given, "REINSTATE_BROKER_PREFIX", "reinstate:"),
            key=given["REINSTATE_KEY"] or None,
            workers=_number(given, "REINSTATE_WORKERS", _default_workers(), least=1, most=256),
            lease_seconds=_number(given, "REINSTATE_LEASE_SECONDS", 60, least=2, most=3600),
            api=_address(given["REINSTATE_API"] or "127.0.0.1:8730", "REINSTATE_API"),
            sandbox=_one_of(given, "REINSTATE_SANDBOX", SANDBOXES),
            url=_url(given["REINSTATE_URL"]),
            hook_hosts=_hosts(given["REINSTATE_HOOK_HOSTS"]),
            metrics=_metrics(given["REINSTATE_METRICS"]),
            log_level=level,
            log_format=log_format,
            log_file=Path(log_file).expanduser().absolute() if log_file else None,
            oidc=_oidc(given),
        )

    def environment(self) -> dict[str, str]:
        """The variables from which a child process reads these same settings."""
        variables = {
            "REINSTATE_HOME": str(self.home),
            "REINSTATE_LEDGER_URL": self.ledger_url,
            "REINSTATE_BROKER_URL": self.broker_url,
            "REINSTATE_BROKER_PREFIX": self.broker_prefix,
            "REINSTATE_WORKERS": str(self.workers),
            "REINSTATE_LEASE_SECONDS": str(self.lease_seconds),
            "REINSTATE_SANDBOX": self.sandbox,
            "REINSTATE_API": f"{_bracketed(self.api[0])}:{self.api[1]}",
            "REINSTATE_LOG": f"{self.log_level},{self.log_format}",
        }
        if self.url:
            variables["REINSTATE_URL"] = self.url
        if self.hook_hosts:
            variables["REINSTATE_HOOK_HOSTS"] = ",".join(sorted(self.hook_hosts))
        match self.metrics:
            case Path():
                variables["REINSTATE_METRICS"] = f"{_UNIX}{self.metrics}"
            case (host, port):
                variables["REINSTATE_METRICS"] = f"{_bracketed(host)}:{port}"
            case None:
                pass
        if self.key is not None:
            variables["REINSTATE_KEY"] = self.key
        if self.log_file is not None:
            variables["REINSTATE_LOG_FILE"] = str(self.log_file)
        if self.oidc is not None:
            variables |= _oidc_environment(self.oidc)
        return variables

    @property
    def key_file(self) -> Path:
        """Where the master key lies when the environment does not hold it."""
        return self.home / "key"

    @property
    def log_folder(self) -> Path:
        """Where the embedded engine's programs log."""
        return self.home / "log"

    @property
    def public_url(self) -> str:
        """Where people reach the API and its pages."""
        host, port = self.api
        shown = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)  # noqa: S104  not bound
        return self.url or f"http://{_bracketed(shown)}:{port}"

    def ensure_home(self) -> Path:
        """The home folder, made for its owner alone. Raises `Refused` where that cannot be."""
        try:
            self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise Refused(
                f"{self.home} cannot be made ({error.strerror})",
                hint="name a folder that you may write: REINSTATE_HOME=…",
            ) from error
        return self.home


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Names that look like settings and are none: probably typing errors."""
    return sorted(
        name
        for name in environ
        if name.startswith("REINSTATE_") and name not in KNOWN and name not in _ELSEWHERE
    )


_ELSEWHERE = frozenset({"REINSTATE_CORPUS", "REINSTATE_SERVER", "REINSTATE_TOKEN"})
"""Variables of the tests and of the command line."""


def _home(text: str) -> Path:
    if not text:
        return user_data_path("reinstate", appauthor=False)
    return Path(text).expanduser().absolute()


def _ledger(text: str, home: Path) -> str:
    if not text:
        return f"sqlite:///{home / 'ledger.db'}"
    if not text.startswith(("postgresql://", "postgresql+psycopg://", "sqlite:///")):
        raise Refused(
            "REINSTATE_LEDGER_URL begins with neither postgresql:// nor sqlite:///",
            hint="for example postgresql://reinstate@localhost/reinstate",
        )
    return text


def _broker(text: str) -> str:
    """The address as Celery spells it. Never repeats it in an error: it may hold a password."""
    if text == AUTO:
        return AUTO
    scheme = text.partition("://")[0].lower() if "://" in text else ""
    scheme = {"valkey": "redis", "valkeys": "rediss", "redis+unix": "redis+socket"}.get(
        scheme, scheme
    )
    if "cluster" in scheme:
        raise Refused(
            "a Redis cluster cannot be the broker: Celery's commands span several hash slots",
            hint="use one Redis, or Sentinel: REINSTATE_BROKER_URL=sentinel://…",
        )
    if scheme not in _BROKERS:
        raise Refused(
            f"REINSTATE_BROKER_URL does not begin with one of {', '.join(_BROKERS)}",
            hint="for example redis://localhost:6379/3, or auto",
        )
    address = f"{scheme}://{text.partition('://')[2]}"
    if scheme in {"redis", "rediss"} and "," in urlsplit(address).netloc.rpartition("@")[2]:
        raise Refused(
            "several Redis hosts mean a cluster, which cannot be the broker",
            hint="use one Redis, or Sentinel: sentinel://one:26379;sentinel://two:26379",
        )
    return address


def _hosts(text: str) -> frozenset[str]:
    hosts = frozenset(re.findall(r"[^\s,]+", text.lower()))
    if not all(
        re.fullmatch(r"(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?", host) for host in hosts
    ):
        raise Refused(
            "REINSTATE_HOOK_HOSTS holds something else than hosts",
            hint="for example hooks.internal:8080, 10.0.0.7",
        )
    return hosts


_UNIX = "unix:"


def _metrics(text: str) -> tuple[str, int] | Path | None:
    if text.startswith(f"{_UNIX}/"):
        return Path(text.removeprefix(_UNIX))
    return _address(text, "REINSTATE_METRICS") if text else None


def _address(text: str, variable: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:  # noqa: PLR2004
        raise Refused(f"{variable} is not host:port", hint="for example 127.0.0.1:8730")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _url(text: str) -> str:
    parts = urlsplit(text)
    plain = not (parts.query or parts.fragment or parts.username)
    if text and not (parts.scheme in {"http", "https"} and parts.hostname and plain):
        raise Refused(
            "REINSTATE_URL is not an address of a site", hint="https://restore.example.org"
        )
    return text.rstrip("/")


def _oidc(given: Mapping[str, str]) -> OpenIdConnect | None:
    """Single sign-on, where an issuer is named. Never repeats the secret in an error."""
    values = {name[15:].lower(): text for name, text in given.items() if name.startswith(_OIDC)}
    issuer = values.pop("issuer")
    roles = values.pop("roles")
    if not issuer:
        if roles or any(values.values()):
            raise Refused(
                "REINSTATE_OIDC_… is set, but no issuer",
                hint="REINSTATE_OIDC_ISSUER=https://id.example.org, or none of them",
            )
        return None
    if not _is_issuer(issuer):
        raise Refused(
            "REINSTATE_OIDC_ISSUER is no address of an issuer",
            hint="https://…, exactly as the provider writes it; http:// on this machine only",
        )
    if not values["client"]:
        raise Refused(
            "REINSTATE_OIDC_CLIENT is missing", hint="the client id that the provider gave you"
        )
    pairs = tuple(_group_and_role(text) for text in roles.split(",") if text.strip())
    if not pairs:
        raise Refused(
            "REINSTATE_OIDC_ROLES is missing: nobody would have a role",
            hint="for example restore-leads=approver,restore-team=operator,helpdesk=support",
        )
    return OpenIdConnect(
        issuer=issuer, roles=pairs, **{name: text for name, text in values.items() if text}
    )


_OIDC = "REINSTATE_OIDC_"
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


def _is_issuer(text: str) -> bool:
    parts = urlsplit(text)
    plain = bool(parts.hostname) and not (parts.query or parts.fragment or parts.username)
    secure = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOCAL)
    return plain and secure


def _group_and_role(text: str) -> tuple[str, str]:
    group, _, role = text.rpartition("=")
    if not group.strip() or not role.strip():
        raise Refused(
            "REINSTATE_OIDC_ROLES is not a list of group=role",
            hint="for example restore-leads=approver,restore-team=operator",
        )
    return group.strip(), role.strip()


def _oidc_environment(oidc: OpenIdConnect) -> dict[str, str]:
    return {
        "REINSTATE_OIDC_ISSUER": oidc.issuer,
        "REINSTATE_OIDC_CLIENT": oidc.client,
        "REINSTATE_OIDC_SECRET": oidc.secret,
        "REINSTATE_OIDC_SCOPE": oidc.scope,
        "REINSTATE_OIDC_NAME": oidc.name,
        "REINSTATE_OIDC_GROUPS": oidc.groups,
        "REINSTATE_OIDC_ROLES": ",".join(f"{group}={role}" for group, role in oidc.roles),
    }


def _log(text: str) -> tuple[str, str]:
    level, log_format = "info", "auto"
    for word in re.split(r"[\s,]+", text.lower()):
        if word in LOG_LEVELS:
            level = word
        elif word in LOG_FORMATS:
            log_format = word
        elif word:
            raise Refused(
                "REINSTATE_LOG holds a word that is neither level nor format",
                hint=f"levels: {', '.join(LOG_LEVELS)}; formats: {', '.join(LOG_FORMATS)}",
            )
    return level, log_format


def _name(given: Mapping[str, str], variable: str, default: str) -> str:
    text = given[variable] or default
    if not _NAME.fullmatch(text):
        raise Refused(
            f"{variable} is not a name",
            hint="up to 64 of A-Z a-z 0-9 _ . : -, beginning with a letter or digit",
        )
    return text


def _one_of(given: Mapping[str, str], variable: str, words: tuple[str, ...]) -> str:
    """One of `words`; the first where nothing is given."""
    text = given[variable].lower() or words[0]
    if text not in words:
        raise Refused(f"{variable} is none of its words", hint=f"one of {', '.join(words)}")
    return text


def _number(given: Mapping[str, str], variable: str, default: int, *, least: int, most: int) -> int:
    text = given[variable]
    if not text:
        return default
    if not re.fullmatch(r"[0-9]{1,6}", text) or not least <= int(text) <= most:
        raise Refused(
            f"{variable} is not a whole number from {least} to {most}",
            hint=f"leave it out for {default}",
        )
    return int(text)


def _default_workers() -> int:
    return max(2, min(8, os.cpu_count() or 2))
