"""Real lists of scores and replays go through the high_scores category."""

from datetime import UTC, datetime

import pytest

from orchestrator.items import Copy, Damaged, File, Folder, Framing, UserId
from orchestrator.ports import Rules
from orchestrator.reasons import Reason
from tests.corpus import corpus_bytes, corpus_files
from workers.categories.high_scores import HighScores

OWNER = UserId("a user")
RULES = Rules(repairs=frozenset(), loss=datetime(2026, 6, 1, tzinfo=UTC))
FILES = corpus_files("high_scores")

BEST = {
    "fallingblock/highscores.json": (25, 9660),
    "eve-rebellion/highscores.json": (7, 12345),
    "eve-rebellion/assets/ship_sprites/highscores.json": (10, 27004),
    "Replays/mania-replay.osr": (1, 829931),
    "Replays/taiko-replay.osr": (1, 11760),
    "Replays/taiko-replay-with-legacy-online-id.osr": (1, 11760),
    "Replays/taiko-replay-with-new-online-id.osr": (1, 818692),
}
"""How many scores each file holds, and the best of them."""


def read(path, data):
    file = File(name=path, size=len(data), read=lambda: data)
    return list(HighScores().read(Folder(owner=OWNER, files=(file,)), RULES))


@pytest.mark.parametrize(("path", "label"), FILES)
def test_every_real_score_is_read_and_every_byte_accounted_for(path, label):
    data = corpus_bytes(path, label)
    found = read(path, data)
    spans = sorted(
        (span.offset, span.length)
        for each in found
        for span in ([each.span] if isinstance(each, Framing) else each.spans)
    )
    offset = 0
    for start, length in spans:
        assert start == offset
        offset += length
    assert offset == len(data)
    copies = [each for each in found if isinstance(each, Copy)]
    (expected,) = (best for end, best in BEST.items() if path.endswith(end))
    assert (len(copies), max(copy.merit for copy in copies)) == expected
    assert len({copy.item.ident for copy in copies}) == 1
    for copy in copies:
        live = HighScores().recognise(OWNER, copy.item.content, copy.item.attachments)
        assert live is not None
        assert (live.ident, live.digest) == (copy.item.ident, copy.item.digest)


@pytest.mark.parametrize("path", [path for path, _ in FILES if path.endswith(".osr")])
def test_a_cut_replay_is_quarantined_wherever_it_is_cut(path):
    data = corpus_bytes(path).rstrip(b"\n")
    for size in range(1, len(data), 3):
        (found,) = read(path, data[:size])
        assert isinstance(found, Damaged)
        assert found.reason in (Reason.CUT, Reason.ZEROED)
