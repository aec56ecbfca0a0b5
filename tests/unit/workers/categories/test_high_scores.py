import json
from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter, ValidationError

from orchestrator.items import Copy, Damaged, File, Folder, UserId
from orchestrator.ports import Rules
from orchestrator.reasons import Reason
from orchestrator.reconcile import precedence
from tests.conformance.category_examples.high_scores import replay
from workers.categories.high_scores import Board, Direction, HighScores

ANNA = UserId("anna")
RULES = Rules(
    repairs=frozenset(),
    loss=datetime(2024, 1, 1, tzinfo=UTC),
    service_start=datetime(2008, 1, 1, tzinfo=UTC),
)
BOARDS = {
    "tetris": Board(minimum=0, maximum=10_000),
    "race": Board(direction=Direction.LOWER, minimum=1, start=datetime(2020, 1, 1, tzinfo=UTC)),
}


def read(name, data, rules=RULES, **options):
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    file = File(name=name, size=len(raw), read=lambda: raw)
    return list(HighScores(**options).read(Folder(owner=ANNA, files=(file,)), rules))


def copies(found):
    return [each for each in found if isinstance(each, Copy)]


def only_damage(name, data, rules=RULES, **options):
    (damaged,) = (each for each in read(name, data, rules, **options) if isinstance(each, Damaged))
    return damaged


def best(found):
    return max(found, key=lambda copy: precedence(copy, 0))


def test_a_score_is_written_as_canonical_json_with_its_other_fields():
    row = {"value": "07", "board": "tetris", "level": {"b": 1, "a": 2}, "date": "2023-01-02 03:04"}
    (copy,) = copies(read("1", row))
    assert copy.item.content == (
        b'{"achieved":"2023-01-02T03:04:00Z","board":"tetris","level":{"a":2,"b":1},"value":7}'
    )
    assert (copy.item.ident, copy.item.revised) == ("tetris", None)


def test_the_best_of_a_board_wins_whenever_it_was_reached():
    old_and_high = {"board": "tetris", "value": 9, "achieved": "2020-01-01"}
    new_and_low = {"board": "tetris", "value": 3, "achieved": "2023-01-01"}
    found = copies(read("1", [new_and_low, old_and_high]))
    assert json.loads(best(found).item.content)["value"] == 9


def test_the_lowest_is_best_where_the_board_says_so():
    found = copies(read("1", [{"board": "race", "value": n} for n in (5, 2, 7)], boards=BOARDS))
    assert json.loads(best(found).item.content)["value"] == 2


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), 0])
def test_every_integer_of_64_bits_is_a_value(value):
    assert copies(read("1", {"board": "b", "value": value}))[0].merit == value


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'{"board":"b","value":9223372036854775808}', Reason.OUT_OF_RANGE),
        (b'{"board":"b","value":1.5}', Reason.VALUE),
        (b'{"board":"b","value":1e3}', Reason.VALUE),
        (b'{"board":"b","value":true}', Reason.VALUE),
        (b'{"board":"b","value":null}', Reason.VALUE),
        (b'{"board":"b","value":"12a"}', Reason.VALUE),
        (b'{"board":"b","value":NaN}', Reason.SYNTAX),
        (b'{"board":"b","value":Infinity}', Reason.SYNTAX),
        (b'{"board":"b","value":1e999}', Reason.SYNTAX),
        (b'{"board":"b","value":1,"value":2}', Reason.STRUCTURE),
        (b'{"board":"b","value":1,"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}", Reason.TOO_LARGE),
        (b'{"board":"b\\u0000","value":1}', Reason.CONTROL_CHARACTER),
        (b'{"board":"b","value":1,"achieved":"soon"}', Reason.VALUE),
        (b'{"board":"b","value":1,"achieved":"2024-01-03"}', Reason.TIME_TRAVEL),
        (b'{"board":"b","value":1,"achieved":"1970-01-01"}', Reason.TIME_TRAVEL),
    ],
)
def test_a_value_that_cannot_be_is_quarantined(raw, reason):
    assert only_damage("1.json", raw).reason is reason


@pytest.mark.parametrize(
    ("score", "reason", "ident"),
    [
        ({"board": "tetris", "value": 10_001}, Reason.OUT_OF_RANGE, "tetris"),
        ({"board": "tetris", "value": -1}, Reason.OUT_OF_RANGE, "tetris"),
        ({"board": "chess", "value": 1}, Reason.UNKNOWN_BOARD, None),
        ({"board": "race", "value": 1, "date": "2019-12-31"}, Reason.TIME_TRAVEL, "race"),
        ({"board": "race", "value": 1, "player": "bert"}, Reason.WRONG_OWNER, None),
    ],
)
def test_a_score_is_held_against_its_board(score, reason, ident):
    damaged = only_damage("1", score, boards=BOARDS)
    assert (damaged.reason, damaged.ident) == (reason, ident)


