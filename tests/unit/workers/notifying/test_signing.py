"""What is signed, and with what."""

import json
from datetime import UTC, datetime

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from cloudevents.core.formats.json import JSONFormat
from standardwebhooks.webhooks import Webhook

from orchestrator.ledger.outbox import Held
from orchestrator.notices import ATTEMPTS, LONGEST_MS, Channel, NoticeKind, sentence, wait_ms
from orchestrator.plan import Notify
from workers.notifying.calling import BadSecret, signed, signing

SECRET = "whsec_" + "QUJD" * 8
HELD = Held(
    id=7,
    epoch=2,
    run="7f3a",
    channel=Channel.WEBHOOK,
    attempts=1,
    tries=1,
    notice="n_0123456789abcdef01234567",
    kind=NoticeKind.FINISHED,
    at=1_255_996_800_000,
    data={"run": "7f3a", "plan": "small", "purpose": "restore", "settled": 9, "failed": 1},
    notify=Notify(),
)


def test_a_request_is_a_cloud_event_under_a_standard_webhooks_signature():
    headers, body = signed(HELD, secret=SECRET, now=datetime.now(UTC))
    assert Webhook(SECRET).verify(body, headers)["id"] == HELD.notice == headers["webhook-id"]
    message = HTTPMessage(headers={"content-type": headers["content-type"]}, body=body)
    event = from_structured_event(message, JSONFormat())
    assert event.get_type() == "reinstate.run.finished"
    assert event.get_source() == "urn:reinstate:run:7f3a"
    assert event.get_time() == datetime(2009, 10, 20, tzinfo=UTC)
    assert json.loads(body)["data"]["sentence"] == (
        "small (7f3a) has finished: 9 units settled, 1 failed."
    )


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_!!!", "hunter2", "whsec_QUJD", "whsec_" + "QUJD" * 8 + "é"]
)
def test_what_is_no_secret_signs_nothing(secret):
    with pytest.raises(BadSecret):
        signing(secret)


def test_waits_grow_threefold_are_spread_and_bounded():
    for attempt in range(1, ATTEMPTS + 1):
        plain = min(5_000 * 3 ** (attempt - 1), LONGEST_MS)
        waits = {wait_ms(delivery, attempt) for delivery in range(50)}
        assert len(waits) > 40
        assert all(0.8 * plain <= wait <= 1.2 * plain for wait in waits)
    total = sum(wait_ms(1, attempt) for attempt in range(1, ATTEMPTS))
    assert 24 < total / 3_600_000 < 48  # hours


@pytest.mark.parametrize("kind", NoticeKind)
def test_every_kind_has_a_sentence(kind):
    data = {
        "run": "7f3a",
        "plan": "small",
        "phase": "notes",
        "wave": "canary",
        "of": "pim",
        "settled": 1,
        "failed": 2,
        "lost": 3,
        "quarantined": 4,
        "due": "2009-10-20",
    }
    assert sentence(kind, data).startswith("small (7f3a) ")
