"""Photos restored to real WebDAV servers, read by rclone, verified, and undone."""

import hashlib
import io
import subprocess
import uuid
from contextlib import closing

import pytest
from PIL import Image

from orchestrator.aftercare import Aftercare
from orchestrator.audit import audit
from orchestrator.findings import undone
from orchestrator.lifecycle import RunState
from orchestrator.query import parse
from tests.in_process import Service
from tests.object_stores import rclone
from tests.webdav_servers import PASSWORD, USER

PLAN = """
version: 1
name: photos
incident: {{as_of: 2009-10-01T00:00:00Z}}
sources:
  core: {{kind: vdir, path: material}}
targets:
  live: {{kind: webdav, url: "{url}", username: {user}, password: env:DAV_PASSWORD}}
waves: [{{name: everyone}}]
defaults: {{attempts: 3, backoff: 30s..10m}}
phases:
  - {{restore: photos, to: live}}
approvals: 0
"""
SIDECAR = b'{"title": "x.png", "photoTakenTime": {"timestamp": "1250000000"}}'


class Installation:
    """A folder on a server, and a service that restores into it."""

    def __init__(self, store, folder):
        self.store = store
        self.name = uuid.uuid4().hex
        self.service = Service(folder)
        self.pictures = []
        for user in ("anna", "zoë"):
            place = folder / "material" / user.replace("ë", "%C3%AB") / "photos"
            place.mkdir(parents=True)
            for number in range(6):
                found = io.BytesIO()
                colour = (number * 40, len(user), 9)
                Image.new("RGB", (8, 8), colour).save(found, "PNG")
                (place / f"{number}.png").write_bytes(found.getvalue())
                self.pictures.append(found.getvalue())
            (place / "0.png.json").write_bytes(SIDECAR)

    def run(self):
        url = self.store.url + self.name
        run = self.service.run(PLAN.format(url=url, user=USER))
        assert self.service.ended(run) is RunState.FINISHED
        assert audit(self.service.ledger, run) == []
        return run

    def books(self, run):
        return self.service.status(run).books

    def hashes(self):
        """Of all pictures, as rclone reads them over WebDAV."""
        words = [str(rclone()), "hashsum", "sha256", "--download", "--config", "/dev/null"]
        obscured = subprocess.run(
            [str(rclone()), "obscure", PASSWORD], check=True, capture_output=True, text=True
        ).stdout.strip()
        place = f":webdav,url='{self.store.url}',user={USER},pass={obscured}:{self.name}"
        told = subprocess.run(
            [*words, "--include", "*.png", place], check=True, capture_output=True, text=True
        )
        return sorted(line.split()[0] for line in told.stdout.splitlines())

    def sidecars(self):
        return [path.read_bytes() for path in (self.store.data / self.name).rglob("*.json")]

    def after(self, how, run):
        care = Aftercare(self.service.ledger, self.service.sealer)
        query = parse((), self.service.progress.plan(run))
        more = {"reason": "a mistake"} if how == "undo" else {"sample": None}
        found = getattr(care, how)(run, query, who="mia", **more)
        self.service.go_on()
        return self.service.status(found).books


@pytest.fixture(params=["wsgidav_store", "rclone_webdav_store"])
def installation(request, tmp_path, monkeypatch):
    monkeypatch.setenv("DAV_PASSWORD", PASSWORD)
    found = Installation(request.getfixturevalue(request.param), tmp_path)
    with closing(found.service.work):
        yield found


@pytest.mark.guarantee(10)
@pytest.mark.guarantee(13)
def test_photos_are_restored_once_read_by_rclone_and_removed_by_an_undo_that_can(
    installation, request
):
    run = installation.run()
    assert installation.books(run).restored == 12
    expected = sorted(hashlib.sha256(picture).hexdigest() for picture in installation.pictures)
    assert installation.hashes() == expected
    assert installation.sidecars() == [SIDECAR] * 2
    again = installation.run()
    assert installation.books(again).present == 12
    assert installation.hashes() == expected
    installation.after("verify", run)
    assert installation.hashes() == expected
    sums = undone(installation.after("undo", run))
    if (
        request.node.callspec.params["installation"] == "rclone_webdav_store"
    ):  # it removes whatever version is there
        assert sums["left"] == 12
        assert installation.hashes() == expected
    else:
        assert sums["removed"] == 12
        assert installation.hashes() == []
        assert installation.sidecars() == []
