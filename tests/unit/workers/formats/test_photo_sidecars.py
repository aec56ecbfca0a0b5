import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.formats.photo_sidecars import pair, pair_by_title

LONG = "a name that is far longer than forty-six characters in all.jpg"


@pytest.mark.parametrize(
    ("photo", "sidecar"),
    [
        ("IMG.jpg", "IMG.jpg.json"),
        ("IMG.jpg", "IMG.jpg.supplemental-metadata.json"),
        ("IMG.jpg", "IMG.jpg.supplemental-meta.json"),
        ("IMG.jpg", "IMG.jpg.s.json"),
        ("IMG.jpg", "IMG.jpg..json"),
        ("IMG(1).jpg", "IMG.jpg(1).json"),
        ("IMG(1).jpg", "IMG.jpg.supplemental-metadata(1).json"),
        ("IMG(1).jpg", "IMG.jpg.supplem(1).json"),
        ("IMG(1).jpg", "IMG(1).jpg.json"),
        ("IMG(1).jpg", "IMG(1).jpg.supplemental-metadata.json"),
        ("IMG.jpg", "IMG.json"),
        ("IMG-edited.jpg", "IMG.jpg.json"),
        ("IMG-bearbeitet.jpg", "IMG.jpg.json"),
        ("IMG-modifié.jpg", "IMG.jpg.supplemental-metadata.json"),
        ("IMG-edited(2).jpg", "IMG.jpg(2).json"),
        (LONG[:47] + ".jpg", LONG[:46] + ".json"),
        (
            "exactly forty characters and the suffix.jpg",
            "exactly forty characters and the suffix.jp.json",
        ),
        ("Foto v1.2 final.png", "Foto v1.2 final.png.suppl.json"),
        ("cafe\u0301.jpg", "caf\u00e9.jpg.json"),
        ("Photos from 2009/IMG.jpg", "Photos from 2009/IMG.jpg.json"),
    ],
)
def test_a_photo_finds_the_sidecar_that_exports_name_after_it(photo, sidecar):
    found = pair([photo, "other.jpg"], [sidecar])
    assert found.of_photo == {photo: (sidecar,)}
    assert found.carrier == {sidecar: photo}


@pytest.mark.parametrize(
    ("photo", "sidecar"),
    [
        ("IMG.jpg", "IMG.jpg(1).json"),
        ("IMG(1).jpg", "IMG.jpg.json"),
        ("IMG.jpg", "IMG2.jpg.json"),
        ("IMG.jpg", "IM.json"),
        ("IMG.jpg", "metadata.json"),
        ("2009/IMG.jpg", "2010/IMG.jpg.json"),
        ("IMG.jpg", "IMG.jpg.something.json"),
    ],
)
def test_a_sidecar_of_another_photo_stays_alone(photo, sidecar):
    assert pair([photo], [sidecar]).carrier == {}


def test_an_edited_photo_shares_its_originals_sidecar():
    photos = ["IMG-edited.jpg", "IMG.jpg", "IMG.HEIC"]
    found = pair(photos, ["IMG.jpg.json"])
    assert found.carrier == {"IMG.jpg.json": "IMG.jpg"}
    assert found.of_photo == {"IMG.jpg": ("IMG.jpg.json",), "IMG-edited.jpg": ("IMG.jpg.json",)}


def test_an_edited_photo_may_have_another_format_than_its_original():
    found = pair(["IMG.HEIC", "IMG-edited.jpg"], ["IMG.HEIC.json"])
    assert set(found.of_photo) == {"IMG.HEIC", "IMG-edited.jpg"}


def test_counters_keep_photos_of_one_name_apart():
    photos = ["IMG.jpg", "IMG(1).jpg", "IMG(2).jpg"]
    sidecars = ["IMG.jpg.json", "IMG.jpg(1).json", "IMG.jpg(2).json"]
    assert pair(photos, sidecars).of_photo == {
        photo: (sidecar,) for photo, sidecar in zip(photos, sidecars, strict=True)
    }


def test_a_name_that_two_photos_were_cut_to_is_not_guessed():
    photos = [LONG[:47] + "1.jpg", LONG[:47] + "2.jpg"]
    assert pair(photos, [LONG[:46] + ".json"]).carrier == {}


def test_two_exports_in_one_folder_give_a_photo_two_sidecars():
    sidecars = ["IMG.jpg.json", "IMG.jpg.supplemental-metadata.json"]
    assert pair(["IMG.jpg"], sidecars).of_photo == {"IMG.jpg": tuple(sidecars)}


def test_a_title_leads_to_the_one_photo_that_is_named_by_it():
    assert pair_by_title("a/b&c.jpg", ["x/a_b_c.jpg", "x/d.jpg"]) == "x/a_b_c.jpg"
    assert pair_by_title("Z" * 60 + ".png", ["Z" * 47 + ".png"]) == "Z" * 47 + ".png"
    assert pair_by_title("a.jpg", ["b.jpg"]) is None


names = st.text("IMG()12-edit.jpgs_", min_size=1, max_size=14)


@given(st.lists(names, unique=True, max_size=12), st.lists(names, unique=True, max_size=12))
@settings(deadline=None, max_examples=150)
def test_each_sidecar_is_accounted_for_by_at_most_one_photo_that_has_it(photos, stems):
    found = pair(photos, [f"{stem}.json" for stem in stems])
    for sidecar, photo in found.carrier.items():
        assert photo in photos
        assert sidecar in found.of_photo[photo]
    for sidecars in found.of_photo.values():
        assert len(set(sidecars)) == len(sidecars)
        assert set(sidecars) <= set(found.carrier)
