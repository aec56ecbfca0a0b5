"""Answers of DAV servers, read piece by piece."""

import pytest

from workers.storage.dav_answers import BadAnswer, multistatus

MEMBER = """<D:response><D:href>/anna/photos/IMG%%20%(n)d.jpg</D:href><D:propstat><D:prop>
<D:getetag>"%(n)d"</D:getetag><D:getcontentlength>%(n)d</D:getcontentlength></D:prop>
<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"""


def answer(*members, head=""):
    inside = "<!-- of a proxy -->".join(members)
    return f'{head}<D:multistatus xmlns:D="DAV:">{inside}</D:multistatus>'.encode()


def test_of_a_long_listing_every_member_is_told_in_its_order():
    members = multistatus(answer(*(MEMBER % {"n": n} for n in range(2_000))))
    assert [member.name for member in members] == [f"IMG {n}.jpg" for n in range(2_000)]
    assert [(member.etag, member.size) for member in members] == [
        (f'"{n}"', n) for n in range(2_000)
    ]


def test_what_lies_inside_of_a_property_is_no_member():
    inner = MEMBER % {"n": 2}
    outer = (MEMBER % {"n": 1}).replace("<D:prop>", f"<D:prop><D:note>{inner}</D:note>")
    assert [member.name for member in multistatus(answer(outer, MEMBER % {"n": 3}))] == [
        "IMG 1.jpg",
        "IMG 3.jpg",
    ]


@pytest.mark.guarantee(16)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>Log in</body></html>",
        answer(MEMBER % {"n": 1})[:-3],
        answer(MEMBER % {"n": 1}) + b"<more/>",
        answer(MEMBER % {"n": 1}, head="<!DOCTYPE x [<!ENTITY a 'b'>]>"),
    ],
)
def test_what_is_no_whole_answer_is_none_at_all(body):
    with pytest.raises(BadAnswer):
        multistatus(body)
