import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason
from workers.formats.json_records import MOST_LEVELS, decoded, pieces


def is_record(keys):
    return "id" in keys


def whole(data):
    return [piece.fields["id"] for piece in pieces(data, is_record) if piece.reason is None]


def damage(data):
    return [
        (piece.reason, data[piece.offset : piece.offset + piece.length])
        for piece in pieces(data, is_record)
        if piece.reason is not None
    ]


def test_each_element_of_an_array_is_a_record_with_its_exact_bytes():
    data = b'\xef\xbb\xbf [ {"id": 1 } ,\n{"id":2,"a":[1,{"b":"]}"}]}] \n'
    found = pieces(data, is_record)
    assert [data[p.offset : p.offset + p.length] for p in found] == [
        b'{"id": 1 }',
        b'{"id":2,"a":[1,{"b":"]}"}]}',
    ]


def test_records_are_found_inside_of_wrappers_with_the_way_to_them():
    data = b'{"v":1,"games":{"pong":[{"id":1}],"go":[]},"list":[{"t":"x","items":[{"id":2}]}]}'
    first, second = pieces(data, is_record)
    assert (first.path, first.around) == (("games", "pong"), {"v": 1})
    assert (second.path, second.around) == (("list", "items"), {"v": 1, "t": "x"})


def test_lines_of_json_are_records():
    assert whole(b'{"id":1}\n{"id":2}\n\n{"id":3}') == [1, 2, 3]


def test_a_single_object_is_one_record():
    assert whole(b' {"id":7} ') == [7]


@pytest.mark.parametrize("data", [b"", b" \n", b"[]", b'{"items":[]}', b"\xef\xbb\xbf"])
def test_nothing_gives_nothing(data):
    assert pieces(data, is_record) == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"other":1}', Reason.STRUCTURE),
        (b"{}", Reason.EMPTY),
        (b"[1,2,3]", Reason.STRUCTURE),
        (b'"text"', Reason.STRUCTURE),
        (b"what", Reason.SYNTAX),
        (b'{"id":NaN}', Reason.SYNTAX),
        (b'{"id":1,"id":2}', Reason.STRUCTURE),
        (b'{"id":1,"a":{"b":1,"b":2}}', Reason.STRUCTURE),
        (b'{"id":"\xff"}', Reason.ENCODING),
        (b'{"id":"\\ud800"}', Reason.SYNTAX),
        (b'{"id":"\\u0007"}', Reason.CONTROL_CHARACTER),
        (b'{"id":"a\x01b"}', Reason.CONTROL_CHARACTER),
        (b'{"id":"a' + bytes(64) + b'"}', Reason.ZEROED),
        (b'{"id":1,"text":"to be con', Reason.CUT),
        (b'{"id":' + b"[" * 200_000, Reason.TOO_LARGE),
        (b'{"id":' + b"[" * 200_000 + b"]" * 200_000 + b"}", Reason.TOO_LARGE),
        (b"[" * 200_000, Reason.TOO_LARGE),
        (b'{"a":' * 200_000, Reason.TOO_LARGE),
    ],
)
def test_what_is_no_whole_record_is_damage(data, reason):
    assert [found for found, _ in damage(data)] == [reason]


def test_a_text_that_looks_like_an_escape_is_text():
    assert decoded(b'{"path":"C:\\\\u0007\\\\b"}') == {"path": "C:\\u0007\\b"}


def test_keys_inside_of_texts_are_not_counted():
    assert decoded(rb'{"a":"\"b\":1","b" : {"a" :[{"a":""}]}}')["b"] == {"a": [{"a": ""}]}


def test_long_integers_stay_exact():
    assert decoded(b"[123456789012345678901234567890]") == [123456789012345678901234567890]


def test_levels_are_counted_outside_of_texts_only():
    deep = b"[" * MOST_LEVELS + b"]" * MOST_LEVELS
    assert decoded(b'"' + b"[" * 500 + b'"') == "[" * 500
    assert decoded(deep) is not None
    with pytest.raises(ItemRejected):
        decoded(b"[" + deep + b"]")


