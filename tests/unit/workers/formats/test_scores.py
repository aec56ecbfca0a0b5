import pytest

from orchestrator.errors import ItemRejected
from workers.formats.scores import is_score, read_score, written


def test_a_score_is_known_by_its_fields():
    assert is_score({"Score": 1})
    assert is_score({"score_value": 1})
    assert not is_score({"total_score": 1})
    assert not is_score({"score": 1, "Scores": []})


def test_two_fields_of_one_name_are_both_kept():
    score = read_score({"board": "b", "value": 1, "Value": 2, "score": 3}, "", ())
    assert (score.value, score.more) == (1, {"Value": 2, "score": 3})


def test_a_field_left_empty_gives_way_to_the_next():
    score = read_score({"board": "", "game": "b", "value": None, "points": "4"}, "", ())
    assert (score.board, score.value, score.more) == ("b", 4, {})


@pytest.mark.parametrize("board", ["", "  ", "a\nb", "x" * 201])
def test_a_board_has_a_name(board):
    with pytest.raises(ItemRejected):
        read_score({"board": board, "value": 1}, "", ())


def test_long_numbers_of_other_fields_stay_exact():
    score = read_score({"board": "b", "value": 1, "seed": 2**80}, "", ())
    assert b"1208925819614629174706176" in written(score)
