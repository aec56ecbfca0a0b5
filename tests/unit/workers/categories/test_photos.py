import json
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import ItemRejected, Unavailable
from orchestrator.items import (
    HEAD_BYTES,
    Attachment,
    Copy,
    Damaged,
    File,
    Folder,
    Framing,
    UserId,
    Vouched,
)
from orchestrator.ports import Rules
from orchestrator.reasons import Reason
from orchestrator.reconcile import precedence
from tests.unit.workers.formats.pictures import ALL, JPEG, PNG, PROGRESSIVE
from workers.categories.photos import RETYPE, TRIM, Photos

OWNER = UserId("anna")
LOSS = datetime(2009, 10, 1, tzinfo=UTC)
RULES = Rules(repairs=frozenset(Photos.repairs), loss=LOSS)
STRICT = Rules(repairs=frozenset(), loss=LOSS)

SIDECAR = json.dumps(
    {
        "title": "IMG.jpg",
        "description": "",
        "imageViews": "3",
        "creationTime": {"timestamp": "1200000000", "formatted": "Jan 10, 2008"},
        "modificationTime": {"timestamp": "1210000000"},
        "photoTakenTime": {"timestamp": "1190000000", "formatted": "Sep 17, 2007"},
        "geoData": {"latitude": 48.1, "longitude": 11.5},
    }
).encode()
DETAILS = b"imgName,favorite,viewCount\nIMG.jpg,yes,1\nlost.jpg,no,2\n"


def file(name, data, beside=()):
    return File(name=name, size=len(data), read=lambda: data, beside=tuple(beside))


def read(*files, rules=RULES, options=None):
    kind = Photos(**(options or {}))
    found = list(kind.read(Folder(owner=OWNER, files=files), rules))
    check_tiling(files, found)
    return found


def check_tiling(files, found):
    contents = {}
    for each in files:
        for part in (each, *each.beside):
            try:
                contents[part.name] = part.read()
            except ItemRejected:
                contents[part.name] = bytes(part.size)
    spans = {}
    for each in found:
        for span in (each.span,) if isinstance(each, Framing) else each.spans:
            spans.setdefault(span.file, []).append((span.offset, span.length))
    for name, data in contents.items():
        at = 0
        for offset, length in sorted(spans.pop(name)):
            assert offset == at
            at += length
        assert at == len(data)
    assert not spans


def test_a_picture_is_restored_byte_for_byte():
    for suffix, data in ALL.items():
        (copy,) = read(file(f"IMG.{suffix}", data))
        assert copy.item.content == data
        assert copy.item.ident == f"sha256:{sha256(data).hexdigest()}"
        assert copy.item.media.suffix == suffix
        assert copy.repairs == ()
        assert copy.item.revised is None


def test_a_photo_takes_its_sidecar_along_verbatim():
    (copy,) = read(file("2007/IMG.jpg", JPEG), file("2007/IMG.jpg.json", SIDECAR))
    assert copy.item.attachments == (Attachment(name="json", data=SIDECAR),)
    assert [span.file for span in copy.spans] == ["2007/IMG.jpg", "2007/IMG.jpg.json"]
    assert copy.item.revised == datetime.fromtimestamp(1210000000, UTC)
    assert copy.merit == 1


def test_a_photo_is_a_favourite_where_its_user_said_so_and_dated_when_it_was_taken():
    favourite = json.dumps({**json.loads(SIDECAR), "favorited": True}).encode()
    for beside, marked, taken in (
        ([file("IMG.jpg.json", SIDECAR)], False, datetime.fromtimestamp(1190000000, UTC)),
        ([file("IMG.jpg.json", favourite)], True, datetime.fromtimestamp(1190000000, UTC)),
        ([file("Photo Details.csv", DETAILS)], True, None),
        ([], False, None),
    ):
        copy = next(one for one in read(file("IMG.jpg", JPEG), *beside) if isinstance(one, Copy))
        assert (copy.favourite, copy.dated) == (marked, taken)


def test_the_same_picture_in_year_and_album_folders_is_one_item():
    found = read(
        file("Album/IMG.jpg", JPEG),
        file("Album/metadata.json", b'{"title": "Album", "access": "protected", "date": {}}'),
        file("Photos from 2007/IMG.jpg", JPEG),
        file("Photos from 2007/IMG.jpg.json", SIDECAR),
    )
    copies = [each for each in found if isinstance(each, Copy)]
    assert len({copy.item.ident for copy in copies}) == 1
    assert max(copies, key=lambda copy: precedence(copy, 0)).item.attachments
    assert sum(isinstance(each, Framing) for each in found) == 1


