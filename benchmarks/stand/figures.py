"""Medians, spreads and ratios, and on what they were measured."""

import os
import platform
import statistics
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

_SHOWN = ("celery", "kombu", "redis", "SQLAlchemy", "psycopg")


def machine() -> str:
    """This machine in one line."""
    model = platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return f"{os.cpu_count()} cores of {model}, {platform.system()} {platform.release()}"


def versions() -> str:
    """What was measured with, in one line."""
    listed = ", ".join(f"{name} {version(name)}" for name in _SHOWN)
    return f"CPython {platform.python_version()}, {listed}"


def spread(values: Sequence[float]) -> str:
    """`48,200 (46,900 to 51,000)`: the median, the least and the most."""
    return f"{number(statistics.median(values))} ({number(min(values))} to {number(max(values))})"


def number(value: float) -> str:
    """Three digits that matter, thousands separated."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
