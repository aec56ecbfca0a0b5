"""The dav target against a server that misbehaves: nothing is lost, doubled, or told wrongly."""

import contextlib
import gzip
import random
import resource as limits
import socket
import struct
import time
import tracemalloc
from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from orchestrator.audit import audit
from orchestrator.books import imbalances
from orchestrator.errors import Unavailable
from orchestrator.items import UserId
from orchestrator.lifecycle import RunState
from orchestrator.ports import Fate, Place, Removal, Surroundings, Write
from tests.conformance.target_example import create
from tests.faults.evil_dav import Done, EvilServer, multistatus, resource, response
from tests.in_process import Service
from workers.categories import contacts
from workers.targets.dav import Dav

ANNA, BERT = UserId("anna"), UserId("bert")
HTML = b"<!DOCTYPE html><html><body>Please log in</body></html>"


@pytest.fixture
def server():
    evil = EvilServer()
    yield evil
    evil.stop()


@pytest.fixture
def opened(server, tmp_path):
    """Opens the target with options; closed when the test ends."""
    with contextlib.ExitStack() as stack:

        def open_one(**options):
            given = {"url": server.url, "username": "{user}", "timeout": timedelta(seconds=5)}
            given |= options
            surroundings = Surroundings(
                folder=tmp_path,
                secret=lambda text: text.removeprefix("env:"),
                clock=lambda: datetime.now(UTC),
            )
            kind = Dav(**{name: value for name, value in given.items() if value is not None})
            target = kind.open(surroundings)
            stack.callback(target.close)
            return target

        yield open_one


@pytest.fixture
def target(opened):
    return opened()


def card(name):
    text = f"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{name}\r\nFN:{name}\r\nN:{name};;;;\r\nEND:VCARD\r\n"
    return text.encode()


def written(target, *names, owner=ANNA):
    """A write of a real card for each name."""
    writes = []
    for name in names:
        write = create(target, owner, name, card(name))
        seen = contacts.KIND().recognise(owner, card(name))
        item = msgspec.structs.replace(write.item, digest=seen.digest)
        writes.append(msgspec.structs.replace(write, item=item))
    return writes


def fates(target, writes):
    return [answer.fate for answer in target.write("contacts", writes)]


def names(server, owner=ANNA):
    return sorted(
        path.rpartition("/")[2].removesuffix(".vcf")
        for path in server.held
        if path.startswith(f"/{owner}/")
    )


def on(method, answer, *, times=1_000_000, path=""):
    """Misbehave so often on requests of that method and path."""
    left = [times]

    def disturb(request):
        if request.method == method and path in request.path and left[0]:
            left[0] -= 1
            return answer
        return None

    return disturb


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def silent(connection):
    connection.settimeout(3)
    with contextlib.suppress(OSError):
        connection.recv(1)


# Overload and outage ---------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["0", "1"])
def test_a_short_wait_is_waited_out(server, target, said):
    server.disturb = on("PUT", response(429, Retry_After=said), times=1)
    assert fates(target, written(target, "a", "b")) == [Fate.DONE] * 2
    assert names(server) == ["a", "b"]


@pytest.mark.guarantee(12)
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("said", "least", "most"),
    [
        ("120", 120, 120),
        ("Fri, 31 Dec 2088 23:59:59 GMT", 86_400, 86_400),
        ("99999999999999999999", 86_400, 86_400),
    ],
)
def test_a_long_wait_is_the_batch_s(server, target, status, said, least, most):
    server.disturb = on("PUT", response(status, Retry_After=said))
    with pytest.raises(Unavailable) as error:
        target.write("contacts", written(target, "a"))
    assert least <= error.value.retry_in <= most
    assert error.value.hint
    assert not error.value.owners