def test_a_lone_photo_is_restored_and_a_lone_sidecar_is_not():
    found = read(file("IMG.jpg", JPEG), file("other.jpg.json", SIDECAR))
    assert isinstance(found[0], Copy)
    assert found[1].reason is Reason.SIDECAR_ALONE
    assert found[1].data == SIDECAR


def test_the_description_of_a_lost_photo_never_goes_to_another_of_its_title():
    found = read(file("IMG.jpg", JPEG), file("IMG.jpg(1).json", SIDECAR))
    assert found[0].item.attachments == ()
    assert found[1].reason is Reason.SIDECAR_ALONE


def test_a_sidecar_that_lost_its_name_is_found_by_its_title():
    (copy,) = read(file("IMG.jpg", JPEG), file("x%3F.json", SIDECAR))
    assert copy.merit == 1


def test_an_edited_photo_carries_the_description_but_not_the_bytes_of_its_original():
    edited, original = read(
        file("IMG-edited.jpg", PROGRESSIVE), file("IMG.jpg", JPEG), file("IMG.jpg.json", SIDECAR)
    )
    assert edited.item.attachments == original.item.attachments
    assert len(edited.spans) == 1
    assert len(original.spans) == 2


def test_a_broken_sidecar_does_not_cost_the_photo():
    for broken, reason in (
        (SIDECAR[:-20], Reason.SYNTAX),
        (b"[1]", Reason.STRUCTURE),
        (b"", Reason.EMPTY),
        (bytes(900), Reason.ZEROED),
        (b"[" * 200_000, Reason.TOO_LARGE),
        (b'{"a": "\xff"}', Reason.ENCODING),
        (b'{"a": NaN}', Reason.SYNTAX),
    ):
        found = read(file("IMG.jpg", JPEG), file("IMG.jpg.json", broken))
        assert sorted(type(each).__name__ for each in found) == ["Copy", "Damaged"]
        (damaged,) = [each for each in found if isinstance(each, Damaged)]
        assert damaged.reason in {reason, Reason.SYNTAX}
        assert damaged.data == broken


def test_a_damaged_photo_keeps_its_sidecar_with_it():
    (damaged,) = read(file("IMG.jpg", JPEG[:-500]), file("IMG.jpg.json", SIDECAR))
    assert damaged.reason is Reason.CUT
    assert damaged.data == JPEG[:-500] + SIDECAR
    assert damaged.ident is None


def test_a_photo_whose_bytes_cannot_be_had_is_damaged_by_that_reason():
    def refuse():
        raise ItemRejected(Reason.CHECKSUM, "altered", data=b"what there is")

    unreadable = File(name="IMG.jpg", size=99, read=refuse)
    (damaged,) = read(unreadable, file("IMG.jpg.json", SIDECAR))
    assert damaged.reason is Reason.CHECKSUM
    assert damaged.data == b"what there is" + SIDECAR


def test_a_source_that_is_away_stops_the_reading():
    def away():
        raise Unavailable("gone")

    folder = Folder(owner=OWNER, files=[File(name="IMG.jpg", size=9, read=away)])
    with pytest.raises(Unavailable):
        list(Photos().read(folder, RULES))


def test_a_wrong_suffix_is_repaired_only_when_the_plan_says_so():
    (copy,) = read(file("IMG.jpg", PNG))
    assert copy.repairs == (RETYPE,)
    assert copy.item.media.suffix == "png"
    (damaged,) = read(file("IMG.jpg", PNG), rules=STRICT)
    assert damaged.reason is Reason.VALUE
    assert RETYPE in damaged.detail
    assert damaged.data == PNG


def test_junk_after_the_end_is_trimmed_only_when_the_plan_says_so():
    junk = b"<html>error 500</html>"
    (copy,) = read(file("IMG.jpg", JPEG + junk))
    assert copy.repairs == (TRIM,)
    assert copy.item.content == JPEG
    assert copy.item.ident == f"sha256:{sha256(JPEG).hexdigest()}"
    assert copy.spans[0].length == len(JPEG + junk)
    (damaged,) = read(file("IMG.jpg", JPEG + junk), rules=STRICT)
    assert damaged.data == JPEG + junk
    assert TRIM in damaged.detail


