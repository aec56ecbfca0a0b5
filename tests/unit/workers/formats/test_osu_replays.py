import struct
from datetime import UTC, datetime

import pytest

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason
from tests.conformance.category_examples.high_scores import replay
from workers.formats.osu_replays import looks_like_replay, read_replay

HEAD = struct.pack("<Bi", 1, 20220424)
TEXT = b"\x0b\x01a"
NUMBERS = struct.pack("<HHHHHHiH?i", 0, 0, 0, 0, 0, 0, 7, 0, True, 0)
TIME = struct.pack("<q", 638_000_000_000_000_000)
NO_PLAY = struct.pack("<i", 0)
ID = struct.pack("<q", 0)


def test_a_replay_tells_its_score():
    data = replay(11760)
    found = read_replay(data)
    assert (found.mode, found.score, found.player) == ("taiko", 11760, "anna plays")
    assert found.beatmap == "157f96ba06c3c9ba7c0eb8ddbc692819"
    assert found.at == datetime(2022, 9, 28, 22, 13, 20, tzinfo=UTC)
    assert found.length == len(data)
    assert looks_like_replay(data)


def test_old_replays_have_shorter_ids_or_none():
    for version, online in ((20130101, 4), (20100101, 0)):
        data = struct.pack("<Bi", 0, version) + TEXT * 3 + NUMBERS + b"\0" + TIME + NO_PLAY
        assert read_replay(data + bytes(online)).version == version


def test_new_replays_may_carry_details():
    data = struct.pack("<Bi", 0, 30000001) + TEXT * 3 + NUMBERS + b"\0" + TIME + NO_PLAY + ID
    assert read_replay(data + NO_PLAY).length == len(data) + 4


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x09" + HEAD[1:] + TEXT * 3, Reason.VALUE),
        (HEAD + b"\x07", Reason.SYNTAX),
        (HEAD + b"\x0b" + b"\xff" * 9, Reason.SYNTAX),
        (HEAD + b"\x0b\x01\xff", Reason.ENCODING),
        (HEAD + b"\x0b\x7fa", Reason.CUT),
        (HEAD + b"\0" + TEXT * 2 + NUMBERS + b"\0" + TIME + NO_PLAY + ID, Reason.STRUCTURE),
        (
            HEAD + TEXT * 3 + NUMBERS + b"\0" + struct.pack("<q", 2**63 - 1) + NO_PLAY + ID,
            Reason.VALUE,
        ),
        (
            HEAD + TEXT * 3 + NUMBERS + b"\0" + TIME + struct.pack("<i", 20) + b"\xff" * 20 + ID,
            Reason.VALUE,
        ),
    ],
)
def test_a_damaged_replay_says_why(data, reason):
    with pytest.raises(ItemRejected) as caught:
        read_replay(data)
    assert caught.value.reason is reason
