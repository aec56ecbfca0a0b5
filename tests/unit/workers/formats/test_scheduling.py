"""No restored event invites anybody."""

from orchestrator.items import UserId
from workers.categories.calendar import Calendar
from workers.formats.scheduling import without_invitations

EVENT = (
    b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:a\r\n"
    b"DTSTAMP:20230101T000000Z\r\nDTSTART:20230105T100000Z\r\n"
    b'ORGANIZER;CN="A, B":mailto:a@example.org\r\n'
    b"ATTENDEE;SCHEDULE-AGENT=SERVER:mailto:b@example.org\r\n"
    b"SUMMARY:x\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)


def test_everyone_named_is_the_clients_business():
    quiet = without_invitations(EVENT)
    assert quiet.count(b"SCHEDULE-AGENT=CLIENT") == 2
    assert b"SERVER" not in quiet
    assert without_invitations(quiet) == quiet


def test_the_event_still_means_the_same():
    recognise = Calendar().recognise
    loud = recognise(UserId("a"), EVENT)
    assert loud is not None
    assert recognise(UserId("a"), without_invitations(EVENT)) == loud


def test_an_event_without_people_is_left_alone():
    alone = EVENT.replace(b"ORGANIZER", b"X-O").replace(b"ATTENDEE", b"X-A")
    assert without_invitations(alone) is alone
