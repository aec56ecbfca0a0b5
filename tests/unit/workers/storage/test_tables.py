import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.storage.tables import Column, Family, field_fits, key_fits, own, text_fits

INTEGER = Column(name="n", family=Family.INTEGER, cast="BIGINT")
UUID = Column(name="u", family=Family.UUID, cast="UUID")
TEXT = Column(name="t", family=Family.TEXT, cast=None)


@given(st.integers(min_value=-(2**63) + 1, max_value=2**63 - 1))
def test_a_whole_number_is_a_key_as_it_is_written(number):
    assert key_fits(str(number), INTEGER)


@pytest.mark.parametrize(
    "text", ["", " 7", "7 ", "07", "+7", "-0", "7.0", "٣", "7\n", "1e3", "0x7", "9" * 19, "9" * 30]
)
def test_another_spelling_of_a_number_is_no_key(text):
    assert not key_fits(text, INTEGER)


@given(st.uuids())
def test_a_uuid_is_a_key_in_its_canonical_spelling_only(value):
    assert key_fits(str(value), UUID)
    for other in (value.hex, f"{{{value}}}", f" {value}", value.urn):
        assert not key_fits(other, UUID)
    assert key_fits(str(value).upper(), UUID) == (str(value).upper() == str(value))


@given(st.text())
def test_a_text_is_a_key_unless_databases_refuse_it(text):
    assert key_fits(text, TEXT) == ("\0" not in text)
    assert text_fits(text) == ("\0" not in text)


def test_half_a_surrogate_pair_is_no_key():
    assert not key_fits("\ud83d", TEXT)
    assert not key_fits(str(uuid.UUID(int=0)) + "\ud83d", UUID)


def test_our_own_table_is_named_after_its_category():
    assert own("contacts", schema=None, prefix="").table == "contacts"
    assert own("contacts", schema="live", prefix="restored_").table == "live.restored_contacts"


@pytest.mark.parametrize(
    ("family", "fitting", "others"),
    [
        (Family.TEXT, ["", "7", "yesterday"], [7, True, [], {}, "nul\0"]),
        (Family.INTEGER, [7, -1, 0, 2**63], ["7", 7.0, True, []]),
        (Family.BOOLEAN, [True, False], [0, 1, "true"]),
        (Family.TIME, ["2009-10-12", "2009-10-12T08:30:00Z"], ["yesterday", "now", "infinity", 1]),
        (Family.UUID, [str(uuid.UUID(int=7))], [uuid.UUID(int=7).hex, 7]),
        (Family.JSON, [1, "a", [None], {"a": 1}], []),
        (Family.BYTES, [], ["a", 1]),
        (Family.OTHER, [1, 1.5, "2009-10-12"], ["today", "NaN", True, []]),
    ],
)
def test_a_field_fits_a_column_of_its_own_kind_only(family, fitting, others):
    column = Column(name="c", family=family, cast=None)
    assert all(field_fits(value, column) for value in fitting)
    assert not any(field_fits(value, column) for value in others)
