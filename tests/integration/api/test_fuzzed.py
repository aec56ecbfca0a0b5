"""A little of what `make fuzz` does, the same each time: no 5xx, answers as the document says."""

import pytest

from orchestrator.api.installation import Installation
from orchestrator.api.openapi import document
from orchestrator.web import application
from tests.integration.api.fuzzing import STREAMS, Fuzzed, fuzz, operations

EXAMPLES = 4
LABELS = sorted(
    f"{method.upper()} {path}"
    for path, methods in document(application(Installation.nowhere()))["paths"].items()
    for method in methods
    if path not in STREAMS and not path.endswith("/openapi.json")
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    made = Fuzzed(tmp_path_factory.mktemp("fuzzed"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def described(site):
    return {operation.label: operation for operation in operations(site)}


@pytest.mark.parametrize("label", LABELS)
def test_whatever_the_document_allows_is_answered_as_it_says(site, described, label):
    fuzz(site, described[label], examples=EXAMPLES, derandomize=True)