@pytest.mark.parametrize("said", ["-5", "soon", "", "1e9", "Fri, 99 Zzz 2009", "٣"])
def test_a_wait_that_means_nothing_is_none(server, target, said):
    server.disturb = on("PUT", response(503, Retry_After=said.encode().decode("latin-1")))
    with pytest.raises(Unavailable) as error:
        target.write("contacts", written(target, "a"))
    assert error.value.retry_in is None


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_server_that_is_away_is_told_whatever_is_asked(server, target, status):
    writes = written(target, "a")
    fates(target, writes)
    for method in ("PUT", "PROPFIND", "REPORT"):
        server.disturb = on(method, response(status))
        calls = {
            "PUT": lambda: target.write("contacts", written(target, "b")),
            "PROPFIND": lambda: list(target.survey("contacts", [ANNA])),
            "REPORT": lambda: target.fetch("contacts", [Place(owner=ANNA, ref="a.vcf")]),
        }
        with pytest.raises(Unavailable) as error:
            calls[method]()
        assert not error.value.owners


def test_a_burst_of_failures_passes(server, target):
    server.disturb = on("PUT", response(500), times=2)
    assert fates(target, written(target, "a")) == [Fate.DONE]
    server.disturb = on("PUT", Done(response(500)), times=1)
    assert fates(target, written(target, "b")) == [Fate.UNKNOWN]  # it is there: look
    assert names(server) == ["a", "b"]


@pytest.mark.guarantee(16)
def test_an_item_that_breaks_the_server_is_refused_alone(server, target):
    server.disturb = on("PUT", response(500), path="/bad.vcf")
    assert fates(target, written(target, "a", "bad", "b")) == [Fate.DONE, Fate.REFUSED, Fate.DONE]
    assert names(server) == ["a", "b"]


def test_a_server_that_fails_on_everything_is_away(server, target):
    server.disturb = lambda _request: response(500)
    with pytest.raises(Unavailable):
        list(target.survey("contacts", [ANNA, BERT]))


# Lost answers ----------------------------------------------------------------------------------


@pytest.mark.guarantee(3)
@pytest.mark.parametrize("applied", [True, False])
def test_after_a_reset_it_is_there_once_and_never_told_otherwise(server, target, applied):
    server.disturb = on("PUT", Done(reset) if applied else reset, times=1)
    [fate] = fates(target, written(target, "a"))
    assert fate is (Fate.UNKNOWN if applied else Fate.DONE)
    assert names(server) == ["a"]


@pytest.mark.guarantee(3)
@pytest.mark.parametrize("applied", [True, False])
def test_a_timeout_leaves_it_unknown(server, opened, applied):
    target = opened(timeout=timedelta(milliseconds=300))
    server.disturb = on("PUT", Done(silent) if applied else silent, times=1)
    assert fates(target, written(target, "a", "b")) == [Fate.UNKNOWN] * 2
    assert names(server) == (["a"] if applied else [])


def test_a_server_that_answers_nobody_is_away(server, opened):
    target = opened(timeout=timedelta(milliseconds=300))
    server.disturb = on("PUT", silent)
    owners = [UserId(f"user{n}") for n in range(20)]
    began = time.monotonic()
    with pytest.raises(Unavailable):
        target.write("contacts", [w for o in owners for w in written(target, "a", owner=o)])
    assert time.monotonic() - began < 3


def test_a_write_that_does_not_last_is_not_there_when_read_back(server, target):
    server.disturb = on("PUT", response(201, ETag='"1"'))
    [write] = written(target, "a")
    assert fates(target, [write]) == [Fate.DONE]
    assert target.fetch("contacts", [Place(owner=ANNA, ref=write.ref)]) == [None]


# Answers that are none -------------------------------------------------------------------------


def slowly(data, pause):
    def answer(connection):
        with contextlib.suppress(OSError):
            for byte in data:
                connection.sendall(bytes((byte,)))
                time.sleep(pause)

    return answer


