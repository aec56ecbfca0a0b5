"""The corpus of real files: where it is, what it holds, and what its labels say."""

import csv
import os
import re
from functools import cache
from itertools import count
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import pytest

_VARIABLE = re.compile(rb"\$([a-z0-9]+?)(\d*)(?:\.([a-z]+)\.(-?\d+))?:")


def corpus_root():
    """The corpus folder; the calling test is skipped where there is none."""
    named = os.environ.get("REINSTATE_CORPUS")
    root = Path(named) if named else Path(__file__).parents[2] / "shared" / "corpus"
    if not (root / "LABELS.csv").is_file():
        pytest.skip("no corpus of real files here; set REINSTATE_CORPUS", allow_module_level=True)
    return root


@cache
def corpus_files(category):
    """Every file of a category as (path, label), sorted; paths are relative to the root."""
    with (corpus_root() / "LABELS.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["category"] == category]
    return sorted((row["path"], row["label"]) for row in rows)


def corpus_bytes(path, label=""):
    """The file's bytes; in a template the `$…:` variables are replaced by something plausible."""
    data = (corpus_root() / path).read_bytes()
    return substituted(data) if label.startswith("template") else data


def substituted(data):
    """A caldavtester template with its variables filled in: the same bytes on every run."""
    serial = count()

    def value(match):
        name, number = match[1].decode(), match[2].decode() or "1"
        match name:
            case "now" if match[3] == b"year":
                text = f"{2026 + int(match[4])}"
            case "uidrandom":
                text = str(uuid5(NAMESPACE_URL, f"random {next(serial)}"))
            case "uid":
                text = str(uuid5(NAMESPACE_URL, f"uid {number}"))
            case "username":
                text = f"User {number}"
            case "i18nname":
                text = "Üser"
            case "email" | "i18nemail":
                text = f"user{number}@example.org"
            case "cuaddrurn" | "i18ncuaddrurn":
                text = f"urn:uuid:{uuid5(NAMESPACE_URL, f'user {number}')}"
            case "cuaddr" | "cuaddralt" | "i18ncuaddr":
                text = f"mailto:user{number}@example.org"
            case _:
                return match[0]
        return text.encode()

    return _VARIABLE.sub(value, data)
