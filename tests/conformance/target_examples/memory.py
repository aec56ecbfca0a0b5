"""The `memory` target: what users do is done to its store."""

from datetime import UTC, datetime

from orchestrator.ports import Fate
from tests.conformance.target_example import Example
from workers.targets.memory import Disturbance, Memory, forget, store

UNWELCOME = "unwelcome"


class InProcess(Example):
    processes = False

    def __init__(self, folder, request):
        super().__init__(folder, request)
        self.name = str(folder)
        request.addfinalizer(lambda: forget(self.name))
        self.store = store(self.name)

    def kind(self):
        return Memory(name=self.name)

    def put(self, category, place, content):
        self.store.put(category, place.owner, place.ref, content, at=datetime.now(UTC))

    def delete(self, category, place):
        self.store.delete(category, place.owner, place.ref, at=datetime.now(UTC))

    def foreign(self):
        return "put by hand"

    def make_anew(self):
        forget(self.name)
        return True

    def take_away(self):
        self.store.away = True

    def trace(self):
        return dict(self.store.held)

    def unwelcome(self, write):
        def disturb(category, asked):
            del category
            return Disturbance(fate=Fate.REFUSED) if asked is write else None

        self.store.disturb = disturb
        return write


EXAMPLES = {"memory": InProcess}
