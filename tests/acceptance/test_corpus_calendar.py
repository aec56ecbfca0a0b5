"""Real calendars, whole and damaged, go through the calendar category."""

from datetime import UTC, datetime
from pathlib import PurePosixPath

import icalendar
import pytest

from orchestrator.items import Copy, Damaged, File, Folder, Framing, UserId
from orchestrator.ports import Rules
from tests.corpus import corpus_bytes, corpus_files
from workers.categories.calendar import Calendar

OWNER = UserId("a user")
KIND = Calendar()
RULES = Rules(repairs=frozenset(KIND.repairs) - KIND.lossy, loss=datetime(2026, 11, 22, tzinfo=UTC))

NOT_WHOLE = {
    "tasks, journal entries, free times, alarms on their own: not events": {
        "alarms/example.ics",
        "alarms/rfc_5545_absolute_alarm_example.ics",
        "alarms/rfc_5545_end.ics",
        "alarms/start_date.ics",
        "availabilities/rfc_7953_1.ics",
        "availabilities/rfc_7953_2.ics",
        "calendars/empty_RDATE.ics",
        "calendars/issue_1050_all_components.ics",
        "calendars/issue_1050_calendar_with_events_and_todos.ics",
        "calendars/issue_1081_freebusy_comma_separated.ics",
        "calendars/issue_1633_freebusy_with_dates.ics",
        "calendars/issue_178_custom_component_inside_other.ics",
        "calendars/issue_27_multiple_periods_in_freebusy_multiple_freebusies.ics",
        "calendars/issue_27_multiple_periods_in_freebusy_one_freebusy.ics",
        "calendars/issue_348_exception_parsing_value.ics",
        "calendars/issue_798_freebusy.ics",
        "calendars/rfc_7265_example_3.jcal",
        "calendars/rfc_7953_3.ics",
        "freebusy/example.ics",
        "journals/example.ics",
        "text/rfc5545-example4.ics",
        "text/rfc5545-example5.ics",
        "text/rfc5545-example6.ics",
        "todos/example.ics",
    },
    "overrides of events that are not in the file": {
        "calendars/issue_1231_recurrence.ics",
        "calendars/issue_156_RDATE_with_PERIOD_TZID_khal.ics",
        "calendars/issue_156_RDATE_with_PERIOD_TZID_khal_2.ics",
        "samples/google_birthday.ics",
    },
    "two rules: RFC 5545 asks for one, and nobody can say which one counts": {
        "samples/multiple_rrules.ics",
    },
    "an empty VTIMEZONE and an alarm outside of any event; the event is restored": {
        "samples/recur_instances.ics",
    },
    "no DTSTART, which RFC 5545 section 3.6.1 asks for: fragments to try parsers on": {
        "calendars/created_calendar_with_unicode_fields.ics",
        "calendars/issue_1050_multiple_calendars.ics",
        "calendars/issue_1050_uid_in_description.ics",
        "calendars/issue_1081_with_summary.ics",
        "calendars/issue_1549_binary_attachment.ics",
        "calendars/issue_1561_image_value.ics",
        "calendars/issue_322_expected_calendar.ics",
        "calendars/issue_722_missing_timezones.ics",
        "calendars/issue_798_related_to.ics",
        "calendars/issue_82_expected_output.ics",
        "calendars/pr_480_summary_with_colon.ics",
        "calendars/rfc_5545_RDATE_example.ics",
        "calendars/rfc_6868.ics",
        "calendars/rfc_7256_multi_value_parameters.ics",
        "calendars/rfc_7986_conferences.ics",
        "calendars/rfc_7986_image.ics",
        "calendars/rfc_9253_gap.ics",
        "calendars/rfc_9253_related_to.ics",
        "events/event_with_escaped_character1.ics",
        "events/event_with_escaped_character2.ics",
        "events/event_with_escaped_character4.ics",
        "events/event_with_rsvp.ics",
        "events/event_with_unicode_organizer.ics",
        "events/issue_100_transformed_doctests_into_unittests.ics",
        "events/issue_355_url_escaping_empty_param.ics",
        "events/issue_64_event_with_ascii_summary.ics",
        "events/issue_64_event_with_non_ascii_summary.ics",
        "events/issue_82_expected_output.ics",
        "events/rfc_7265_request_status.ics",
        "events/rfc_9074_example_proximity.ics",
        "parser/component.ics",
        "parser/component.json",
        "test_files/simple_test.ics",
    },
    "two different starts": {
        "calendars/america_new_york_forward_reference.ics",
        "calendars/pacific_fiji.ics",
    },
    "an RDATE that is neither date, time nor period": {
        "calendars/issue_1633_rdate_with_dates.ics",
        "calendars/issue_1633_rdate_with_dates_and_tzid.ics",
        "calendars/multiple_timezones.ics",
    },
    "a line that is no property: it has no colon, or a blank line or a backslash cuts it": {
        "calendars/issue_168_input.ics",
        "calendars/issue_351_whitespace_in_property_and_params.ics",
        "calendars/multiple_calendar_components.ics",
        "calendars/timezone_rdate.ics",
        "events/event_with_escaped_character3.ics",
        "events/event_with_escaped_characters.ics",
        "events/issue_104_mark_events_broken.ics",
    },
    "a component of no standard is wrapped around the event, which is restored": {
        "calendars/issue_178_custom_component_contains_other.ics",
    },
    "a property after the calendar: it is nobody's, the event is restored": {
        "calendars/issue_350.ics",
    },
    "a zone that no table knows and the file does not define": {
        "calendars/issue_526_calendar_with_different_events.ics",
        "calendars/issue_526_calendar_with_event_subset.ics",
        "calendars/issue_526_calendar_with_events.ics",
        "calendars/issue_526_calendar_with_shuffeled_events.ics",
        "calendars/issue_722_missing_VTIMEZONE_custom.ics",
        "ics/event_dt_local_missing_tz.ics",
        "ics/event_dtr_no_tz_exdatez.ics",
        "ics/event_dtr_notz_untilz.ics",
    },
    "its last line is END:VCALENDARD; the event is restored": {
        "calendars/timezone_same_start_and_offset.ics",
    },
}
"""Files that are labelled valid and hold what cannot be restored as it is, by the reason."""

