"""How tests of calendar and tasks read their material."""

from datetime import UTC, datetime

from orchestrator.items import Copy, Damaged, File, Folder, Framing, UserId
from orchestrator.ports import Rules
from workers.formats.calendar_repairs import LOSSY, REPAIRS

OWNER = UserId("anna")
LOSS = datetime(2024, 1, 1, tzinfo=UTC)
DEFAULT = frozenset(REPAIRS) - LOSSY


def rules(repairs=(), **limits):
    return Rules(
        repairs=frozenset(repairs),
        loss=LOSS,
        service_start=datetime(2000, 1, 1, tzinfo=UTC),
        **limits,
    )


def read(kind, *files, repairs=(), **limits):
    """Everything found in files of these bytes, after a check that nothing is missing."""
    folder = Folder(
        owner=OWNER,
        files=[
            File(name=f"{number}", size=len(data), read=lambda data=data: data)
            for number, data in enumerate(files)
        ],
    )
    found = list(kind.read(folder, rules(repairs, **limits)))
    for number, data in enumerate(files):
        spans = sorted(
            (span.offset, span.length)
            for each in found
            for span in ((each.span,) if isinstance(each, Framing) else each.spans)
            if span.file == f"{number}"
        )
        end = 0
        for offset, length in spans:
            assert offset == end
            end += length
        assert end == len(data)
    return found


def copies(found):
    return [each for each in found if isinstance(each, Copy)]


def damage(found):
    return [each for each in found if isinstance(each, Damaged)]


def one_copy(kind, data, **options):
    found = read(kind, data, **options)
    assert damage(found) == []
    (copy,) = copies(found)
    live = kind.recognise(OWNER, copy.item.content)
    assert live is not None
    assert (live.ident, live.digest, live.revised) == (
        copy.item.ident,
        copy.item.digest,
        copy.item.revised,
    )
    return copy


def one_damage(kind, data, **options):
    found = read(kind, data, **options)
    assert copies(found) == []
    (damaged,) = damage(found)
    return damaged
