import os
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.items import Ident, Media
from orchestrator.ports import Surroundings
from workers.storage.item_files import name_of, ref_of
from workers.targets.vdir import Vdir

TARGET = Vdir(path="live").open(
    Surroundings(folder=Path("unused"), secret=str, clock=lambda: datetime.now(UTC))
)
ANY_NAME = st.binary(min_size=1, max_size=255).filter(
    lambda raw: b"/" not in raw and b"\0" not in raw and not raw.startswith(b".")
)


@given(ANY_NAME)
def test_every_file_name_has_a_ref_of_valid_text_and_comes_back(raw):
    name = os.fsdecode(raw)
    ref = ref_of(name)
    ref.encode()
    assert name_of(ref) == name


@given(ANY_NAME, ANY_NAME)
def test_different_file_names_have_different_refs(one, other):
    same = ref_of(os.fsdecode(one)) == ref_of(os.fsdecode(other))
    assert same == (one == other)


@given(st.text(max_size=400))
def test_a_ref_never_names_what_lies_elsewhere(ref):
    name = name_of(ref)
    assert name is None or (
        name not in {"", ".", ".."} and "/" not in name and "\0" not in name and name[0] != "."
    )


def test_a_ref_in_hexadecimal_cannot_climb():
    for hostile in (b"../x.vcf", b".hidden", b"a/b", b"nul\0", b"", b"x" * 256):
        assert name_of(f"raw:{hostile.hex()}") is None
    assert name_of("raw:no hexadecimal") is None


@given(st.text(max_size=300))
def test_an_items_file_has_one_dot_and_room_for_attachments(ident):
    name = TARGET.ref("contacts", Ident(ident), Media("vcf", "text/vcard"))
    assert name_of(name) == name
    assert name.count(".") == 1
    assert len(name) <= 204
