from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.items import Copy, File, Folder, Framing, Side, UserId
from orchestrator.ports import Entry, Live, Rules
from workers.categories.calendar import Calendar
from workers.categories.tasks import Tasks
from workers.formats.merging_calendars import thing

ANN = UserId("ann")
CALENDAR, TASKS = Calendar(), Tasks()
LATE = datetime(9999, 1, 1, tzinfo=UTC)
STAMP = "DTSTAMP:20090101T000000Z"
START = "DTSTART:20090505T100000Z"


def wrapped(*components: str, extra: str = "") -> bytes:
    body = extra + "".join(components)
    text = f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//x//EN\n{body}END:VCALENDAR\n"
    return text.replace("\n", "\r\n").encode()


def part(*lines: str, kind: str = "VEVENT", uid: str = "u1") -> str:
    return "\n".join([f"BEGIN:{kind}", f"UID:{uid}", STAMP, *lines, f"END:{kind}", ""])


def event(*lines: str, start: str = START, **more: str) -> bytes:
    return wrapped(part(start, *lines, **more))


def task(*lines: str) -> bytes:
    return wrapped(part(*lines, kind="VTODO"))


def item(content: bytes, category=CALENDAR):
    file = File(name="a.ics", size=len(content), read=lambda: content)
    rules = Rules(repairs=frozenset(), loss=LATE)
    read = category.read(Folder(owner=ANN, files=(file,)), rules)
    (found,) = (each for each in read if not isinstance(each, Framing))
    assert isinstance(found, Copy), found
    return found.item


def merged(mine: bytes, theirs: bytes, *, wins=Side.LIVE, base=None, category=CALENDAR):
    live = Live(entry=Entry(owner=ANN, ref="r", version="1"), content=mine)
    older = None if base is None else item(base, category)
    return category.merge(ANN, live, item(theirs, category), wins=wins, base=older)


def lines(mine: bytes, theirs: bytes, **how) -> list[str]:
    found = merged(mine, theirs, **how)
    assert found is not None
    return found.item.content.decode().split("\r\n")


def test_what_both_say_of_an_event_stays():
    text = lines(
        event("SUMMARY:tea", "ATTENDEE:mailto:a@x.org", "CATEGORIES:fun"),
        event("SUMMARY:tea", "LOCATION:sea", "ATTENDEE:mailto:b@x.org", "CATEGORIES:work,fun"),
    )
    assert {"LOCATION:sea", "CATEGORIES:fun,work"} <= set(text)
    assert {"ATTENDEE:mailto:a@x.org", "ATTENDEE:mailto:b@x.org"} <= set(text)


def test_of_one_guest_the_winners_answer_stands():
    yes, no = (
        "ATTENDEE;PARTSTAT=ACCEPTED:mailto:a@x.org",
        "ATTENDEE;PARTSTAT=DECLINED:MAILTO:a@x.org",
    )
    assert no in lines(event(yes), event(no), wins=Side.RECOVERED)
    assert sum(line.startswith("ATTENDEE") for line in lines(event(yes), event(no))) == 1


def test_when_an_event_is_comes_from_one_side_as_a_whole_and_the_others_is_kept_aside():
    mine = event("DTEND:20090505T110000Z", "RRULE:FREQ=WEEKLY")
    theirs = event("DURATION:PT2H", start="DTSTART;VALUE=DATE-TIME:20090606T100000Z")
    text = lines(mine, theirs)
    assert {START, "DTEND:20090505T110000Z", "RRULE:FREQ=WEEKLY", "X-DURATION:PT2H"} <= set(text)
    assert not [line for line in text if line.startswith("DURATION")]


def test_a_schedule_that_says_all_of_the_other_and_more_stands():
    text = lines(event(), event("DTEND:20090505T110000Z", "RRULE:FREQ=WEEKLY"))
    assert {"DTEND:20090505T110000Z", "RRULE:FREQ=WEEKLY"} <= set(text)
    assert not [line for line in text if line.startswith("X-")]


def test_descriptions_become_one_text():
    assert "DESCRIPTION:bring tea\\n\\nand a coat" in lines(
        event("DESCRIPTION:bring tea"), event("DESCRIPTION:and a coat")
    )


def test_a_tasks_state_comes_from_one_side_as_a_whole():
    done = task("SUMMARY:x", "STATUS:COMPLETED", "COMPLETED:20090601T000000Z")
    begun = task("SUMMARY:x", "STATUS:IN-PROCESS", "PERCENT-COMPLETE:50")
    text = lines(done, begun, category=TASKS)
    assert {"STATUS:COMPLETED", "COMPLETED:20090601T000000Z", "X-PERCENT-COMPLETE:50"} <= set(text)
    assert "PERCENT-COMPLETE:50" not in text