def test_every_repair_says_what_it_does_and_loses_nothing():
    assert set(Photos.repairs) == {RETYPE, TRIM}
    assert all(sentence.endswith(".") for sentence in Photos.repairs.values())
    assert not Photos.lossy


def test_what_is_no_picture_is_named_and_kept():
    found = read(
        file("a.mp4", b"\0\0\0\x18ftypmp42" + b"film"),
        file("b.dng", ALL["tif"]),
        file("c.txt", b"text"),
        file("comments.json", b'{"comments": []}'),
        file("empty.jpg", b""),
        file("blank", b" \r\n"),
    )
    reasons = [each.reason for each in found if isinstance(each, Damaged)]
    assert reasons == [*[Reason.UNSUPPORTED] * 4, Reason.EMPTY]
    assert isinstance(found[-1], Framing)


def test_rows_of_an_icloud_table_go_to_their_photos():
    copy, *rest = read(file("Photos/IMG.jpg", JPEG), file("Photos/Photo Details.csv", DETAILS))
    header, row, lost = DETAILS.splitlines(keepends=True)
    assert copy.item.attachments == (Attachment(name="csv", data=header + row),)
    assert isinstance(rest[0], Framing)
    assert rest[1].reason is Reason.SIDECAR_ALONE
    assert rest[1].data == lost


def test_a_rows_second_column_describes_the_photo_of_the_row():
    column = file("7/meta", SIDECAR)
    (copy,) = read(file("7/photo", JPEG, beside=[column]))
    assert copy.item.attachments[0].data == SIDECAR
    assert {span.file for span in copy.spans} == {"7/photo", "7/meta"}


def test_a_picture_beside_a_picture_is_one_of_its_own():
    found = read(file("7/photo", JPEG, beside=[file("7/second", PNG)]))
    assert [copy.item.content for copy in found] == [JPEG, PNG]


@pytest.mark.parametrize("seconds", ["99999999999999999999", "4000000000", "soon", "-1"])
def test_a_time_that_cannot_be_is_left_out_and_noted(seconds):
    rules = Rules(repairs=frozenset(), loss=LOSS, service_start=datetime(2002, 1, 1, tzinfo=UTC))
    sidecar = SIDECAR.replace(b"1210000000", seconds.encode())
    (copy,) = read(file("IMG.jpg", JPEG), file("IMG.jpg.json", sidecar), rules=rules)
    assert copy.item.revised is None
    assert copy.degraded == ("modification-time",)


def test_what_is_too_large_for_the_plan_is_not_decoded():
    (damaged,) = read(
        file("IMG.jpg", JPEG), rules=Rules(repairs=frozenset(), loss=LOSS, item_bytes=100)
    )
    assert damaged.reason is Reason.TOO_LARGE
    (damaged,) = read(file("IMG.jpg", JPEG), options={"pixels": 1000})
    assert damaged.reason is Reason.TOO_LARGE


def test_a_bomb_harms_no_sibling():
    bomb = bytearray(ALL["gif"])
    bomb[6:10] = b"\xff\xff\xff\xff"
    found = read(file("a.jpg", JPEG), file("b.gif", bytes(bomb)), file("c.png", PNG))
    assert [type(each).__name__ for each in found] == ["Copy", "Damaged", "Copy"]


def test_what_was_written_is_recognised():
    for files in (
        [file("IMG.jpg", JPEG)],
        [file("IMG.jpg", JPEG), file("IMG.jpg.json", SIDECAR)],
        [file("IMG.jpg", JPEG), file("Photo Details.csv", DETAILS)],
    ):
        item = read(*files)[0].item
        live = Photos().recognise(OWNER, item.content, item.attachments)
        assert (live.ident, live.digest, live.revised) == (item.ident, item.digest, item.revised)


def test_a_description_counts_by_what_it_means():
    def digest(data):
        return Photos().recognise(OWNER, JPEG, [Attachment(name="json", data=data)]).digest

    fields = json.loads(SIDECAR)
    shuffled = json.dumps({**dict(reversed(fields.items())), "imageViews": "9"}, indent=2)
    assert digest(shuffled.encode()) == digest(SIDECAR)
    changed = {**fields, "description": "at the lake"}
    assert digest(json.dumps(changed).encode()) != digest(SIDECAR)
    assert Photos().recognise(OWNER, JPEG).digest != digest(SIDECAR)