@pytest.mark.guarantee(16)
@pytest.mark.parametrize(
    "data",
    [response(207, b"x" * 1_000), b"HTTP/1.1 207 Said\r\nX: " + b"y" * 1_000],
    ids=["body", "headers"],
)
def test_a_slow_loris_is_cut_off_at_the_deadline(server, opened, data):
    target = opened(timeout=timedelta(milliseconds=400))
    server.disturb = on("PROPFIND", slowly(data, 0.05))
    began = time.monotonic()
    with pytest.raises(Unavailable):
        list(target.survey("contacts", [ANNA]))
    assert time.monotonic() - began < 3


@pytest.mark.guarantee(16)
@pytest.mark.parametrize("method", ["PROPFIND", "REPORT", "PUT"])
def test_a_bomb_is_stopped_at_the_limit(server, opened, method):
    target = opened(answer_bytes=1024 * 1024)
    fates(target, written(target, "a"))
    bomb = gzip.compress(bytes(200 * 1024 * 1024), 1)
    server.disturb = on(method, response(207, bomb, Content_Encoding="gzip"))
    tracemalloc.start()
    before = limits.getrusage(limits.RUSAGE_SELF).ru_maxrss
    try:
        if method == "PUT":
            assert fates(target, written(target, "b")) == [Fate.UNKNOWN]
        elif method == "REPORT":  # read one by one in its place
            [live] = target.fetch("contacts", [Place(owner=ANNA, ref="a.vcf")])
            assert live.content == card("a")
        else:
            with pytest.raises(Unavailable):
                list(target.survey("contacts", [ANNA]))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * 1024 * 1024
    assert limits.getrusage(limits.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip"])
def test_a_coding_that_nobody_asked_for_is_not_guessed(server, target, coding):
    server.disturb = on("PROPFIND", response(207, b"x", Content_Encoding=coding))
    with pytest.raises(Unavailable):
        list(target.survey("contacts", [ANNA]))


TRUNCATED = b"HTTP/1.1 207 Said\r\nContent-Length: 5000\r\n\r\n<multistatus"


def cut(connection):
    connection.sendall(TRUNCATED)
    connection.close()


@pytest.mark.parametrize("method", ["PROPFIND", "REPORT"])
def test_a_cut_answer_is_asked_for_again_and_never_taken_for_whole(server, target, method):
    fates(target, written(target, "a"))
    for times in (1, 1_000):
        server.disturb = on(method, cut, times=times)
        with pytest.raises(Unavailable) if times > 1 else contextlib.nullcontext():
            [entry] = target.survey("contacts", [ANNA])
            [live] = target.fetch("contacts", [Place(owner=ANNA, ref=entry.ref)])
            assert live.content == card("a")


WRONG = {
    "page": response(200, HTML, Content_Type="text/html"),
    "page that says 207": response(207, HTML, Content_Type="text/html"),
    "nothing": response(207),
    "half": response(207, b'<?xml version="1.0"?><multistatus xmlns="DAV:"><response><href>/'),
    "json": response(207, b'{"a": 1}'),
    "other xml": response(207, b"<feed/>"),
    "entities": response(
        207,
        b'<!DOCTYPE m [<!ENTITY a "x"><!ENTITY b "&a;&a;&a;">]>'
        b'<multistatus xmlns="DAV:"><response><href>&b;</href></response></multistatus>',
    ),
    "file": response(
        207,
        b'<!DOCTYPE m [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
        b'<multistatus xmlns="DAV:"><response><href>&a;</href></response></multistatus>',
    ),
}


@pytest.mark.guarantee(13)
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_what_is_no_multistatus_is_never_an_empty_address_book(server, target, wrong):
    fates(target, written(target, "a"))
    server.disturb = on("PROPFIND", wrong)
    with pytest.raises(Unavailable) as error:
        list(target.survey("contacts", [ANNA]))
    assert error.value.hint


@pytest.mark.guarantee(13)
def test_a_page_in_answer_to_a_write_proves_nothing(server, target):
    fates(target, written(target, "a"))
    server.disturb = on("PUT", response(200, HTML, Content_Type="text/html"))
    assert fates(target, written(target, "b")) == [Fate.UNKNOWN]
    server.disturb = lambda request: (
        response(200, HTML, Content_Type="text/html")
        if request.method in {"REPORT", "GET"}
        else None
    )
    with pytest.raises(Unavailable):
        target.fetch("contacts", [Place(owner=ANNA, ref="a.vcf")])


def test_members_that_failed_are_asked_for_by_themselves(server, target):
    fates(target, written(target, "a", "b", "c"))
    places = [Place(owner=ANNA, ref=f"{name}.vcf") for name in "abcd"]

    def some_fail(request):
        if request.method != "REPORT":
            return None
        told = [resource("/anna/contacts/a.vcf", status=500)]  # b is not mentioned at all
        told.append(resource("/anna/contacts/c.vcf", "<getetag>x</getetag>"))  # without its data
        return multistatus(*told)

    server.disturb = some_fail
    found = target.fetch("contacts", places)
    assert [live and live.content for live in found] == [card("a"), card("b"), card("c"), None]


def test_a_member_that_cannot_be_read_is_its_user_s_trouble(server, target):
    for owner in (ANNA, BERT):
        fates(target, written(target, "a", owner=owner))
    server.disturb = lambda request: (
        response(500) if request.method in {"REPORT", "GET"} and "anna" in request.path else None
    )
    with pytest.raises(Unavailable) as error:
        target.fetch("contacts", [Place(owner=o, ref="a.vcf") for o in (ANNA, BERT)])
    assert error.value.owners == {ANNA}


@pytest.mark.guarantee(1)
def test_members_of_other_places_are_not_this_user_s(server, target):
    fates(target, written(target, "a"))
    kinds = "<resourcetype><collection/><A:addressbook/></resourcetype>"
    tag = '<getetag>"1"</getetag>'
    lies = [
        "/bert/contacts/x.vcf",
        "/anna/contacts/../../bert/contacts/x.vcf",
        "/anna/contacts/..%2F..%2Fbert%2Fcontacts%2Fx.vcf",
        "/anna/contacts/%2e%2e",
        "/anna/contacts/sub/x.vcf",
        "http://evil.example/anna/contacts/../x.vcf",
        "/anna/contacts/nul%00.vcf",
    ]
    server.disturb = on(
        "PROPFIND",
        multistatus(resource("/anna/contacts/", kinds), *(resource(path, tag) for path in lies)),
        path="/contacts/",
    )
    assert [entry.ref for entry in target.survey("contacts", [ANNA])] == []


# Elsewhere -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_nobody_is_followed_to_another_host(server, target, status):
    other = EvilServer()
    try:
        for method in ("PROPFIND", "MKCOL", "PUT"):
            server.disturb = on(method, response(status, Location=other.url + "x"))
            with pytest.raises(Unavailable) as error:
                target.write("contacts", written(target, "a"))
            assert error.value.hint
        assert other.requests == []
    finally:
        other.stop()


def test_homes_on_another_host_are_not_visited(server, opened):
    server.disturb = on(
        "PROPFIND",
        multistatus(
            resource(
                "/anna/",
                "<A:addressbook-home-set><href>https://other.example/a/</href>"
                "</A:addressbook-home-set>",
            )
        ),
        path="/anna/",
    )
    with pytest.raises(Unavailable, match="another host"):
        list(opened().survey("contacts", [ANNA]))


def test_a_well_known_address_leads_to_the_principal(server, opened):
    def hidden(request):
        if request.path == "/":
            return response(405)
        if request.path == "/.well-known/carddav":
            return response(301, Location="/dav/")
        if request.path == "/dav/" and request.method == "GET":
            return response(200)
        if request.path == "/dav/":
            told = "<current-user-principal><href>/anna/</href></current-user-principal>"
            return multistatus(resource("/dav/", told))
        return None

    server.disturb = hidden
    target = opened()
    assert fates(target, written(target, "a")) == [Fate.DONE]
    assert names(server) == ["a"]


def test_redirects_in_a_circle_end(server, target):
    server.disturb = lambda request: (
        response(301, Location="/.well-known/carddav")
        if request.path.startswith("/.well-known")
        else response(404)
    )
    with pytest.raises(Unavailable):
        list(target.survey("contacts", [ANNA]))
    assert len(server.requests) < 20


# Whose trouble it is ---------------------------------------------------------------------------


def test_credentials_that_are_refused_in_the_middle_stop_everybody(server, opened):
    target = opened(username="admin", user_url="/{user}/", password="env:secret")
    fates(target, written(target, "a"))
    server.disturb = on("PUT", response(401))
    with pytest.raises(Unavailable) as error:
        target.write("contacts", [*written(target, "b"), *written(target, "b", owner=BERT)])
    assert "password" in error.value.hint
    assert "secret" not in f"{error.value} {error.value.hint}"
    assert not error.value.owners


def test_one_user_s_refused_password_stops_nobody_else(server, opened, tmp_path):
    (tmp_path / "accounts").write_text("anna\told\nbert\tgood\n")
    target = opened(username=None, accounts="accounts")
    server.disturb = lambda request: response(401) if request.user == "anna" else None
    writes = [*written(target, "a"), *written(target, "a", owner=BERT)]
    assert fates(target, writes) == [Fate.UNKNOWN, Fate.DONE]
    with pytest.raises(Unavailable) as error:
        list(target.survey("contacts", [ANNA, BERT, UserId("nobody")]))
    assert error.value.owners == {ANNA, "nobody"}
    assert ANNA not in f"{error.value} {error.value.hint}"


def test_everybody_logs_in_with_their_own_password(server, opened, tmp_path):
    (tmp_path / "accounts").write_text("anna\tpass:word\nbert\tzoë  \n", encoding="utf-8")
    target = opened(username=None, accounts="accounts")
    fates(target, [*written(target, "a"), *written(target, "a", owner=BERT)])
    logins = {(r.user, r.headers["authorization"]) for r in server.requests}
    assert len(logins) == 2
    assert names(server) == names(server, BERT) == ["a"]


def test_a_token_enters_the_places_that_user_url_names(server, opened):
    target = opened(username=None, token="env:abc", user_url="principals/{user}/")
    server.disturb = lambda request: (
        None if request.headers.get("authorization") == "Bearer abc" else response(401)
    )
    owner = UserId("zoë@example.org")
    assert fates(target, written(target, "a", owner=owner)) == [Fate.DONE]
    assert list(server.held) == ["/principals/zoë@example.org/contacts/a.vcf"]


def test_a_user_url_on_another_host_is_refused(server, opened):
    target = opened(user_url="https://other.example/{user}/")
    with pytest.raises(Unavailable, match="not on the server"):
        list(target.survey("contacts", [ANNA]))
    assert server.requests == []


@pytest.mark.parametrize("status", [403, 405])
def test_a_place_that_may_not_be_written_is_its_user_s_trouble(server, target, status):
    server.disturb = on("PUT", response(status), path="/anna/")
    writes = [*written(target, "a", "b"), *written(target, "a", owner=BERT)]
    assert fates(target, writes) == [Fate.UNKNOWN, Fate.UNKNOWN, Fate.DONE]
    assert sum(request.method == "PUT" for request in server.requests) == 2


FULL = response(
    507, b'<error xmlns="DAV:"><quota-not-exceeded/></error>', Content_Type="application/xml"
)
DISK = response(
    507, b'<error xmlns="DAV:"><sufficient-disk-space/></error>', Content_Type="application/xml"
)


@pytest.mark.guarantee(12)
def test_one_user_s_quota_stops_nobody_else(server, target):
    server.disturb = on("PUT", FULL, path="/anna/")
    writes = [*written(target, "a", "b"), *written(target, "a", owner=BERT)]
    answers = target.write("contacts", writes)
    assert [answer.fate for answer in answers] == [Fate.UNKNOWN, Fate.UNKNOWN, Fate.DONE]
    assert "507" in answers[0].detail


@pytest.mark.parametrize(("answer", "owners"), [(DISK, [ANNA]), (response(507), [ANNA, BERT])])
def test_a_full_disk_stops_everybody_for_a_while(server, target, answer, owners):
    server.disturb = on("PUT", answer)
    with pytest.raises(Unavailable) as error:
        target.write("contacts", [w for o in owners for w in written(target, "a", owner=o)])
    assert error.value.retry_in
    assert not error.value.owners


@pytest.mark.guarantee(1)
def test_two_users_are_never_led_to_one_account(server, target):
    server.disturb = on(
        "PROPFIND",
        multistatus(
            resource("/", "<current-user-principal><href>/one/</href></current-user-principal>")
        ),
        path="/",
        times=1_000,
    )
    original = server.disturb
    server.disturb = lambda request: original(request) if request.path == "/" else None
    writes = [*written(target, "a"), *written(target, "b", owner=BERT)]
    assert sorted(fates(target, writes)) == [Fate.DONE, Fate.UNKNOWN]
    assert len(server.held) == 1


@pytest.mark.guarantee(1)
def test_no_name_leads_out_of_the_user_s_place(server, target):
    server.collections |= {"/bert/contacts/", "/anna/contacts/"}
    server.held["/bert/contacts/a.vcf"] = ('"1"', card("a"))
    [write] = written(target, "a")
    for ref in ("../../bert/contacts/a.vcf", "..", ".", "", "a/b", "..\\..\\bert", "x\0", "x\n"):
        hostile = Write(owner=ANNA, item=write.item, ref=ref)
        assert fates(target, [hostile]) == [Fate.REFUSED]
        assert target.fetch("contacts", [Place(owner=ANNA, ref=ref)]) == [None]
        removal = Removal(owner=ANNA, ref=ref, expected='"1"')
        assert [a.fate for a in target.remove("contacts", [removal])] == [Fate.CONFLICT]
    assert list(server.held) == ["/bert/contacts/a.vcf"]


# The item's own fault --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (403, "max-resource-size"),
        (403, "valid-address-data"),
        (412, "supported-address-data"),
        (400, ""),
        (413, ""),
        (415, ""),
        (422, ""),
    ],
)
def test_what_the_server_does_not_take_is_refused_alone(server, target, status, name):
    space = "urn:ietf:params:xml:ns:carddav"
    body = f'<error xmlns="DAV:"><x:{name} xmlns:x="{space}"/></error>'.encode() if name else b""
    server.disturb = on("PUT", response(status, body), path="/bad.vcf")
    answers = target.write("contacts", written(target, "a", "bad", "b"))
    assert [answer.fate for answer in answers] == [Fate.DONE, Fate.REFUSED, Fate.DONE]
    assert str(status) in answers[1].detail
    assert name in answers[1].detail


