"""The `webdav` target on real servers: what users do is done to the server's files."""

import itertools
import shutil
import uuid

from orchestrator.ports import Capabilities
from tests.conformance.target_example import Example
from tests.webdav_servers import PASSWORD, USER
from workers.formats.path_parts import escape
from workers.targets.webdav import Webdav

NUMBERS = itertools.count(1)


class OnWsgiDav(Example):
    """As it comes: it writes where what was to be replaced is gone."""

    promises = Capabilities(create_only=True, compare_and_set=False, tombstones=False)
    removes = True
    slowness = 5
    server = "wsgidav_store"

    def __init__(self, folder, request):
        super().__init__(folder, request)
        self.store = request.getfixturevalue(self.server)
        self.name = uuid.uuid4().hex
        self.root = self.store.data / self.name
        self.root.mkdir()

    def kind(self):
        return Webdav(url=f"{self.store.url}{self.name}", username=USER, password="env:PASSWORD")

    def secret(self, text):
        return text.replace("env:PASSWORD", PASSWORD)

    def path(self, category, place):
        return self.root / escape(place.owner) / category / place.ref

    def put(self, category, place, content):
        path = self.path(category, place)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".saving-{next(NUMBERS)}")
        beside.write_bytes(content)
        beside.replace(path)

    def delete(self, category, place):
        self.path(category, place).unlink()

    def foreign(self):
        return "Anna's sister (new).vcf"

    def make_anew(self):
        shutil.rmtree(self.root)
        self.root.mkdir()
        return True

    def take_away(self):
        shutil.rmtree(self.root)
        self.root.write_bytes(b"")

    def trace(self):
        return {str(p): p.read_bytes() for p in self.root.rglob("*") if p.is_file()}


class OnExact(OnWsgiDav):
    promises = Capabilities(create_only=True, compare_and_set=True, tombstones=False)
    server = "exact_webdav_store"


class OnRclone(OnWsgiDav):
    """It overwrites by `PUT` whatever it is asked, and not by `MOVE`."""

    promises = Capabilities(create_only=True, compare_and_set=False, tombstones=False)
    removes = False
    thorough = False
    besides = frozenset({"unknown"})  # folders that several make at once are gone for a moment
    server = "rclone_webdav_store"


EXAMPLES = {"webdav-exact": OnExact, "webdav-rclone": OnRclone}
