"""The objects target against a store that misbehaves: nothing is torn, doubled or told wrongly."""

import contextlib
import time
from datetime import UTC, datetime

import pytest

from orchestrator.errors import Unavailable
from orchestrator.items import Attachment
from orchestrator.ports import Fate, Place, Surroundings
from tests.conformance.target_example import create
from tests.faults.evil_line import Line
from tests.object_stores import KEY, SECRET, objects
from workers.storage import buckets
from workers.targets.objects import Objects

ANNA = "anna"
PHOTO = bytes(range(256)) * 40
SIDECAR = Attachment(name="json", data=b"{}")


class Site:
    """A bucket of a real store behind a line, and the target that writes there."""

    def __init__(self, store, tmp_path):
        self.bucket = store.bucket()
        self.client = store.client(self.bucket)
        self.line = Line(store.endpoint)
        surroundings = Surroundings(
            folder=tmp_path,
            secret=lambda text: {"env:K": KEY, "env:S": SECRET}.get(text, text),
            clock=lambda: datetime.now(UTC),
        )
        kind = Objects(
            url=f"s3://{self.bucket}/p",
            endpoint=self.line.url.rstrip("/"),
            access_key="env:K",
            secret_key="env:S",
        )
        self.target = kind.open(surroundings)
        self.target.inspect(["photos"])

    def held(self):
        return {key: data for key, data in objects(self.client).items() if "/.r" not in key}

    def close(self):
        self.target.close()
        self.line.stop()


@pytest.fixture
def site(moto_store, tmp_path, monkeypatch):
    monkeypatch.setattr(buckets, "TIMEOUT", 2.0)
    with contextlib.closing(Site(moto_store, tmp_path)) as found:
        yield found


def one(site, *, attachments=()):
    write = create(site.target, ANNA, "sha256:1", PHOTO, category="photos", attachments=attachments)
    return write, site.target.write("photos", [write])[0]


def fetch(site, write):
    [live] = site.target.fetch("photos", [Place(owner=write.owner, ref=write.ref)])
    return live


def times(number, said, *, method="PUT"):
    """What befalls the first so many such calls."""
    met = []

    def befalls(call):
        if call.method == method and len(met) < number:
            met.append(call)
            return said
        return None

    return befalls


SLOW_DOWN = (503, {"Content-Type": "application/xml"}, b"<Error><Code>SlowDown</Code></Error>")


@pytest.mark.parametrize("said", [SLOW_DOWN, (500, {}, b""), "cut"])
def test_a_burst_of_failures_passes(site, said):
    site.line.befalls = times(2, said)
    write, answer = one(site, attachments=[SIDECAR])
    assert answer.fate is Fate.DONE
    live = fetch(site, write)
    assert (live.content, live.attachments) == (PHOTO, (SIDECAR,))


@pytest.mark.guarantee(3)
def test_an_answer_that_was_lost_leaves_one_object_and_no_wrong_claim(site):
    site.line.befalls = times(1, "answer cut")
    write, answer = one(site)
    assert answer.fate in {Fate.DONE, Fate.CONFLICT, Fate.UNKNOWN}
    assert fetch(site, write).content == PHOTO
    assert len([key for key in site.held() if key.endswith(".vcf")]) == 1


@pytest.mark.guarantee(13)
def test_bytes_that_change_on_the_way_are_seen_when_they_are_read_back(site):
    def flipped(call):
        if call.method == "PUT" and call.body == PHOTO:
            call.body = b"\1" + PHOTO[1:]

    site.line.befalls = flipped
    write, answer = one(site)
    assert answer.fate is not Fate.DONE or fetch(site, write).content != PHOTO


@pytest.mark.parametrize("status", [403, 503])
def test_a_store_that_lets_nobody_in_is_away(site, status):
    site.line.befalls = lambda _: (status, {}, b"")
    write = create(site.target, ANNA, "sha256:1", PHOTO, category="photos")
    for call in (
        lambda: site.target.write("photos", [write]),
        lambda: list(site.target.survey("photos", [ANNA])),
        lambda: fetch(site, write),
    ):
        with pytest.raises(Unavailable) as error:
            call()
        assert error.value.hint
        assert ANNA not in str(error.value)


def test_what_is_no_listing_is_never_an_empty_bucket(site):
    one(site)
    page = (200, {"Content-Type": "text/html"}, b"<html>Please log in</html>")
    site.line.befalls = lambda _: page
    with pytest.raises(Unavailable):
        list(site.target.survey("photos", [ANNA]))


def test_an_object_that_the_store_refuses_is_refused_alone(site):
    too_large = (400, {}, b"<Error><Code>EntityTooLarge</Code></Error>")
    site.line.befalls = lambda call: too_large if call.body == PHOTO else None
    writes = [
        create(site.target, ANNA, f"sha256:{n}", data, category="photos")
        for n, data in enumerate((PHOTO, b"fine"))
    ]
    answers = site.target.write("photos", writes)
    assert [answer.fate for answer in answers] == [Fate.REFUSED, Fate.DONE]


def test_a_store_that_hangs_is_left_after_a_while(site):
    site.target.close()  # the next call opens it with the shorter patience
    site.line.befalls = lambda _: time.sleep(4)
    began = time.monotonic()
    with pytest.raises(Unavailable):
        fetch(site, create(site.target, ANNA, "x", b"", category="photos"))
    assert time.monotonic() - began < 30