def test_a_refusal_by_412_is_told_from_a_conflict(server, target):
    server.disturb = on("PUT", response(412), path="/bad.vcf")
    assert fates(target, written(target, "bad")) == [Fate.REFUSED]
    fates(target, written(target, "a"))
    assert fates(target, written(target, "a")) == [Fate.CONFLICT]


def test_a_uid_that_is_there_under_another_name_is_a_conflict(server, target):
    body = (
        b'<error xmlns="DAV:"><x:no-uid-conflict xmlns:x="urn:ietf:params:xml:ns:carddav"/></error>'
    )
    server.disturb = on("PUT", response(409, body))
    assert fates(target, written(target, "a")) == [Fate.CONFLICT]


def test_a_collection_that_vanished_is_made_again(server, target):
    assert fates(target, written(target, "a")) == [Fate.DONE]
    server.collections.clear()
    server.held.clear()
    assert fates(target, written(target, "b")) == [Fate.DONE]
    assert names(server) == ["b"]


# Inspection ------------------------------------------------------------------------------------


def test_the_probe_tells_a_server_that_ignores_conditions(server, target):
    def careless(request):
        if request.method in {"PUT", "DELETE"}:
            request.headers.pop("if-none-match", None)
            request.headers.pop("if-match", None)

    server.disturb = careless
    found = target.inspect(["contacts"])
    assert not found.create_only
    assert not found.compare_and_set
    assert not server.held
    assert not server.collections


