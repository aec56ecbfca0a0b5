"""The `http` target on the example server of its page."""

from orchestrator.ports import Capabilities
from tests.conformance.target_example import Example
from tests.importer_server import TOKEN, ImporterServer
from workers.targets.http import Http


class OnImporter(Example):
    slowness = 5
    prepared_by_inspection = False
    promises = Capabilities(create_only=True, compare_and_set=True, tombstones=True)

    def __init__(self, folder, request):
        super().__init__(folder, request)
        self.server = ImporterServer()
        request.addfinalizer(self.server.stop)

    def kind(self):
        return Http(url=self.server.url, token="env:APP_TOKEN")

    def secret(self, text):
        return TOKEN if text.startswith("env:") else text

    def put(self, category, place, content):
        here = self.server.module
        with here.LOCK:
            here.store((category, place.owner, place.ref), body=content)

    def delete(self, category, place):
        here = self.server.module
        with here.LOCK:
            here.store((category, place.owner, place.ref), deleted=True)

    def foreign(self):
        return "Anna's sister (new).vcf"

    def make_anew(self):
        here = self.server.module
        with here.LOCK:
            here.ITEMS.clear()
            here.BLOBS.clear()
            here.IDENTITY = "another"
        return True

    def take_away(self):
        self.server.stop()

    def trace(self):
        here = self.server.module
        with here.LOCK:
            return {**here.ITEMS, **here.BLOBS}


EXAMPLES = {"http": OnImporter}