# Recurring events -----------------------------------------------------------------------------


def series(*overrides: tuple[str, str], rule: str = "FREQ=DAILY", exdate: str = "") -> bytes:
    more = [f"EXDATE:{exdate}"] if exdate else []
    parts = [part(START, f"RRULE:{rule}", "SUMMARY:tea", *more)]
    parts += [
        part(f"RECURRENCE-ID:{day}T100000Z", f"DTSTART:{day}T120000Z", f"SUMMARY:{summary}")
        for day, summary in overrides
    ]
    return wrapped(*parts)


def instances(content: bytes) -> dict[str, str]:
    found = thing(content, "VEVENT")
    assert found is not None
    return {
        key.decode()[:8]: next(line.value.decode() for line in one.lines if line.name == "SUMMARY")
        for key, one in found.overrides.items()
    }


def test_overrides_of_both_sides_stay_with_their_series():
    found = merged(
        series(("20090506", "mine"), ("20090507", "both")),
        series(("20090507", "both"), ("20090508", "theirs")),
    )
    assert found is not None
    assert instances(found.item.content) == {
        "20090506": "mine",
        "20090507": "both",
        "20090508": "theirs",
    }


def test_an_instance_that_the_side_which_wins_deleted_stays_deleted():
    mine = series(exdate="20090506T100000Z")
    theirs = series(("20090506", "theirs"))
    found = merged(mine, theirs)
    assert found is not None
    assert instances(found.item.content) == {}
    assert found.origins.left_out == ("RECURRENCE-ID",)
    other = merged(mine, theirs, wins=Side.RECOVERED)
    assert other is not None
    assert instances(other.item.content) == {"20090506": "theirs"}
    assert b"EXDATE" not in other.item.content


def test_deleted_instances_of_both_sides_are_deleted():
    text = lines(series(exdate="20090506T100000Z"), series(exdate="20090507T100000Z"))
    assert "EXDATE:20090506T100000Z,20090507T100000Z" in text


def test_overrides_of_different_schedules_do_not_fit_into_one_event():
    mine = series(("20090506", "mine"))
    assert merged(mine, series(("20090508", "theirs"), rule="FREQ=DAILY;COUNT=9")) is None
    assert merged(mine, series(rule="FREQ=DAILY;COUNT=9")) is not None


def test_an_instance_that_was_put_back_after_the_base_is_not_deleted_again():
    base = series(exdate="20090506T100000Z")
    text = lines(series(), base, base=base)
    assert not [line for line in text if line.startswith("EXDATE")]


def test_alarms_of_both_sides_ring():
    def alarm(before: str) -> str:
        return f"BEGIN:VALARM\nACTION:DISPLAY\nDESCRIPTION:x\nTRIGGER:{before}\nEND:VALARM"

    found = lines(event(alarm("-PT5M")), event(alarm("-PT5M"), alarm("-PT1H")))
    assert found.count("BEGIN:VALARM") == 2


def test_zones_come_along_with_the_times_that_name_them():
    zone = (
        "BEGIN:VTIMEZONE\nTZID:{0}\nBEGIN:STANDARD\nDTSTART:19700101T000000\n"
        "TZOFFSETFROM:{1}\nTZOFFSETTO:{1}\nEND:STANDARD\nEND:VTIMEZONE\n"
    )
    own = "DTSTART;TZID=Own:20090505T100000"
    theirs = wrapped(part(own, "SUMMARY:tea"), extra=zone.format("Own", "+0100"))
    found = lines(event("SUMMARY:tea"), theirs, wins=Side.RECOVERED)
    assert {"TZID:Own", own} <= set(found)
    elsewhere = wrapped(part(own, "LOCATION:sea"), extra=zone.format("Own", "+0200"))
    assert merged(elsewhere, theirs) is None  # one name, two zones


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (event("SUMMARY:Tea with Bo"), event("SUMMARY:tea with bo", uid="u2"), True),
        (event("SUMMARY:tea"), event("SUMMARY:tea", start="DTSTART:20090505T110000Z"), False),
        (event("SUMMARY:tea"), event("SUMMARY:tea", "RRULE:FREQ=DAILY"), False),
        (event(), event(), False),
    ],
)
def test_an_event_typed_in_again_has_its_summary_and_its_time(one, other, same):
    assert bool(CALENDAR.likenesses(one) & CALENDAR.likenesses(other)) == same


