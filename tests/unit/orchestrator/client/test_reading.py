"""What answers mean: pages, events, refusals, and which server is asked with which token."""

import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api.cursors import cursor, place_of
from orchestrator.api.problems import Declined
from orchestrator.client.event_stream import events_of
from orchestrator.client.listing import Rows
from orchestrator.client.refusals import Changed, error_of
from orchestrator.client.there import server_of
from orchestrator.errors import NotFound, PlanInvalid, Refused, ReinstateError, Unavailable
from orchestrator.sealing import Sealer

# Lists --------------------------------------------------------------------------------------------


class Pages:
    """A list of numbers whose cursors are positions."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.asked: list[int] = []

    def __call__(self, size: int, cursor: str | None):
        self.asked.append(size)
        start = int(cursor or 0)
        end = min(start + size, self.total)
        rows = [{"number": number} for number in range(start, end)]
        return {"rows": rows, "next": str(end) if end < self.total else None}


@given(total=st.integers(0, 900), most=st.integers(0, 900), after=st.integers(0, 900))
def test_rows_come_once_in_order_and_say_where_they_go_on(total, most, after):
    after = min(after, total)
    rows = Rows(Pages(total), most=most, after=str(after) if after else None)
    found = [row["number"] for row in rows]
    end = min(after + most, total) if most else total
    assert found == list(range(after, end))
    assert rows.next == (str(end) if end < total else None)


def test_no_more_is_asked_for_than_is_wanted():
    pages = Pages(1000)
    assert len(list(Rows(pages, most=7))) == 7
    assert pages.asked == [7]


@given(place=st.lists(st.integers(0, 10**6), max_size=3), which=st.text(max_size=5))
def test_a_cursor_can_be_a_word_of_a_command_line(place, which):
    sealer = Sealer(bytes(range(32)))
    text = cursor(sealer, which, place)
    assert text[0].isalpha()
    assert place_of(sealer, which, text) == place
    for forged in (text[1:], f"-{text}", f"{text}A", ""):
        with pytest.raises(Declined):
            place_of(sealer, which, forged)


# Events -------------------------------------------------------------------------------------------


def test_events_are_read_whatever_stands_between_them():
    lines = (
        b"retry: 2000\n\nid: 7.ab\nevent: run\ndata: {\ndata: }\n\n:\n\nevent: action\nid: 8.\r\n"
    )
    lines += b"data:x\n\nevent: cut off\ndata: nothing"
    events = list(events_of(lines.split(b"\n")))
    assert [(event.name, event.number, event.data) for event in events] == [
        ("run", "7.ab", b"{\n}"),
        ("", "", b""),
        ("action", "8.", b"x"),
    ]


@given(st.binary(max_size=300))
def test_any_bytes_are_read_as_events(data):
    for event in events_of(data.split(b"\n")):
        assert isinstance(event.data, bytes)


# Refusals -----------------------------------------------------------------------------------------


def said(status: int, code: str = "refused", headers=(), **more) -> httpx.Response:
    detail = {"type": "t", "title": "t", "status": status, "code": code, "detail": "no", **more}
    named = {"content-type": "application/problem+json", **dict(headers)}
    return httpx.Response(status, headers=named, content=json.dumps(detail))


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (said(400, "cursor"), PlanInvalid),
        (said(401, "unknown-caller"), Refused),
        (said(403, "forbidden"), Refused),
        (said(404, "not-found"), NotFound),
        (said(409), Refused),
        (said(409, "under-way", {"retry-after": "1"}), Unavailable),
        (said(412, "changed"), Changed),
        (said(413, "too-large"), PlanInvalid),
        (said(422, "invalid"), PlanInvalid),
        (said(500, "unforeseen"), ReinstateError),
        (said(503, "unavailable"), Unavailable),
        (httpx.Response(502, html="<h1>Bad gateway"), Unavailable),
        (httpx.Response(302, headers={"location": "https://elsewhere"}), Unavailable),
        (httpx.Response(404, html="<h1>Not found"), Unavailable),
        (said(404) and httpx.Response(404, text="{"), Unavailable),
    ],
)
def test_what_a_server_refuses_is_the_error_that_a_command_knows(response, kind):
    assert type(error_of(response, where="https://x")) is kind


def test_an_error_keeps_its_hint_its_problems_and_when_to_ask_again():
    problem = {"code": "c", "message": "wrong", "line": 3, "column": 5, "hint": "mend it"}
    error = error_of(said(422, "invalid", hint="look", problems=[problem]), where="x")
    assert (error.message, error.hint) == ("no", "look")
    assert (error.problems[0].line, error.problems[0].hint) == (3, "mend it")
    assert error_of(said(503, "unavailable", {"retry-after": "7"}), where="x").retry_in == 7
    place = {"code": "c", "message": "too short", "line": 1, "column": 1, "path": "body.reason"}
    assert (
        "reason: too short" in error_of(said(422, "malformed", problems=[place]), where="x").message
    )


# Which server -------------------------------------------------------------------------------------


def test_a_server_is_named_by_an_option_or_a_variable_and_the_option_counts(tmp_path):
    (tmp_path / "token").write_text("rst_file\n")
    env = {"REINSTATE_SERVER": "https://a.example/", "REINSTATE_TOKEN": "rst_env"}
    assert server_of(None, None, {}) is None
    assert server_of(None, None, env).address == "https://a.example"
    assert server_of(None, None, env).token == "rst_env"
    assert server_of("http://b.example/under", None, env).address == "http://b.example/under"
    assert server_of(None, str(tmp_path / "token"), env).token == "rst_file"
    file = {"REINSTATE_SERVER": "https://a", "REINSTATE_TOKEN_FILE": str(tmp_path / "token")}
    assert server_of(None, None, file).token == "rst_file"


def test_a_token_is_in_no_text_about_a_server():
    server = server_of("https://a.example", None, {"REINSTATE_TOKEN": "rst_secret"})
    assert "rst_secret" not in repr(server) + str(server)


@pytest.mark.parametrize(
    ("address", "overheard"),
    [
        ("https://a.example", False),
        ("http://127.0.0.1:8730", False),
        ("http://[::1]:8730", False),
        ("http://localhost", False),
        ("http://a.example", True),
        ("http://10.0.0.1", True),
    ],
)
def test_a_token_that_others_can_read_on_its_way_is_told(address, overheard):
    assert server_of(address, None, {"REINSTATE_TOKEN": "t"}).overheard is overheard


@pytest.mark.parametrize(
    "address", ["a.example", "ftp://a", "https://", "https://a?b", "https://a#b", "//a"]
)
def test_what_is_no_address_of_a_server_is_refused(address):
    with pytest.raises(PlanInvalid, match="named by its address"):
        server_of(address, None, {"REINSTATE_TOKEN": "t"})


def test_a_server_without_a_token_is_refused_before_it_is_asked(tmp_path):
    with pytest.raises(Refused, match="no token"):
        server_of("https://a", None, {})
    with pytest.raises(PlanInvalid, match="cannot be read"):
        server_of("https://a", str(tmp_path / "missing"), {})
    (tmp_path / "empty").write_text("")
    with pytest.raises(PlanInvalid, match="not a token"):
        server_of("https://a", str(tmp_path / "empty"), {})
