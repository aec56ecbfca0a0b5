from hypothesis import given, settings
from hypothesis import strategies as st

from workers.formats.photo_details import details_meaning, is_details_name, read_details

HEADER = b"imgName,fileChecksum,favorite,hidden,deleted,originalCreationDate,viewCount,importDate\n"
ROW = b'IMG_1.JPG,AQ==,no,no,no,"Friday June 4,2021 4:54 PM GMT",%d,"Friday June 4,2021"\n'


def test_the_table_of_an_export_is_known_by_its_name():
    assert is_details_name("Photos/Photo Details.csv")
    assert is_details_name("Photos/Photo Details-12.csv")
    assert not is_details_name("Photos/Details.csv")


def test_each_row_names_its_photo_and_keeps_its_bytes():
    data = b"\xef\xbb\xbf" + HEADER + ROW % 1 + b"\r\n" + b'"a, ""b"".png",,,,,,,\n'
    details = read_details(data)
    assert [row.photo for row in details.rows] == ["IMG_1.JPG", 'a, "b".png']
    assert data[details.rows[0].start : details.rows[0].end] == ROW % 1


def test_rows_with_other_columns_or_no_text_are_damaged():
    details = read_details(HEADER + b"a.jpg,b\n" + b"\xff\xfe,,,,,,,\n" + b'"open,,\n')
    assert not details.rows
    assert len(details.damaged) == 3


def test_how_often_a_photo_was_looked_at_is_not_its_meaning():
    assert details_meaning(HEADER + ROW % 1) == details_meaning(HEADER + ROW % 9)
    assert details_meaning(HEADER) is None


def test_another_table_is_none_of_photos():
    assert read_details(b"name,size\na.jpg,12\n") is None
    assert read_details(b"") is None


@given(st.lists(st.sampled_from([ROW % 1, b"\n", b'"', b",", b"x", b"\r", b"\xff", b'"\n'])))
@settings(deadline=None, max_examples=150)
def test_header_rows_and_damage_cover_every_byte_once(parts):
    data = HEADER + b"".join(parts)
    details = read_details(data)
    spans = [*details.framing, *details.damaged, *((row.start, row.end) for row in details.rows)]
    at = 0
    for start, end in sorted(spans):
        assert start == at
        at = end
    assert at == len(data)