@pytest.mark.parametrize("status", [403, 405, 501])
def test_where_no_collection_can_be_made_the_probe_uses_the_one_that_is_there(
    server, target, status
):
    server.disturb = on("MKCOL", response(status))
    with pytest.raises(Unavailable, match="cannot be made") as error:
        target.inspect(["contacts"])
    assert "probe_user" in error.value.hint
    server.collections.add("/reinstate-probe/contacts/")
    server.held["/reinstate-probe/contacts/kept.vcf"] = ('"k"', card("kept"))
    found = target.inspect(["contacts"])
    assert found.create_only
    assert found.compare_and_set
    assert list(server.held) == ["/reinstate-probe/contacts/kept.vcf"]


def test_a_server_that_keeps_nothing_does_not_pass_inspection(server, target):
    server.disturb = on("PUT", response(201, ETag='"1"'))
    with pytest.raises(Unavailable, match="not there"):
        target.inspect(["contacts"])


# Whole runs ------------------------------------------------------------------------------------

PLAN = """
version: 1
name: evil
incident: {{as_of: 2009-10-01T00:00:00Z}}
sources:
  core: {{kind: vdir, path: material}}
targets:
  pim: {{kind: dav, url: "{url}", username: "{{user}}", timeout: 500ms}}
waves: [{{name: everyone}}]
defaults: {{attempts: 12, backoff: 1s..5s, gate: {{failed: 100%}}, on_conflict: newest}}
phases:
  - {{restore: contacts, to: pim}}
approvals: 0
"""