def test_a_live_photo_of_which_a_byte_was_lost_is_another_one():
    assert Photos().recognise(OWNER, JPEG[:-1]).digest != Photos().recognise(OWNER, JPEG).digest
    assert Photos().recognise(OWNER, b"<html>") is None


@pytest.mark.parametrize("described", [False, True])
def test_a_photo_put_beside_is_marked_and_recognised_as_another_one(described):
    sidecars = [file("IMG.jpg.json", SIDECAR)] if described else []
    item = read(file("IMG.jpg", JPEG), *sidecars)[0].item
    put = Photos().beside(item, "recovered")
    assert put.content == item.content
    assert put.ident != item.ident
    assert Photos().beside(item, "recovered") == put
    assert "recovered" in json.loads(put.attachments[0].data)["description"]
    live = Photos().recognise(OWNER, put.content, put.attachments)
    assert (live.ident, live.digest) == (put.ident, put.digest)


kinds = st.sampled_from([JPEG, PNG, JPEG[:-9], SIDECAR, SIDECAR[:40], DETAILS, b"", b" ", b"{}"])
names = st.sampled_from(
    (
        *("IMG.jpg", "IMG.jpg.json", "IMG.json", "IMG(1).jpg", "IMG-edited.jpg"),
        *("IMG.jpg(1).json", "Photo Details.csv", "metadata.json", "x"),
        *("a/IMG.jpg", "a/IMG.jpg.json"),
    )
)


@given(st.dictionaries(names, kinds, max_size=8), st.booleans())
@settings(deadline=None, max_examples=150)
def test_every_byte_of_any_folder_is_accounted_for_once(contents, strict):
    files = [file(name, data) for name, data in contents.items()]
    found = read(*files, rules=STRICT if strict else RULES)
    assert found == list(
        Photos().read(Folder(owner=OWNER, files=files), STRICT if strict else RULES)
    )


# What a digest from before the loss vouches for ------------------------------------------------


def known(name, data, beside=()):
    """A file whose bytes nobody may ask for but by the digest."""

    def vouched():
        return Vouched(
            head=data[:HEAD_BYTES], length=len(data), sha256=sha256(data).digest(), content=data
        )

    return File(name=name, size=len(data), read=lambda: data, beside=tuple(beside), vouched=vouched)


@pytest.mark.guarantee(13)
@pytest.mark.parametrize("suffix", ALL)
def test_a_vouched_picture_is_the_same_item_as_one_that_was_decoded(suffix):
    data = ALL[suffix]
    sidecar = file(f"IMG.{suffix}.json", SIDECAR)
    assert read(known(f"IMG.{suffix}", data), sidecar) == read(file(f"IMG.{suffix}", data), sidecar)


def test_a_vouched_picture_is_taken_as_the_service_had_it_without_any_repair():
    for name, data in (("IMG.jpg", JPEG[:-9]), ("IMG.jpg", JPEG + b"junk"), ("IMG.png", JPEG)):
        for rules in (RULES, STRICT):
            (copy,) = read(known(name, data), rules=rules)
            assert copy.item.content == data
            assert copy.item.media.suffix == "jpg"
            assert copy.repairs == ()


def test_what_is_vouched_for_and_no_picture_is_examined_as_ever():
    for name, data in (("IMG.jpg", b"text"), ("IMG.jpg", bytes(5000)), ("IMG.nef", ALL["tif"])):
        assert read(known(name, data)) == read(file(name, data))
    (blank,) = read(known("IMG.jpg", b"\r\n"))
    assert isinstance(blank, Framing)


def test_a_vouched_picture_is_no_larger_than_any_other():
    small = Rules(repairs=frozenset(), loss=LOSS, item_bytes=len(JPEG) - 1)
    (damaged,) = read(known("IMG.jpg", JPEG), rules=small)
    assert damaged.reason is Reason.TOO_LARGE


def test_bytes_that_are_not_the_vouched_ones_are_damage():
    def refuse():
        raise ItemRejected(Reason.CHECKSUM, "another sha256 than listed", data=JPEG)

    altered = File(name="IMG.jpg", size=len(JPEG), read=lambda: JPEG, vouched=refuse)
    (damaged,) = read(altered, file("IMG.jpg.json", SIDECAR))
    assert (damaged.reason, damaged.data) == (Reason.CHECKSUM, JPEG + SIDECAR)