def test_a_cut_array_loses_its_cut_record_only():
    data = b'{"items":[{"id":1},{"id":2},{"id":3,"x":"'
    assert whole(data) == [1, 2]
    assert damage(data) == [(Reason.CUT, b'{"id":3,"x":"')]


@pytest.mark.parametrize(
    ("broken", "left"),
    [
        (b'[{"id":1},{"id":2x,"a":0},{"id":3},{"id":4}]', [1, 3, 4]),
        (b'[{"id":1},{"id":2,"a:"x"},{"id":3},{"id":4}]', [1, 3, 4]),
        (b'[{"id":1},{"id":2,"a":"x"],{"id":3},{"id":4}]', [1, 3, 4]),
        (b'[{"id":1},{"id":2,"a":"x" ,{"id":3},{"id":4}]', [1, 3, 4]),
        (b'[{"id":1},\x7b"id":2,"a":{"x"},{"id":3},{"id":4}]', [1, 3, 4]),
        (b'[{"id":1},"id":2},{"id":3},{"id":4}]', [1, 3, 4]),
        (b'[{"id":1}' + bytes(40) + b'{"id":3},{"id":4}]', [1, 3, 4]),
        (b'{"t":1,"items":[{"id":1},{"id":2x},{"id":3}],"k":2}', [1, 3]),
        (b'{"items":[{"t":1,"sub":[{"id":1},{"id":2x}]},{"t":2,"sub":[{"id":3}]}]}', [1, 3]),
        (
            b'{"items":[{"t":1,"sub":[{"id":1},{"id":2"]},{"t":2,"sub":[{"id":3},{"id":4}]}]}',
            [1, 3, 4],
        ),
        (b'{"v":2,"a":{"b":[{"id":2,\0\0]},"c":[{"t":"x","d":[{"id":3}]}]}', [3]),
        (b'{"it\xffems":[{"id":1},{"id":2}]}', [1, 2]),
    ],
)
def test_a_damaged_record_leaves_its_siblings(broken, left):
    assert whole(broken) == left


records = st.lists(
    st.dictionaries(
        st.text("abc", min_size=1, max_size=3),
        st.one_of(
            st.integers(),
            st.text('é"\\{}[],: x\n', max_size=8),
            st.lists(st.integers(), max_size=3),
        ),
        max_size=4,
    ),
    min_size=2,
    max_size=8,
)


@settings(deadline=None, max_examples=200)
@given(records, st.data(), st.sampled_from([None, 1]))
def test_one_altered_byte_harms_at_most_its_record_and_the_next(rows, data, indent):
    numbered = [{"id": number, **row} for number, row in enumerate(rows)]
    text = bytearray(json.dumps(numbered, indent=indent).encode())
    offset = data.draw(st.integers(1, len(text) - 2))
    text[offset] = data.draw(st.integers(0, 255))
    found = pieces(bytes(text), is_record)
    intact = sum(piece.fields in numbered for piece in found if piece.reason is None)
    assert intact >= len(numbered) - 2
    ends = [0]
    for piece in found:
        assert piece.length > 0
        assert piece.offset >= ends[-1]
        ends.append(piece.offset + piece.length)
    assert ends[-1] <= len(text)


SYNTAX = ["{", "}", "[", "]", ",", ":", '"', "\n", " ", "\0", '"id":1', '"a":', '{"id":2}', '["x"]']


@settings(deadline=None, max_examples=300)
@given(
    st.binary(max_size=60)
    | st.lists(st.sampled_from(SYNTAX), max_size=30).map("".join).map(str.encode)
)
def test_any_bytes_give_pieces_that_do_not_overlap(data):
    end = 0
    for piece in pieces(data, is_record):
        assert piece.offset >= end
        assert piece.length > 0
        end = piece.offset + piece.length
    assert end <= len(data)


def test_hostile_files_cost_a_bounded_effort():
    assert damage(b"[" + b',{"a":"' * 20_000)
    assert damage(b"[" + b',{"a":{' * 20_000)
