"""The `http` target on services that answer late, twice, wrongly or not at all."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.errors import Unavailable
from orchestrator.items import Attachment
from orchestrator.ports import Fate, Place, Surroundings
from tests.conformance.target_example import create, removal, replace
from tests.importer_server import TOKEN, ImporterServer, source
from workers.targets.http import Http

ANNA = "anna"


class Evil:
    """The example server, and what befalls the answers of its calls."""

    def __init__(self):
        self.server = ImporterServer()
        self.server.stop()
        self.asked = []
        self.befalls = lambda _handler: None
        """Given the handler of a call: None, or what to answer in place of it."""
        evil = self

        class Handler(self.server.handler()):
            def respond(self):
                evil.asked.append((self.command, self.path, dict(self.headers)))
                instead = evil.befalls(self)
                if instead is None:
                    super().respond()
                    return
                self.rfile.read(int(self.headers["Content-Length"] or 0))
                status, headers, body = instead
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_PUT = do_DELETE = respond  # noqa: N815 - names of http.server

        self.server.start(Handler)

    def items(self):
        return {key: body for key, (_, _, body) in self.server.module.ITEMS.items() if body}

    def always(self, status, *, method="PUT", body=b"", **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.befalls = lambda call: (status, named, body) if call.command == method else None


@pytest.fixture
def evil():
    found = Evil()
    yield found
    found.server.stop()


@pytest.fixture
def opened(evil, tmp_path, request):
    def open_with(**options):
        surroundings = Surroundings(
            folder=tmp_path,
            secret=lambda text: TOKEN if text.startswith("env:") else text,
            clock=lambda: datetime.now(UTC),
        )
        given = {"url": evil.server.url, "token": "env:T", **options}
        target = Http(**given).open(surroundings)
        request.addfinalizer(target.close)
        return target

    return open_with


@pytest.fixture
def target(opened):
    return opened()


def put(target, content=b"x", ident="a", **more):
    (answer,) = target.write("contacts", [create(target, ANNA, ident, content, **more)])
    return answer


def lost_after_storing(times):
    """The service does what it is asked, and its answer never arrives."""
    left = [times]

    def befalls(handler):
        if handler.command != "PUT" or not left[0]:
            return
        left[0] -= 1
        handler.answered = handler.wfile
        handler.wfile = type("Nowhere", (), {"write": len, "flush": int, "close": int})
        handler.close_connection = True
        return

    return befalls


# Writing ------------------------------------------------------------------------------------------


def test_a_change_whose_answer_was_lost_is_asked_for_again_and_done_once(evil, target):
    evil.befalls = lost_after_storing(1)
    answer = put(target)
    assert answer.fate is Fate.DONE
    keys = [headers["Idempotency-Key"] for method, _, headers in evil.asked if method == "PUT"]
    assert len(keys) == 2
    assert len(set(keys)) == 1
    (entry,) = target.survey("contacts", [ANNA])
    assert entry.version == answer.version


def test_a_change_whose_answers_are_all_lost_is_unknown(evil, target):
    evil.befalls = lost_after_storing(100)
    assert put(target).fate is Fate.UNKNOWN


def test_where_keys_are_not_kept_a_repeated_change_is_unknown_and_not_a_conflict(evil, target):
    evil.server.module.ANSWERS = type("Forgetful", (dict,), {"__contains__": lambda *_: False})()
    evil.befalls = lost_after_storing(1)
    assert put(target).fate is Fate.UNKNOWN
    assert list(evil.items().values()) == [b"x"]


def test_two_writes_never_have_the_same_key(evil, target):
    put(target)
    put(target)
    keys = [headers["Idempotency-Key"] for method, _, headers in evil.asked if method == "PUT"]
    assert len(set(keys)) == 2


@pytest.mark.parametrize("status", [400, 404, 405, 413, 414, 415, 422, 431, 501])
def test_what_the_service_will_never_take_is_refused_with_the_reason(evil, target, status):
    evil.always(status)
    answer = put(target)
    assert answer.fate is Fate.REFUSED
    assert answer.detail


@pytest.mark.parametrize("status", [409, 412])
def test_what_changed_meanwhile_is_a_conflict(evil, target, status):
    evil.always(status)
    assert put(target).fate is Fate.CONFLICT


@pytest.mark.parametrize("status", [500, 418])
def test_an_answer_that_tells_nothing_is_unknown(evil, target, status):
    evil.always(status)
    assert put(target).fate is Fate.UNKNOWN


def test_a_good_answer_without_a_version_is_unknown(evil, target):
    evil.always(200)
    assert put(target).fate is Fate.UNKNOWN


def test_a_page_for_people_is_not_taken_for_an_answer(evil, target):
    evil.always(200, body=b"<html>log in</html>", Content_Type="text/html", ETag='"1"')
    assert put(target).fate is Fate.UNKNOWN


@pytest.mark.parametrize("status", [301, 307, 401, 403, 502, 503, 504, 507])
def test_what_is_no_fault_of_the_item_waits(evil, target, status):
    evil.always(status, Location="http://elsewhere.example")
    with pytest.raises(Unavailable) as away:
        put(target)
    assert away.value.hint
    assert TOKEN not in str(away.value)


def test_the_service_says_how_long_to_wait(evil, target):
    evil.always(429, Retry_After="90")
    with pytest.raises(Unavailable) as away:
        put(target)
    assert away.value.retry_in == 90


def test_one_refused_item_harms_no_other(evil, target):
    evil.befalls = lambda call: (422, {}, b"") if call.path.endswith("/bad") else None
    writes = [create(target, ANNA, ident, b"x") for ident in ("good", "bad", "better")]
    fates = [answer.fate for answer in target.write("contacts", writes)]
    assert fates == [Fate.DONE, Fate.REFUSED, Fate.DONE]


def test_a_call_has_one_deadline(evil, opened):
    evil.befalls = lambda _call: time.sleep(2)
    target = opened(timeout=timedelta(seconds=0.5))
    assert put(target).fate is Fate.UNKNOWN


# Attachments --------------------------------------------------------------------------------------


def test_attachments_go_first_and_only_those_of_the_item_stay(evil, target):
    parts = [Attachment(name="a.json", data=b"{}"), Attachment(name="b.png", data=b"png")]
    assert put(target, attachments=parts).fate is Fate.DONE
    assert [path.count("/") for method, path, _ in evil.asked if method == "PUT"] == [4, 4, 3]
    (entry,) = target.survey("contacts", [ANNA])
    target.write("contacts", [replace(entry, b"y", attachments=parts[1:])])
    (live,) = target.fetch("contacts", [Place(owner=ANNA, ref=entry.ref)])
    assert (live.content, live.attachments) == (b"y", (parts[1],))
    assert len(evil.server.module.BLOBS) == 1


def test_an_item_is_not_written_where_an_attachment_is_refused(evil, target):
    evil.befalls = lambda call: (413, {}, b"") if call.path.count("/") == 4 else None
    answer = put(target, attachments=[Attachment(name="a.json", data=b"{}")])
    assert answer.fate is Fate.REFUSED
    assert evil.items() == {}


def test_an_item_whose_attachments_are_gone_is_no_item(evil, target):
    put(target, attachments=[Attachment(name="a.json", data=b"{}")])
    evil.server.module.BLOBS.clear()
    with pytest.raises(Unavailable):
        target.fetch("contacts", [Place(owner=ANNA, ref="a")])


# Reading ------------------------------------------------------------------------------------------


def test_a_list_comes_in_pages(evil, target):
    evil.server.module.PAGE = 2
    for number in range(5):
        put(target, ident=f"i{number}")
    assert [each.ref for each in target.survey("contacts", [ANNA])] == [f"i{n}" for n in range(5)]
    assert sum(path.count("?after=") for _, path, _ in evil.asked) == 2


@pytest.mark.parametrize(
    "body",
    [
        b"<html>welcome</html>",
        b"{}",
        b'{"items": [{"ref": "a"}]}',
        b'{"items": [{"ref": "a", "etag": "W/\\"1\\""}]}',
        b'{"items": [], "next": "a"}',
    ],
)
def test_what_is_no_list_is_never_taken_for_an_empty_one(evil, target, body):
    evil.always(200, method="GET", body=body)
    with pytest.raises(Unavailable) as away:
        list(target.survey("contacts", [ANNA]))
    assert "url" in away.value.hint


def test_bytes_that_are_not_those_that_were_sent_are_found_out(evil, target):
    put(target, b"whole")
    evil.always(200, method="GET", body=b"who", ETag='"1"', Content_Digest="sha-256=:AAAA:")
    with pytest.raises(Unavailable):
        target.fetch("contacts", [Place(owner=ANNA, ref="a")])


def test_an_answer_longer_than_allowed_is_not_read_to_its_end(opened):
    target = opened(answer_bytes=1000)
    put(target, b"x" * 5000)
    with pytest.raises(Unavailable):
        target.fetch("contacts", [Place(owner=ANNA, ref="a")])


# Inspection ---------------------------------------------------------------------------------------


def patched(evil, old, new):
    """The example server with one line of it changed."""
    assert old in source()
    exec(source().replace(old, new), evil.server.module.__dict__)
    evil.server.stop()
    evil.server.start()


def test_a_service_that_overwrites_is_found_out(evil, target):
    patched(
        evil, '["etag"] != self.headers["If-Match"]:\n            return 412', "is None: return 412"
    )
    found = target.inspect(["contacts"])
    assert (found.create_only, found.compare_and_set) == (False, False)


def test_a_service_without_tombstones_is_found_out(evil, target):
    patched(evil, "if forget and ITEMS.pop(where)", "if ITEMS.pop(where)")
    found = target.inspect(["contacts"])
    assert (found.create_only, found.compare_and_set, found.tombstones) == (True, True, False)


def test_a_wrong_token_is_named(opened):
    with pytest.raises(Unavailable) as away:
        opened(token="file:/other").inspect(["contacts"])
    assert "token" in away.value.hint


def test_a_service_that_does_not_say_who_it_is_is_known_by_its_address(evil, target):
    evil.befalls = lambda call: (404, {}, b"") if call.path == "/" else None
    found = target.inspect(["contacts"])
    assert target.identity("contacts") == f"http:{evil.server.url} contacts"
    assert any("anew" in note for note in found.notes)


def test_a_removal_that_the_service_does_not_offer_is_refused(evil, target):
    put(target)
    evil.always(405, method="DELETE")
    (entry,) = target.survey("contacts", [ANNA])
    (answer,) = target.remove("contacts", [removal(entry)])
    assert answer.fate is Fate.REFUSED


def test_the_example_on_the_page_is_about_sixty_lines():
    assert len([line for line in source().splitlines() if line.strip()]) <= 71
