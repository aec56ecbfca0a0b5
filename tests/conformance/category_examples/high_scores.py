"""High scores in every format."""

import lzma
import struct

from tests.conformance.category_example import Example, Series


def replay(score, beatmap=b"157f96ba06c3c9ba7c0eb8ddbc692819", mode=1):
    def text(value):
        return b"\x0b" + bytes((len(value),)) + value

    play = lzma.compress(b"0|256|-500|0," * 20, format=lzma.FORMAT_ALONE)
    ticks = 638_000_000_000_000_000  # 2022-09-28
    return (
        struct.pack("<Bi", mode, 20220424)
        + text(beatmap)
        + text(b"anna plays")
        + text(b"4e3371517e73a9785a57a92ca607ceb2")
        + struct.pack("<HHHHHHiH?i", 4, 0, 0, 0, 2, 0, score, 4, True, 2048)
        + text(b"2133|0.33,5104|1,")
        + struct.pack("<q", ticks)
        + struct.pack("<i", len(play))
        + play
        + struct.pack("<q", 0)
    )


EXAMPLE = Example(
    whole={
        "JSON list": {
            "tetris.json": b'[{"Name":"me","Score":9660},{"Name":"Unknown","Score":-5}]\n',
        },
        "nested JSON": {
            "scores.json": b'{"version":2,"pong":{"scores":[{"score":5,"date":"2023-01-25 23:48",'
            b'"extra":{"kills":[1,2.5]}}]},"boards":[{"board":"go","scores":[{"points":"7"}]}]}',
        },
        "JSON lines": {"a.jsonl": b'{"board":"x","value":1}\n{"board":"y","value":2}\n'},
        "CSV": {
            "scores.csv": b"board,value,achieved,note\r\n"
            b'"tetris, fast",120,2023-01-02T03:04:05Z,"two\r\nlines ""quoted"""\r\n'
            b"pong,9223372036854775807,,\r\n",
        },
        "Play Games": {
            "Play Games/scores.json": b'{"items":[{"leaderboard_id":"CgkI","scoreValue":"12345",'
            b'"scoreString":"12,345","timeSpan":"ALL_TIME","writeTimestamp":"1672531200000"}]}',
        },
        "replay": {"a.osr": replay(11760), "b.osr": replay(7, mode=0) + b"\r\n"},
        "rows": {
            "1": b'{"board":"tetris","player":"anna","value":7,"achieved":"2023-01-02 03:04:05"}',
            "2": b'{"board":"pong","player_id":"anna","value":8,"achieved":null}',
        },
    },
    series=(
        Series(
            name="scores.json",
            head=b'{"scores":[\n',
            records=tuple(b'{"board":"b%d","value":%d}' % (n, n) for n in range(5)),
            between=b",\n",
            tail=b"]}\n",
            damaged=b'{"board":"bx","value":1e999}',
        ),
        Series(
            name="scores.json",
            head=b"[",
            records=tuple(b'{"board":"b%d","value":%d}' % (n, n) for n in range(5)),
            between=b",",
            tail=b"]",
            damaged=b'{"board":"bx","value":1,"value":2}',
        ),
        Series(
            name="scores.csv",
            head=b"board;value\n",
            records=tuple(b"b%d;%d" % (n, n) for n in range(5)),
            between=b"\n",
            tail=b"\n",
            damaged=b'"bx;3',
        ),
    ),
    repairable={"accept-open-end": {"scores.csv": b"board,value\ntetris,96"}},
    foreign=("readme.pdf", b"%PDF-1.4\n% not a list of scores\n"),
)