@pytest.mark.parametrize("field", ["player", "player_id", "userId", "owner"])
def test_a_score_of_another_user_is_quarantined(field):
    score = {"board": "b", "value": 1, field: "Anna"}
    assert only_damage("1", score).reason is Reason.WRONG_OWNER
    assert b"anna" not in copies(read("1", {**score, field: "anna"}))[0].item.content


@pytest.mark.parametrize("field", ["name", "Name", "nick", "player_name"])
def test_what_players_call_themselves_is_no_id(field):
    (copy,) = copies(read("1", {"board": "b", "value": 1, field: "Bert"}))
    assert json.loads(copy.item.content)[field] == "Bert"


def test_the_field_of_the_player_is_the_plans_to_name():
    score = {"board": "b", "value": 1, "player": "Bert"}
    (copy,) = copies(read("1", score, player=""))
    assert json.loads(copy.item.content)["player"] == "Bert"
    assert only_damage("1", {"board": "b", "value": 1, "who": "bert"}, player="who")


def test_the_same_score_in_every_format_has_one_digest():
    row = {"board": "tetris", "player": "anna", "value": 5, "achieved": "2023-01-01T00:00:00Z"}
    play = {"leaderboard_id": "tetris", "scoreValue": "5", "writeTimestamp": "1672531200000"}
    csv = b"board;value;achieved\r\ntetris;5;2023-01-01\r\n"
    found = [*read("1", row), *read("2", {"items": [play]}), *read("3.csv", csv)]
    assert len({copy.item.digest for copy in copies(found)}) == 1
    assert len(copies(found)) == 3


@pytest.mark.parametrize(
    ("name", "data", "board"),
    [
        ("tetris.json", [{"score": 1}], "tetris"),
        ("games/tetris/scores.json", [{"score": 1}], "games/tetris"),
        ("highscores.json", [{"score": 1}], "highscores"),
        ("x.json", {"pong": {"scores": [{"score": 1}]}}, "pong"),
        ("x.json", {"board": "go", "scores": [{"score": 1}]}, "go"),
        ("x.json", {"pong": [{"score": 1, "game": "chess"}]}, "chess"),
    ],
)
def test_a_score_without_a_board_belongs_to_the_place_where_it_stands(name, data, board):
    assert copies(read(name, data))[0].item.ident == board


def test_a_summary_around_scores_is_no_score():
    found = copies(read("a.json", {"score": 99, "scores": [{"score": 1}, {"score": 2}]}))
    assert [copy.merit for copy in found] == [1, 2]


def test_a_replay_is_a_score_with_the_replay_beside_it():
    data = replay(11760)
    (copy,) = copies(read("a.osr", data))
    assert copy.item.ident == "osu taiko 157f96ba06c3c9ba7c0eb8ddbc692819"
    assert copy.merit == 11760
    assert [(part.name, part.data) for part in copy.item.attachments] == [("replay.osr", data)]


def test_a_replay_is_whole_or_quarantined():
    data = replay(5)
    assert only_damage("a.osr", data + b"x").reason is Reason.STRUCTURE
    assert only_damage("a.osr", data[:-1]).reason is Reason.CUT
    damaged = bytearray(data)
    damaged[-90:-20] = bytes(70)
    assert only_damage("a.osr", bytes(damaged)).reason is Reason.ZEROED


def test_a_number_that_a_cut_may_have_shortened_is_not_trusted():
    data = b"board,value\na,5\nb,96"
    found = read("s.csv", data)
    assert [copy.item.ident for copy in copies(found)] == ["a"]
    assert only_damage("s.csv", data).reason is Reason.CUT
    rules = Rules(repairs=frozenset({"accept-open-end"}), loss=RULES.loss)
    assert [copy.lossy for copy in copies(read("s.csv", data, rules))] == [False, True]


def test_a_last_cell_that_cannot_mislead_may_end_the_file():
    assert copies(read("s.csv", b"value,board,note\n5,a,half"))[0].merit == 5


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"a,1,2", Reason.STRUCTURE),
        (b'"a,1', Reason.SYNTAX),
        (b"a\xff,1", Reason.ENCODING),
        (b"a\x07,1", Reason.CONTROL_CHARACTER),
        (b"a" + bytes(32) + b",1", Reason.ZEROED),
        (b"a,x", Reason.VALUE),
    ],
)
def test_a_damaged_row_leaves_its_siblings(row, reason):
    data = b"board,value\n1,1\n" + row + b"\n3,3\n"
    assert [copy.item.ident for copy in copies(read("s.csv", data))] == ["1", "3"]
    assert only_damage("s.csv", data).reason is reason


def test_a_table_without_scores_is_unsupported():
    assert only_damage("s.csv", b"name,mail\na,b\n").reason is Reason.UNSUPPORTED


def test_the_plans_options_are_checked():
    options = TypeAdapter(HighScores)
    given = {"boards": {"race": {"direction": "lower", "start": "2020-01-01T00:00:00Z"}}}
    assert options.validate_python(given).boards["race"].direction is Direction.LOWER
    with pytest.raises(ValidationError):
        options.validate_python({"boards": {"race": {"direction": "sideways"}}})
