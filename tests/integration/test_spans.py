"""Traces: what is sent to a collector, and that nothing is where nobody asks for any."""

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from orchestrator import spans
from tests.populated import populated


@pytest.fixture
def collector():
    """An OTLP receiver in this process; the spans that came."""
    came = []

    class Keeper(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            came.append((self.path, body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Keeper)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port, came
    spans.stop()
    server.shutdown()
    server.server_close()
    thread.join()


def read(came):
    """Service, name, attributes and whether it failed, of every span."""
    found = []
    for path, body in came:
        assert path == "/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = {one.key: one.value.string_value for one in resource.resource.attributes}
            for span in (one for scope in resource.scope_spans for one in scope.spans):
                values = {
                    one.key: one.value.string_value or one.value.int_value
                    for one in span.attributes
                }
                found.append((names["service.name"], span, values))
    return found


@pytest.mark.guarantee(9)
def test_batches_and_requests_are_sent_and_nobody_is_in_them(collector, tmp_path, monkeypatch):
    port, came = collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    spans.start("worker")
    site, run = populated(tmp_path)
    site.client("support").get(f"/api/v1/runs/{run}/users/canary-user-1@example.org")
    spans.stop()
    site.close()
    found = read(came)
    assert {service for service, _, _ in found} == {"reinstate-worker"}
    batches = [values for _, span, values in found if span.name == "batch"]
    restored = [one for one in batches if one["reinstate.kind"] == "restore"]
    assert {one["reinstate.category"] for one in restored} == {"contacts", "notes"}
    for one in restored:
        assert one["reinstate.run_id"] == run
        assert (one["reinstate.outcome"], one["reinstate.attempt"]) == ("done", 1)
        assert one["reinstate.batch"] > 0
    (request,) = (values for _, span, values in found if span.name == "request")
    assert request == {
        "reinstate.method": "GET",
        "reinstate.route": "/api/v1/runs/{run}/users/{user}",
        "reinstate.status": 200,
    }
    assert b"canary" not in b"".join(body for _, body in came)
    for _, span, _ in found:
        assert span.end_time_unix_nano >= span.start_time_unix_nano


def test_what_may_not_be_logged_is_no_attribute_either(collector, monkeypatch):
    port, came = collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    spans.start("worker")
    spans.record("batch", 0.5, failed=True, run_id="ann@example.org", user="ann", category="notes")
    spans.stop()
    ((_, span, values),) = read(came)
    assert values == {"reinstate.category": "notes"}
    assert span.status.code == 2
    assert span.end_time_unix_nano - span.start_time_unix_nano == 500_000_000


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_the_usual_variables_say_whether_somebody_wants_traces(environ, wanted):
    assert spans.asked_for(environ) is wanted


NOTHING = """
import sys
import orchestrator.conductor, orchestrator.web, workers.jobs
from orchestrator import spans
spans.start("api")
spans.record("request", 1.0, route="/")
loaded = [name for name in sys.modules if name.startswith("opentelemetry.")]
print([name for name in loaded if "sdk" in name or "exporter" in name or "requests" in name])
"""
MISSING = """
import os, sys
sys.modules["opentelemetry.sdk"] = None
os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:1"
from orchestrator import spans
from orchestrator.logs import configure_logs
from orchestrator.settings import Settings
configure_logs(Settings.read({"REINSTATE_LOG": "info,json"}), stream=sys.stdout)
spans.start("api")
spans.record("request", 1.0, route="/")
"""


def said(program):
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_nothing_is_loaded_where_nobody_asks():
    assert said(NOTHING).strip() == "[]"


def test_an_extra_that_is_not_installed_is_said_and_stops_nobody():
    assert '"event": "telemetry_missing"' in said(MISSING)
