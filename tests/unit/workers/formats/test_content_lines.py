import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.reasons import Reason
from workers.formats.content_lines import (
    FOLD_AT,
    LONGEST_LINE,
    Blank,
    Flaw,
    Line,
    escape,
    fields,
    fold,
    lex,
    unescape,
    write_line,
    write_params,
)

scraps = st.sampled_from(
    [
        b"\r\n", b"\n", b"\r", b"\r\r\n", b" ", b"\t", b":", b";", b'"', b"=", b"=\r\n", b"\xff",
        b"BEGIN:VCARD", b"END:VCARD", b"FN", b"X-A b", b"NOTE;ENCODING=QUOTED-PRINTABLE:a=",
        b"PHOTO;ENCODING=b:", b"AAAA", b"\xef\xbb\xbf", b"\x00", b"TEL;WORK:1", "é".encode(),
    ]
)  # fmt: skip
anything = st.lists(scraps | st.binary(max_size=5), max_size=30).map(b"".join)


def lines(data, **how):
    return [found for found in lex(data, **how) if isinstance(found, Line)]


def only(data, **how):
    (line,) = lex(data, **how)
    assert isinstance(line, Line)
    return line


@settings(deadline=None, max_examples=400)
@given(anything)
@example(b"A:1\r\n b")
@example(b"A:1\n\n b\n")
@example(b"NOTE;QUOTED-PRINTABLE:a=\r\nb=\r\n")
def test_every_byte_is_in_exactly_one_span(data):
    position = 0
    for found in lex(data):
        assert found.offset == position
        assert found.length > 0
        position += found.length
    assert position == len(data)


@settings(deadline=None, max_examples=100)
@given(anything, anything, anything)
def test_a_part_of_the_data_is_read_where_it_stands(before, data, after):
    whole = before + data + after
    moved = lex(whole, len(before), len(before) + len(data))
    assert [(f.offset - len(before), f.length) for f in moved] == [
        (f.offset, f.length) for f in lex(data)
    ]


@pytest.mark.parametrize("ending", [b"\r\n", b"\n", b"\r", b"\r\r\n"])
def test_every_line_ending_is_understood(ending):
    data = ending.join([b"FN:Ada", b"NOTE:one", b"  two", b"\tthree", b"TEL:1", b""])
    assert [(line.name, line.value) for line in lines(data)] == [
        ("FN", b"Ada"),
        ("NOTE", b"one twothree"),
        ("TEL", b"1"),
    ]


def test_a_byte_order_mark_and_blank_lines_are_white_space():
    found = lex(b"\xef\xbb\xbf\r\nFN:Ada\r\n \r\n\r\n")
    assert [type(each) for each in found] == [Blank, Blank, Line, Blank]


def test_names_are_given_in_upper_case_and_groups_as_written():
    line = only(b"item1.x-abLabel:Home\r\n")
    assert (line.group, line.name, line.value) == ("item1", "X-ABLABEL", b"Home")


def test_parameters_are_split_unquoted_and_decoded():
    line = only(b'ATTENDEE;CN="Doe; John: x";type=a,"b,c";X-Y=^n^^^\';WORK:mailto:a@b\r\n')
    assert line.params == (
        ("CN", ("Doe; John: x",)),
        ("TYPE", ("a", "b,c")),
        ("X-Y", ('\n^"',)),
        ("WORK", ()),
    )
    assert line.value == b"mailto:a@b"
    assert line.param("TYPE") == "a"
    assert line.param("WORK") == ""
    assert line.param("PREF") is None


def test_parameters_without_names_may_stand_between_commas():
    assert only(b"TEL;HOME,cell;:1").params == (("HOME", ()), ("CELL", ()), ("", ()))


def test_a_fold_may_stand_inside_of_a_name_a_parameter_or_a_character():
    line = only(b'TE\r\n L;TY\r\n PE="wo\r\n rk":\xc3\r\n \xa9\r\n')
    assert (line.name, line.params, line.value) == ("TEL", (("TYPE", ("work",)),), b"\xc3\xa9")


def test_a_quoted_printable_value_goes_on_after_soft_breaks():
    first, second = lex(b"NOTE;QUOTED-PRINTABLE:one=\r\n two=\r\nthree\r\nFN:Ada\r\n")
    assert first.value == b"one twothree"
    assert first.joined
    assert second.name == "FN"


