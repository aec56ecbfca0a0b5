import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.causes import cause_of, fingerprint, normalised
from orchestrator.errors import ItemRejected, Unavailable
from orchestrator.reasons import Reason


def of(message: str, **changes: str):
    return cause_of(Unavailable(message), **({"category": "photos", "kind": "dav"} | changes))


def test_failures_that_differ_in_numbers_and_ids_only_have_one_cause():
    one = of("507 Insufficient Storage after 12 of 300 items, 6f1c8a52-11e2-4c1e-9d1b-0a1b2c3d4e5f")
    two = of(
        "507 Insufficient Storage after 299 of 300 items, 00000000-11e2-4c1e-9d1b-ffffffffffff"
    )
    assert one == two
    assert "507 Insufficient Storage" in one.sentence


def test_http_statuses_category_kind_and_class_tell_causes_apart():
    causes = [
        of("answered 507"),
        of("answered 503"),
        of("answered 507", category="notes"),
        of("answered 507", kind="objects"),
        cause_of(ValueError("answered 507"), category="photos", kind="dav"),
    ]
    assert len({cause.fingerprint for cause in causes}) == len(causes)


@pytest.mark.guarantee(9)
def test_the_sentence_holds_no_quoted_text_address_or_path():
    said = of("cannot put '/home/ann/Ann Smith.vcf' for ann@example.org to https://h/ann").sentence
    assert "ann" not in said.lower().replace("cannot", "")


@pytest.mark.guarantee(9)
def test_the_text_of_foreign_errors_is_not_shown():
    cause = cause_of(KeyError("Ann Smith"), category="contacts", kind="vdir")
    assert cause.sentence == "vdir: unexpected KeyError"


def test_only_what_may_pass_by_itself_is_transient():
    assert of("away").transient
    assert not cause_of(ItemRejected(Reason.CUT), category="notes", kind="bag").transient


def test_a_rejected_item_is_called_by_its_reason():
    assert cause_of(ItemRejected(Reason.CUT), category="notes", kind="bag").code == "cut"


def test_apostrophes_do_not_hide_what_was_said():
    assert (
        normalised("the server's certificate isn't valid") == "the server's certificate isn't valid"
    )


@given(st.text(max_size=300))
@settings(deadline=None, max_examples=100)
def test_whatever_is_said_the_cause_is_one_printable_line_and_six_digits(message):
    assert normalised(message).isprintable()
    found = fingerprint(category="a", kind="b", error="C", message=message)
    assert len(found) == 6
    assert int(found, 16) >= 0
