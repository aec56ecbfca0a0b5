import io
import json
import logging

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import ReinstateError
from orchestrator.logs import (
    configure_logs,
    describe,
    escape,
    explain,
    get_logger,
    keep_allowed,
    render_console,
)
from orchestrator.settings import Settings

CANARY = "Ann Smith <ann@example.org>"
log = get_logger("test")


@pytest.fixture
def lines():
    """A function that gives what was logged since it was last called."""
    stream = io.StringIO()
    root = logging.getLogger()
    before = root.level, logging.raiseExceptions
    configure_logs(Settings.read({"REINSTATE_LOG": "debug json"}), stream=stream)

    def logged():
        text = stream.getvalue()
        stream.seek(0)
        stream.truncate()
        assert CANARY not in text
        assert "ann@" not in text
        return [json.loads(line) for line in text.splitlines()]

    yield logged
    for handler in [old for old in root.handlers if old.get_name() == "reinstate-lines"]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(before[0])
    logging.raiseExceptions = before[1]
    structlog.contextvars.clear_contextvars()


def test_an_event_carries_what_is_allowed(lines):
    log.info("batch_finished", run_id="7f3a", batch=17, category="contacts", duration_ms=12.5)
    (line,) = lines()
    assert (
        line.items()
        >= {
            "level": "info",
            "event": "batch_finished",
            "run_id": "7f3a",
            "batch": 17,
            "category": "contacts",
            "duration_ms": 12.5,
            "program": "test",
        }.items()
    )
    assert "dropped" not in line


@pytest.mark.guarantee(9)
def test_unknown_keys_and_values_of_the_wrong_shape_are_dropped_and_counted(lines):
    log.info(
        "unit_failed",
        user=CANARY,
        category=CANARY,
        batch=CANARY,
        user_ref="ann",
        cause="507 for ann@example.org",
        items=[CANARY],
        units=3,
    )
    (line,) = lines()
    assert line["dropped"] == 6
    assert line["units"] == 3


@pytest.mark.guarantee(9)
def test_an_event_is_a_fixed_word(lines):
    log.info(f"restored {CANARY}")  # noqa: G004  the mistake that must do no harm
    log.info("restored %s", CANARY)
    assert [line["event"] for line in lines()] == ["unnamed_event"] * 2


@pytest.mark.guarantee(9)
def test_bound_context_obeys_the_same_rules(lines):
    structlog.contextvars.bind_contextvars(run_id="7f3a", name=CANARY)
    log.info("run_opened")
    (line,) = lines()
    assert line["run_id"] == "7f3a"
    assert line["dropped"] == 1


def fail():
    try:
        {}[CANARY]
    except KeyError as error:
        raise ValueError(f"no {CANARY}") from error


@pytest.mark.guarantee(9)
def test_an_exception_becomes_class_fingerprint_and_source_lines(lines):
    try:
        fail()
    except ValueError as error:
        log.exception("batch_failed")
        log.warning("batch_failed", error=error)
        logging.getLogger("celery.app.trace").exception("Failed: %s", CANARY)
    for line in lines():
        assert line["error"] == "ValueError.KeyError"
        assert len(line["fingerprint"]) == 6
        assert all(frame.startswith("test_logs.py:") for frame in line["frames"])


def test_the_same_fault_has_the_same_fingerprint_whatever_it_says():
    found = set()
    for text in ("a", "b"):
        try:
            int(text)
        except ValueError as error:
            found.add(describe(error)["fingerprint"])
    assert len(found) == 1


@pytest.mark.guarantee(9)
def test_of_a_librarys_line_only_its_literal_text_is_kept(lines):
    library = logging.getLogger("httpx")
    library.warning("GET %s", CANARY)
    library.warning(f"GET {CANARY}")
    library.warning("GET " + CANARY)
    library.error({"user": CANARY})
    literal, *composed = lines()
    assert literal["template"] == "GET %s"
    assert literal["library"] == "httpx"
    assert literal["at"].startswith("test_logs.py:")
    assert all("template" not in line for line in composed)


def test_chatty_libraries_are_quiet(lines):
    logging.getLogger("sqlalchemy.engine").info("SELECT 1")
    logging.getLogger("kombu.connection").debug("Start from server")
    assert lines() == []


@pytest.mark.guarantee(9)
def test_a_library_may_be_called_anything(lines):
    logging.getLogger(CANARY).error("away")
    (line,) = lines()
    assert line["template"] == "away"


def test_configuring_twice_writes_each_line_once(lines):
    second = io.StringIO()
    configure_logs(Settings.read({"REINSTATE_LOG": "json"}), stream=second)
    log.info("once")
    assert lines() == []
    assert len(second.getvalue().splitlines()) == 1


def test_the_level_is_the_settings(lines):
    configure_logs(Settings.read({"REINSTATE_LOG": "warning json"}), stream=io.StringIO())
    log.info("not_seen")
    assert lines() == []


@pytest.mark.usefixtures("lines")
def test_lines_go_to_the_file_that_the_settings_name(tmp_path):
    place = tmp_path / "log" / "worker.log"
    configure_logs(Settings.read({"REINSTATE_LOG_FILE": str(place)}))
    log.info("worker_ready", workers=4)
    assert json.loads(place.read_text())["workers"] == 4


HOSTILE = st.text(
    st.sampled_from("a\n\r\x1b\x9b\u2028\u202e\x00\x85 {}\"'\\") | st.characters(), max_size=60
)


@given(HOSTILE)
@settings(deadline=None, max_examples=100)
def test_no_text_can_forge_a_line_or_steer_a_terminal(text):
    shown = escape(text)
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1
    assert render_console({"event": "x", "level": "info", "template": text}).isprintable()


@given(st.dictionaries(st.text(max_size=12), HOSTILE | st.integers() | st.floats() | st.none()))
@settings(deadline=None, max_examples=100)
def test_whatever_is_logged_its_values_have_an_allowed_shape(event):
    kept = keep_allowed(None, "info", dict(event))
    for key, value in kept.items():
        if key not in {"event", "level", "timestamp"} and isinstance(value, str):
            assert value.isascii()
            assert "@" not in value
            assert value.isprintable()


def test_an_error_is_explained_with_its_hint_and_without_control_characters():
    said = explain(ReinstateError("no \x1b[2Jkey", hint="make one"))
    assert said == "no \\x1b[2Jkey\nhint: make one"
