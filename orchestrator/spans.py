"""Traces, where somebody asks for them by the usual OTEL_ variables; the extra `telemetry`.

    OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318 reinstate api

Where nobody does, nothing is imported and nothing is measured. Attributes pass the same list as
values of log lines, each in its shape; texts of exceptions are in none.
"""

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestrator import VERSION
from orchestrator.logs import ALLOWED, get_logger

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

log = get_logger("telemetry")

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_provider: "tuple[int, TracerProvider, Tracer] | None" = None
"""Of this process, by its number: a thread sends spans, and threads are not inherited."""


def asked_for(environ: Mapping[str, str]) -> bool:
    """Whether somebody wants traces, by what OpenTelemetry calls it."""
    off = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    other = environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() != "otlp"
    return not off and not other and any(environ.get(name, "").strip() for name in _ENDPOINTS)


def start(program: str) -> None:
    """Send spans of this process from now on, where that is asked for. Says what is missing."""
    global _provider  # noqa: PLW0603  one a process, as with logs
    if not asked_for(os.environ) or (_provider is not None and _provider[0] == os.getpid()):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        log.warning("telemetry_missing", program=program)
        return
    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": f"reinstate-{program}"}
    resource = Resource.create({**named, "service.version": VERSION})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _provider = (os.getpid(), provider, provider.get_tracer("reinstate", VERSION))


def stop() -> None:
    """Send what is left, and nothing more."""
    global _provider  # noqa: PLW0603
    if _provider is not None and _provider[0] == os.getpid():
        _provider[1].shutdown()
    _provider = None


def record(name: str, seconds: float, *, failed: bool = False, **attributes: Any) -> None:
    """A span that has just ended and took so long."""
    if _provider is None:
        return
    process, _, tracer = _provider
    if process != os.getpid():
        return
    from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415  it is loaded by now

    ended = time.time_ns()
    span = tracer.start_span(
        name,
        start_time=ended - int(seconds * 1e9),
        attributes={
            f"reinstate.{key}": value
            for key, value in attributes.items()
            if (shape := ALLOWED.get(key)) is not None and shape(value)
        },
        record_exception=False,
    )
    if failed:
        span.set_status(Status(StatusCode.ERROR))
    span.end(ended)