def test_a_task_without_a_day_is_like_no_other():
    assert not TASKS.likenesses(task("SUMMARY:milk"))
    due = task("SUMMARY:milk", "DUE:20090505T100000Z")
    assert TASKS.likenesses(due) == TASKS.likenesses(task("SUMMARY:Milk", "DUE:20090505T100000Z"))


# Laws -----------------------------------------------------------------------------------------

WORDS = st.sampled_from(["a", "b", "sea", "sea view", "x\\, y"])
LINE = st.one_of(
    st.builds(
        "ATTENDEE{}:mailto:{}@x.org".format,
        st.sampled_from(["", ";PARTSTAT=ACCEPTED"]),
        st.sampled_from("ab"),
    ),
    st.builds("CATEGORIES:{},{}".format, WORDS, WORDS),
    st.builds("COMMENT:{}".format, WORDS),
    st.builds("X-A;B={}:{}".format, st.sampled_from("cd"), WORDS),
    st.builds("EXDATE:2009050{}T100000Z".format, st.sampled_from("678")),
    st.builds(
        "BEGIN:VALARM\nACTION:DISPLAY\nDESCRIPTION:x\nTRIGGER:-PT{}M\nEND:VALARM".format,
        st.sampled_from("123"),
    ),
)
ONCE = st.fixed_dictionaries(
    {},
    optional={
        "SUMMARY": WORDS,
        "DESCRIPTION": WORDS,
        "LOCATION": WORDS,
        "PRIORITY": st.sampled_from("123"),
        "STATUS": st.sampled_from(["TENTATIVE", "CONFIRMED"]),
        "DTEND": st.sampled_from(["20090505T110000Z", "20090505T120000Z"]),
    },
)
OBJECTS = st.builds(
    lambda once, several, over: wrapped(
        part(START, "RRULE:FREQ=DAILY", *(f"{n}:{v}" for n, v in once.items()), *several),
        *(
            part(
                f"RECURRENCE-ID:200905{day}T100000Z",
                f"DTSTART:200905{day}T130000Z",
                f"SUMMARY:{word}",
            )
            for day, word in over.items()
        ),
    ),
    ONCE,
    st.lists(
        LINE,
        max_size=5,
        unique_by=lambda line: line.partition(":")[2] if "ATTENDEE" in line else line,
    ),
    st.dictionaries(st.sampled_from(["06", "07", "08"]), WORDS, max_size=2),
)
SIDES = st.sampled_from(list(Side))


def said(content: bytes) -> set[tuple[str, str]]:
    """Names and values of the whole series, lists and texts word by word; what is aside too."""
    found = thing(content, "VEVENT")
    assert found is not None
    told: set[tuple[str, str]] = set()
    for line in found.master.lines:
        name = line.name.removeprefix("X-")
        if name not in {"UID", "DTSTAMP"}:
            told |= {
                (name, word)
                for word in line.value.decode().replace("\\n", " ").replace(",", " ").split()
            }
    return told | {("VALARM", str(child.lines[-1].value)) for child in found.master.children}


@settings(deadline=None, max_examples=120)
@given(OBJECTS, OBJECTS, SIDES)
def test_nothing_of_either_side_is_lost(mine, theirs, wins):
    found = merged(mine, theirs, wins=wins)
    assert found is not None
    missing = (said(mine) | said(theirs)) - said(found.item.content)
    # A date that the loser left out is there where the winner changed it.
    kept = {f"{day}T100000Z" for day in instances(found.item.content)}
    assert {(name, word) for name, word in missing if name != "EXDATE" or word not in kept} == set()


@settings(deadline=None, max_examples=120)
@given(OBJECTS, OBJECTS, SIDES, st.none() | OBJECTS)
def test_merging_once_more_changes_nothing(mine, theirs, wins, base):
    once = merged(mine, theirs, wins=wins, base=base)
    assert once is not None
    again = merged(once.item.content, theirs, wins=Side.LIVE, base=base)
    assert again is not None
    assert again.item.digest == once.item.digest


@settings(deadline=None, max_examples=60)
@given(OBJECTS, SIDES)
def test_merging_equal_objects_changes_nothing(mine, wins):
    found = merged(mine, mine, wins=wins)
    assert found is not None
    assert found.item.digest == item(mine).digest


@settings(deadline=None, max_examples=120)
@given(OBJECTS, OBJECTS, SIDES)
def test_a_merged_object_is_valid_and_is_read_back_as_what_it_is(mine, theirs, wins):
    found = merged(mine, theirs, wins=wins)
    assert found is not None
    assert item(found.item.content).digest == found.item.digest
