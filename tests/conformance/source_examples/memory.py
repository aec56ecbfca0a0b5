"""The `memory` source: material under a name of the test's own."""

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason
from tests.conformance.source_example import Example
from workers.sources import memory


class InMemory(Example):
    def hold(self, contents):
        self.name = str(self.folder)
        copied = {
            owner: {category: dict(files) for category, files in categories.items()}
            for owner, categories in contents.items()
        }
        self.material = memory.put(self.name, copied)
        self.request.addfinalizer(lambda: memory.MATERIALS.pop(self.name, None))

    def kind(self):
        return memory.Memory(name=self.name)

    def change(self, owner, category, name):
        self.material.contents[owner][category][name] += b"changed"

    def damage(self, owner, category, name):
        self.material.contents[owner][category][name] = ItemRejected(Reason.UNREADABLE)

    def take_away(self):
        self.material.away = True

    def trace(self):
        return repr(self.material)

    def extra_users(self):
        return ["", "\0", "\ud800"]


EXAMPLES = {"memory": InMemory}
