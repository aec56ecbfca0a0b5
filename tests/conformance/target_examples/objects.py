"""The `objects` target: what users do is done by another client of the same store."""

import shutil

import obstore

from orchestrator.ports import Capabilities
from tests.conformance.target_example import Example
from tests.object_stores import KEY, SECRET, objects
from workers.formats.path_parts import escape
from workers.targets.objects import Objects

SECRETS = {"env:KEY": KEY, "env:SECRET": SECRET}


class Local(Example):
    promises = Capabilities(create_only=True, compare_and_set=False, tombstones=False)
    processes = False

    def __init__(self, folder, request):
        super().__init__(folder, request)
        self.root = folder / "live"
        self.root.mkdir()

    def kind(self):
        return Objects(url="local:live")

    def path(self, category, place):
        return self.root / escape(place.owner) / category / place.ref

    def put(self, category, place, content):
        path = self.path(category, place)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

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
        return {str(p): p.read_bytes() for p in self.folder.rglob("*") if p.is_file()}


class Moto(Example):
    processes = False
    slowness = 3
    equal_is_unchanged = True
    promises = Capabilities(create_only=True, compare_and_set=True, tombstones=False)
    server = "moto_store"

    def __init__(self, folder, request):
        super().__init__(folder, request)
        self.store = request.getfixturevalue(self.server)
        self.bucket = self.store.bucket()
        self.client = self.store.client(self.bucket)
        self.endpoint = self.store.endpoint

    def kind(self):
        return Objects(
            url=f"s3://{self.bucket}/live",
            endpoint=self.endpoint,
            access_key="env:KEY",
            secret_key="env:SECRET",
        )

    def secret(self, text):
        return SECRETS.get(text, text)

    def key(self, category, place):
        return f"live/{escape(place.owner)}/{category}/{place.ref}"

    def put(self, category, place, content):
        obstore.put(self.client, self.key(category, place), content)

    def delete(self, category, place):
        obstore.delete(self.client, self.key(category, place))

    def foreign(self):
        return "Anna's sister (new).vcf"

    def make_anew(self):
        for key in objects(self.client):
            obstore.delete(self.client, key)
        return True

    def take_away(self):
        self.make_anew()
        self.store.drop(self.bucket)

    def trace(self):
        return objects(self.client)


class Rclone(Moto):
    promises = Capabilities(create_only=False, compare_and_set=False, tombstones=False)
    server = "rclone_store"


EXAMPLES = {"objects-local": Local, "objects-moto": Moto, "objects-rclone": Rclone}
