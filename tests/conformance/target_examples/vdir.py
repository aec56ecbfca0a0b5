"""The `vdir` target: what users do is done to files, as khard, khal and todoman do it."""

import shutil

from orchestrator.ports import Capabilities
from tests.conformance.target_example import Example
from workers.formats.path_parts import escape
from workers.targets.vdir import Vdir


class Exclusive(Example):
    promises = Capabilities(create_only=True, compare_and_set=True, tombstones=False)
    exclusive = True

    def __init__(self, folder, request):
        super().__init__(folder, request)
        self.root = folder / "live"
        self.root.mkdir()

    def kind(self):
        return Vdir(path="live", exclusive=self.exclusive)

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
        self.root.write_bytes(b"")  # or else inspection makes it again

    def trace(self):
        return {
            str(path): path.read_bytes() if path.is_file() else None
            for path in self.folder.rglob("*")
        }


class Shared(Exclusive):
    promises = Capabilities(create_only=True, compare_and_set=False, tombstones=False)
    exclusive = False


EXAMPLES = {"vdir-exclusive": Exclusive, "vdir-shared": Shared}
