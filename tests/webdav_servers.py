"""Three WebDAV stores for tests, which keep preconditions differently; all real servers on files.

WsgiDAV compares versions (by inode, second and size), and writes where there is nothing to compare.
`exact` is WsgiDAV as RFC 9110 and 4918 want it: versions tell every change, a condition on what is
gone does not hold, and nobody else comes between a look and a write. rclone ignores what it is
asked to compare. Each believes Basic credentials of any user with the right password.
"""

import contextlib
import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from orchestrator.lifeline import die_with_parent

USER = "restore"
PASSWORD = "test-password-not-secret"
PATIENCE = 60.0
_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class WebdavStore:
    """One server over `data`."""

    def __init__(self) -> None:
        """Start it; ready when this returns."""
        self.folder = Path(tempfile.mkdtemp(prefix="reinstate-webdav-", dir=_MEMORY))
        self.data = self.folder / "data"
        self.data.mkdir()
        with contextlib.closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        with (self.folder / "log").open("ab") as output:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env={**os.environ, "PYTHONWARNINGS": "ignore"},
                preexec_fn=die_with_parent,  # noqa: PLW1509  tests start servers in one thread
            )
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            if time.monotonic() > deadline or self._process.poll() is not None:
                pytest.fail(f"no WebDAV: {(self.folder / 'log').read_text()}", pytrace=False)
            time.sleep(0.02)

    def command(self) -> list[str]:
        """How it is started."""
        return [sys.executable, __file__, "plain", str(self.data), str(self.port)]

    def stop(self) -> None:
        """End it, with all it holds."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.folder)


class Exact(WebdavStore):
    """WsgiDAV that keeps all conditions."""

    def command(self) -> list[str]:
        return [sys.executable, __file__, "exact", str(self.data), str(self.port)]


class Rclone(WebdavStore):
    """`rclone serve webdav` over a folder."""

    def command(self) -> list[str]:
        from tests.object_stores import rclone  # noqa: PLC0415 - not found by a server's process

        serve = [str(rclone()), "serve", "webdav", "--addr", f"127.0.0.1:{self.port}"]
        login = ["--user", USER, "--pass", PASSWORD, "--config", "/dev/null"]
        return [*serve, *login, "--dir-cache-time", "1ms", str(self.data)]


@pytest.fixture(scope="session")
def wsgidav_store() -> Iterator[WebdavStore]:
    """WsgiDAV as it comes, for the whole test process."""
    yield from _running(WebdavStore)


@pytest.fixture(scope="session")
def exact_webdav_store() -> Iterator[WebdavStore]:
    """WsgiDAV that keeps all conditions, for the whole test process."""
    yield from _running(Exact)


@pytest.fixture(scope="session")
def rclone_webdav_store() -> Iterator[WebdavStore]:
    """rclone's WebDAV, for the whole test process."""
    yield from _running(Rclone)


def _running(kind: type[WebdavStore]) -> Iterator[WebdavStore]:
    store = kind()
    yield store
    store.stop()


def serve(folder: str, port: int, *, exact: bool) -> None:
    """WsgiDAV, with a thread a connection."""
    from werkzeug.serving import make_server  # noqa: PLC0415 - the server's own process
    from wsgidav import fs_dav_provider  # noqa: PLC0415
    from wsgidav.wsgidav_app import WsgiDAVApp  # noqa: PLC0415

    if exact:
        fs_dav_provider.FileResource.get_etag = _etag
    application = WsgiDAVApp(
        {
            "provider_mapping": {"/": {"root": folder, "readonly": False}},
            "http_authenticator": {"accept_basic": True, "accept_digest": False},
            "simple_dc": {"user_mapping": {"*": {USER: {"password": PASSWORD}}}},
            "verbose": 1,
            "logging": {"enable": False},
        }
    )
    served = _Served(application, Path(folder), exact=exact)
    make_server("127.0.0.1", port, served, threaded=True).serve_forever()


def _etag(resource):
    told = Path(resource._file_path).stat()
    return f"{told.st_ino}-{told.st_mtime_ns}-{told.st_size}"


class _Served:
    """Takes a request in before it is looked at; if `exact`, one change at a time."""

    def __init__(self, application, folder, *, exact):
        self._application = application
        self._folder = folder
        self._exact = exact
        self._turn = threading.Lock()

    def __call__(self, environ, start_response):
        environ["wsgi.input"] = io.BytesIO(
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        )
        if not self._exact or environ["REQUEST_METHOD"] not in {"PUT", "MOVE", "DELETE"}:
            return self._application(environ, start_response)
        with self._turn:
            if self._asks_for_what_is_gone(environ):
                start_response("412 Precondition Failed", [("Content-Length", "0")])
                return [b""]
            return list(self._application(environ, start_response))

    def _asks_for_what_is_gone(self, environ) -> bool:
        if environ.get("HTTP_IF_MATCH"):
            return not self._holds(environ["PATH_INFO"].encode("latin-1").decode())
        if environ.get("HTTP_IF"):
            return not self._holds(unquote(urlsplit(environ["HTTP_DESTINATION"]).path))
        return False

    def _holds(self, path) -> bool:
        return (self._folder / path.lstrip("/")).exists()


if __name__ == "__main__":
    serve(sys.argv[2], int(sys.argv[3]), exact=sys.argv[1] == "exact")
