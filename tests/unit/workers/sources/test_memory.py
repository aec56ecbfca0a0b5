from datetime import UTC, datetime

import pytest

from orchestrator.errors import ItemRejected, Unavailable
from orchestrator.ports import Surroundings, Unowned
from orchestrator.reasons import Reason
from workers.sources import memory


@pytest.fixture
def material(request):
    yield memory.put(
        request.node.name, {"anna": {"contacts": {"a": b"123"}, "bookmarks": {"b": b"4"}}}
    )
    del memory.MATERIALS[request.node.name]


@pytest.fixture
def source(request, material):
    surroundings = Surroundings(
        folder=None, secret=str, clock=lambda: None, categories=frozenset({"contacts"})
    )
    assert material
    return memory.Memory(name=request.node.name).open(surroundings)


def read(source):
    (folder,) = source.folders("contacts", ["anna"])
    return [file.read() for file in folder.files]


def test_a_name_that_nothing_was_put_under_is_unavailable():
    surroundings = Surroundings(folder=None, secret=str, clock=lambda: None)
    with pytest.raises(Unavailable) as raised:
        memory.Memory(name="nobody put this").open(surroundings).inspect()
    assert raised.value.hint


def test_a_file_may_be_an_error_that_reading_raises(material, source):
    material.contents["anna"]["contacts"]["a"] = ItemRejected(Reason.CUT, data=b"12")
    (folder,) = source.folders("contacts", ["anna"])
    (file,) = folder.files
    assert file.size == 2
    with pytest.raises(ItemRejected) as raised:
        file.read()
    assert raised.value.data == b"12"


def test_material_may_go_away_and_come_back(material, source):
    (folder,) = source.folders("contacts", ["anna"])
    material.away = True
    with pytest.raises(Unavailable):
        read(source)
    with pytest.raises(Unavailable):
        folder.files[0].read()
    material.away = False
    assert read(source) == [b"123"]


def test_the_inventory_tells_times_strays_and_every_changed_byte(material, source):
    material.modified = datetime(2009, 9, 30, tzinfo=UTC)
    material.unowned = (Unowned(why="outside", files=2, size=9),)
    before = source.inspect()
    assert before.newest == material.modified
    assert [one.why for one in before.unowned] == ["no such category", "outside"]
    material.contents["anna"]["contacts"]["a"] = b"124"
    assert source.inspect().manifest != before.manifest