def test_a_soft_break_never_swallows_the_end_of_the_record():
    note, end = lex(b"NOTE;ENCODING=QUOTED-PRINTABLE:one=\r\nEND:VCARD\r\n")
    assert note.value == b"one="
    assert end.name == "END"


def test_unfolded_base64_goes_on_until_the_next_property():
    photo, blank, name = lex(b"PHOTO;ENCODING=BASE64:\r\nAAAA\r\n\r\nBBB=\r\n\r\nFN:Ada\r\n")
    assert photo.value == b"AAAABBB="
    assert photo.joined
    assert isinstance(blank, Blank)
    assert name.value == b"Ada"


def test_old_cards_keep_the_white_space_of_a_fold():
    assert only(b"NOTE:one\r\n two\r\n", old=True).value == b"one two"
    assert only(b"NOTE:one\r\n two\r\n").value == b"onetwo"


@pytest.mark.parametrize(
    "bad",
    [
        b"no colon",
        b"TEL",
        b":no name",
        b"F N:x",
        b"--+TEL:1",
        b"A;a b=c:1",
        b'A;B="x:1',
        b"\x00FN:x",
    ],
)
def test_a_damaged_line_is_a_value_and_harms_no_other(bad):
    lex(bad + b":1")  # heads that are known by now are no less damaged
    first, flaw, last = lex(b"A:1\r\n" + bad + b"\r\nB:2\r\n")
    assert isinstance(flaw, Flaw)
    assert flaw.reason is Reason.SYNTAX
    assert (first.value, last.value) == (b"1", b"2")


def test_a_line_over_the_limit_is_a_flaw():
    first, flaw, last = lex(b"A:1\nNOTE:" + b"x" * LONGEST_LINE + b"\nB:2\n")
    assert isinstance(flaw, Flaw)
    assert flaw.reason is Reason.TOO_LARGE
    assert (first.value, last.value) == (b"1", b"2")


@pytest.mark.parametrize(
    "hostile",
    [
        b"\r" * 1_000_000,
        b"\r\n " * 300_000,
        b"A" * 1_000_000,
        b"A;" * 500_000,
        b'A;B="' * 200_000,
        b"PHOTO;BASE64:\n" * 70_000,
        b"PHOTO;BASE64:\n\n\n\nAAAA\n" * 40_000,
        b"NOTE;QUOTED-PRINTABLE:=\n" * 40_000,
        b"= = " * 250_000,
        b"X-" + b"a." * 500_000 + b":",
    ],
)
def test_hostile_bytes_take_linear_time(hostile):
    started = time.process_time()
    lex(hostile)
    assert time.process_time() - started < 5


@settings(deadline=None)
@given(st.text())
def test_escaping_is_undone_by_unescaping(text):
    given = text.encode()
    normal = given.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    assert unescape(escape(given)) == normal
    assert not set(escape(given)) & set(b"\r\n")


@settings(deadline=None)
@given(st.lists(st.text(), min_size=1), st.sampled_from([b";", b","]))
def test_escaped_fields_are_told_apart(texts, separator):
    written = separator.join(escape(text.encode()) for text in texts)
    normal = [text.replace("\r\n", "\n").replace("\r", "\n").encode() for text in texts]
    assert [unescape(field) for field in fields(written, separator)] == normal


def test_an_unknown_escape_means_its_character():
    assert unescape(rb"http\://x\N\;\\" + b"\\") == b"http://x\n;\\\\"


@settings(deadline=None)
@given(st.text(min_size=1, max_size=400))
def test_what_is_written_is_read_back_and_folded_within_75_octets(text):
    written = write_line("NOTE", escape(text.encode()))
    for piece in written.split(b"\r\n"):
        assert len(piece) <= FOLD_AT
        piece.decode()  # no character is cut
    assert only(written).value == escape(text.encode())


printable = st.text(st.characters(exclude_categories=("Cc", "Cs")))


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["TYPE", "X-A"]), st.lists(printable, min_size=1).map(tuple))
    ).map(tuple)
)
def test_parameters_are_read_back_as_they_were_written(params):
    line = only(b"A" + write_params(params) + b":1\r\n")
    assert line.params == params


def test_a_line_break_in_a_parameter_is_written_by_rfc_6868():
    assert (
        write_line("ADR", b"x", (("LABEL", ('a\n"b"^;',)),)) == b"ADR;LABEL=\"a^n^'b^'^^;\":x\r\n"
    )


def test_folding_bytes_that_are_no_text_ends():
    assert fold(b"\x80" * 200).replace(b"\r\n ", b"").rstrip() == b"\x80" * 200
