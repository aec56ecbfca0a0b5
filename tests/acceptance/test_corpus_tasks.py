"""Real tasks go through the tasks category."""

from datetime import UTC, datetime
from pathlib import PurePosixPath

import icalendar
import pytest

from orchestrator.items import Copy, Damaged, File, Folder, Framing, UserId
from orchestrator.ports import Rules
from orchestrator.reasons import Reason
from tests.corpus import corpus_bytes, corpus_files
from workers.categories.tasks import Tasks

OWNER = UserId("a user")
KIND = Tasks()
RULES = Rules(repairs=frozenset(KIND.repairs) - KIND.lossy, loss=datetime(2026, 11, 22, tzinfo=UTC))

NOT_WHOLE = {
    "calendars/issue_1050_calendar_with_events_and_todos.ics": "events and journal entries too",
}
"""Files that are labelled valid and hold what is no task, each with the reason."""

FILES = corpus_files("tasks")


def short(path):
    return "/".join(PurePosixPath(path).parts[-2:])


def read(data):
    file = File(name="tasks.ics", size=len(data), read=lambda: data)
    return list(KIND.read(Folder(owner=OWNER, files=(file,)), RULES))


@pytest.mark.parametrize(("path", "label"), FILES)
def test_every_real_file_is_accounted_for_to_the_byte(path, label):
    data = corpus_bytes(path, label)
    end = 0
    for offset, length in sorted(
        (span.offset, span.length)
        for each in read(data)
        for span in ((each.span,) if isinstance(each, Framing) else each.spans)
    ):
        assert offset == end
        end += length
    assert end == len(data)


@pytest.mark.parametrize(("path", "label"), FILES)
def test_valid_files_are_restored(path, label):
    found = read(corpus_bytes(path, label))
    damaged = [each for each in found if isinstance(each, Damaged)]
    assert any(isinstance(each, Copy) for each in found) or damaged
    if label.removeprefix("template:") == "valid":
        assert bool(damaged) is (short(path) in NOT_WHOLE)
        assert {each.reason for each in damaged} <= {Reason.UNSUPPORTED}


@pytest.mark.parametrize(("path", "label"), FILES)
def test_what_is_restored_is_recognised_whoever_writes_it_again(path, label):
    for copy in read(corpus_bytes(path, label)):
        if not isinstance(copy, Copy):
            continue
        rewritten = icalendar.Calendar.from_ical(copy.item.content).to_ical()
        for content in (copy.item.content, rewritten):
            live = KIND.recognise(OWNER, content)
            assert live is not None
            assert (live.ident, live.digest) == (copy.item.ident, copy.item.digest)
        again = [each for each in read(copy.item.content) if not isinstance(each, Framing)]
        assert [each.item for each in again if isinstance(each, Copy)] == [copy.item]
        assert len(again) == 1


def test_exceptions_are_files_of_the_corpus():
    assert set(NOT_WHOLE) <= {short(path) for path, _ in FILES}
