import pytest

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason
from workers.formats.plain_text import checked_text, even_lines


def test_text_is_verbatim_but_for_its_byte_order_mark():
    assert checked_text(b"\xef\xbb\xbfa\tb\r\n\xc3\xa9") == "a\tb\r\né"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"a\xff", Reason.ENCODING),
        (b"\xed\xa0\x80", Reason.ENCODING),
        (b"a\x00b", Reason.CONTROL_CHARACTER),
        (b"a\x0cb", Reason.CONTROL_CHARACTER),
        (b"a" + bytes(16), Reason.ZEROED),
    ],
)
def test_what_is_no_text_says_why(data, reason):
    with pytest.raises(ItemRejected) as caught:
        checked_text(data)
    assert caught.value.reason is reason


def test_all_line_breaks_are_even():
    assert even_lines("a\r\nb\rc\nd") == "a\nb\nc\nd"