NOT_BROKEN = {
    "errors/28.ics": "only its VTIMEZONE is missing, and every client knows the zone",
    "errors/39.ics": "only a server's limit of attendees makes it malformed",
    "calendars/parsing_error_in_UTC_offset.ics": "a broken VTIMEZONE of a known name, no event",
}
"""Files that are labelled malformed and need no repair, each with the reason."""


def short(path):
    return "/".join(PurePosixPath(path).parts[-2:])


def read(data):
    file = File(name="calendar.ics", size=len(data), read=lambda: data)
    return list(KIND.read(Folder(owner=OWNER, files=(file,)), RULES))


def taken(found):
    return [each for each in found if isinstance(each, Copy)]


def damage(found):
    return [each for each in found if isinstance(each, Damaged)]


FILES = corpus_files("calendar")


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
def test_valid_files_are_restored_and_malformed_ones_repaired_or_quarantined(path, label):
    found = read(corpus_bytes(path, label))
    excused = {name for names in NOT_WHOLE.values() for name in names}
    match label.removeprefix("template:"):
        case "valid":
            assert bool(damage(found)) is (short(path) in excused)
        case "malformed":
            clean = not damage(found) and not any(copy.repairs for copy in taken(found))
            assert clean is (short(path) in NOT_BROKEN)
        case _:
            assert found


@pytest.mark.parametrize(("path", "label"), FILES)
def test_what_is_restored_is_recognised_and_needs_nothing_more(path, label):
    for copy in taken(read(corpus_bytes(path, label))):
        live = KIND.recognise(OWNER, copy.item.content)
        assert live is not None
        assert (live.ident, live.digest) == (copy.item.ident, copy.item.digest)
        again = read(copy.item.content)
        assert damage(again) == []
        (same,) = taken(again)
        assert same.item == copy.item
        assert same.repairs == ()


@pytest.mark.parametrize(("path", "label"), FILES)
def test_another_library_reads_it_and_what_it_writes_means_the_same(path, label):
    for copy in taken(read(corpus_bytes(path, label))):
        if short(path) == "errors/43.ics":
            continue  # icalendar takes the backslash out of a parameter, which says something else
        written = icalendar.Calendar.from_ical(copy.item.content).to_ical()
        live = KIND.recognise(OWNER, written)
        assert live is not None
        assert (live.ident, live.digest) == (copy.item.ident, copy.item.digest)


def test_exceptions_are_files_of_the_corpus():
    names = {short(path) for path, _ in FILES}
    assert {name for group in NOT_WHOLE.values() for name in group} <= names
    assert set(NOT_BROKEN) <= names
