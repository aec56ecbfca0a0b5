import pytest

from orchestrator.errors import ItemRejected
from workers.formats.note_rows import is_note_row, read_note_row


def test_a_note_is_known_by_its_fields():
    assert is_note_row({"body": 1})
    assert is_note_row({"id": 1, "title": 1})
    assert not is_note_row({"title": 1})
    assert not is_note_row({"text": 1, "isChecked": 1})


@pytest.mark.parametrize(
    "fields",
    [
        {"body": "a", "text": "b"},
        {"body": 5},
        {"body": "a", "title": ["b"]},
        {"body": "a", "pinned": "yes"},
        {"body": "a", "labels": 5},
        {"body": "a", "labels": [5]},
        {"body": "a", "id": 1.5},
        {"body": "a", "id": True},
        {"body": "a", "id": "x" * 501},
    ],
)
def test_a_field_that_is_not_what_a_note_has_is_refused(fields):
    with pytest.raises(ItemRejected):
        read_note_row(fields)


def test_a_time_that_is_none_is_noted():
    note = read_note_row({"body": "a", "created": "one day", "updated_at": "soon"})
    assert note.degraded == ("created", "revised")


def test_state_and_colour_are_read():
    note = read_note_row({"body": "a", "archived": True, "pinned": 0, "color": "RED"})
    assert note.state == ("archived", "color red")


def test_what_is_not_known_is_kept_as_meaning():
    note = read_note_row({"body": "a", "mood": "good", "user_id": "anna", "empty": ""})
    assert note.more == {"mood": "good"}