class Weather:
    """Troubles one request in four, in every way, by a seed; `over` ends it."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.over = False
        self.met = Counter()

    def __call__(self, request):
        if self.over or self.chance.random() > 0.25 or "probe" in request.path:
            return None
        name, answer = self.chance.choice(
            [
                ("reset", reset),
                ("reset, applied", Done(reset)),
                ("429", response(429, Retry_After="0")),
                ("500", response(500)),
                ("500, applied", Done(response(500))),
                ("503", response(503)),
                ("cut", cut),
                ("page", response(200, HTML, Content_Type="text/html")),
                ("silence", silent),
                ("silence, applied", Done(silent)),
            ]
        )
        self.met[name] += 1
        return answer


@pytest.mark.long
@pytest.mark.guarantee(2)
@pytest.mark.guarantee(3)
@pytest.mark.guarantee(11)
@pytest.mark.parametrize("seed", [3, 7])
def test_a_run_through_bad_weather_loses_and_doubles_nothing(server, tmp_path, seed):
    users = ["anna", "bert", "cleo"]
    for user in users:
        for number in range(8):
            path = tmp_path / "material" / user / "contacts" / f"{number}.vcf"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(card(f"{user}-{number}"))
    server.disturb = weather = Weather(seed)
    service = Service(tmp_path)
    try:
        run = service.run(PLAN.format(url=server.url))
        weather.over = True
        if service.status(run).books.pending:
            service.retry(run, "state:failed")
            service.go_on()
        assert service.ended(run) is RunState.FINISHED
        assert audit(service.ledger, run) == []
        books = service.status(run).books
        assert imbalances(books, settled=True) == []
        assert sum(weather.met.values()) >= 5
        assert books.items == 24
        assert books.restored + books.present + books.quarantined == 24
        for user in users:
            held = names(server, UserId(user))
            assert len(set(held)) == len(held)
            assert set(held) <= {f"{user}-{number}" for number in range(8)}
        there = sum(len(names(server, UserId(user))) for user in users)
        assert there >= books.restored + books.present
    finally:
        service.work.close()
