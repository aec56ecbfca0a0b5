"""How numbers are added up, and what they may be called."""

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.metrics.families import FAMILIES, Kind
from orchestrator.metrics.listening import exposed
from orchestrator.metrics.tally import Tally

LABELS = ("kind", "category", "end", "state", "le")
BATCH = "reinstate_batch_seconds"
ATTEMPTS = "reinstate_attempts_total"


def read(tally):
    """What Prometheus reads, by name and labels."""
    text = exposed(tally.collect).decode()
    return {
        (
            sample.name,
            tuple(sample.labels[name] for name in LABELS if name in sample.labels),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_children_tell_is_added_up_whatever_the_order():
    whole = Tally()
    for seconds in (0.02, 0.02, 7.0, 1_000.0):
        child = Tally()
        child.observe(BATCH, seconds, "restore", "contacts", "done")
        child.count(ATTEMPTS, "restore", "contacts", "settled", by=100)
        assert whole.add(child.take())
        assert child.take() == b""
    found = read(whole)
    assert found[ATTEMPTS, ("restore", "contacts", "settled")] == 400
    assert found[f"{BATCH}_count", ("restore", "contacts", "done")] == 4
    assert found[f"{BATCH}_sum", ("restore", "contacts", "done")] == pytest.approx(1007.04)
    ends = {
        labels[-1]: value for (name, labels), value in found.items() if name == f"{BATCH}_bucket"
    }
    assert (ends["0.01"], ends["0.05"], ends["10.0"], ends["300.0"]) == (0, 2, 3, 3)
    assert ends["+Inf"] == 4


@pytest.mark.parametrize(
    "told",
    [
        b"",
        b"\xff\xfe",
        b"{}",
        b'[["reinstate_attempts_total",["a","b","c"],[1]],["nonsense",[],[1]]]',
        b'[["reinstate_attempts_total",["a"],[1]]]',
        b'[["reinstate_attempts_total",["a","b","c"],[-1]]]',
        b'[["reinstate_attempts_total",["a","b","c"],[]]]',
        b'[["reinstate_batch_seconds",["a","b","c"],[1,2]]]',
        b'[["reinstate_leaders",[],[1]]]',
    ],
)
def test_what_is_no_tally_adds_nothing(told):
    tally = Tally()
    assert not tally.add(told)
    assert read(tally) == {}


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_names_have_base_units_and_labels_name_nobody(family):
    assert re.fullmatch(r"reinstate_[a-z]+(_[a-z]+)*", family.name)
    assert family.name.endswith("_total") == (family.kind is Kind.COUNTER)
    assert not re.search(r"_(ms|milliseconds|minutes|hours|kb|mb|percent)(_|$)", family.name)
    assert (family.kind is Kind.HISTOGRAM) == bool(family.buckets)
    assert list(family.buckets) == sorted(family.buckets)
    assert not {"user", "user_ref", "owner", "item", "unit"} & set(family.labels)
