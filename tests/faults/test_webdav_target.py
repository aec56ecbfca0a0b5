"""The webdav target against servers that misbehave: nothing is torn, doubled or told wrongly."""

import contextlib
import shutil
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.errors import Unavailable
from orchestrator.items import Attachment
from orchestrator.ports import Fate, Place, Surroundings
from tests.conformance.target_example import create, removal
from tests.faults.evil_line import Line
from tests.webdav_servers import PASSWORD, USER
from workers.storage.dav_files import STAGED
from workers.storage.probe_names import probe_name
from workers.targets.webdav import Webdav

ANNA = "anna"
PHOTO = bytes(range(256)) * 400
SIDECAR = Attachment(name="json", data=b'{"title": "x"}')


class Site:
    """A folder of a real store behind a line, and the target that writes there."""

    def __init__(self, store, tmp_path):
        self.name = uuid.uuid4().hex
        self.root = store.data / self.name
        self.root.mkdir()
        self.line = Line(store.url)
        self.tmp_path = tmp_path
        self.opened = []

    def target(self, **options):
        given = {
            "url": self.line.url + self.name,
            "username": USER,
            "password": "env:PASSWORD",
            "timeout": timedelta(seconds=10),
        }
        surroundings = Surroundings(
            folder=self.tmp_path,
            secret=lambda text: text.replace("env:PASSWORD", PASSWORD),
            clock=lambda: datetime.now(UTC),
        )
        kind = Webdav(**{name: value for name, value in (given | options).items() if value})
        self.opened.append(kind.open(surroundings))
        return self.opened[-1]

    def files(self):
        found = {
            str(p.relative_to(self.root)): p.read_bytes()
            for p in self.root.rglob("*")
            if p.is_file()
        }
        return {name: data for name, data in found.items() if not name.startswith(".")}

    def close(self):
        for target in self.opened:
            target.close()
        self.line.stop()
        shutil.rmtree(self.root, ignore_errors=True)


@pytest.fixture
def site(exact_webdav_store, tmp_path):
    with contextlib.closing(Site(exact_webdav_store, tmp_path)) as found:
        yield found


@pytest.fixture
def target(site):
    opened = site.target()
    opened.inspect(["photos"])
    site.line.calls.clear()
    return opened


def one(target, write):
    [answer] = target.write("photos", [write])
    return answer


def photo(target, ident="sha256:1", *, owner=ANNA, content=PHOTO, attachments=()):
    return create(target, owner, ident, content, category="photos", attachments=attachments)


def fetch(target, write):
    [live] = target.fetch("photos", [Place(owner=write.owner, ref=write.ref)])
    return live


def first_of(method, said, *, to=""):
    """What befalls the first such call only."""
    met = []

    def befalls(call):
        if call.method == method and to in call.path and not met:
            met.append(call)
            return said
        return None

    return befalls


def careless(call):
    """The server never hears of a condition."""
    for name in ("if", "if-match", "if-none-match"):
        call.headers.pop(name, None)
    call.headers.pop("overwrite", None)


@pytest.mark.guarantee(5)
def test_where_conditions_are_ignored_files_are_looked_for_and_nothing_is_replaced(site):
    site.line.befalls = careless
    target = site.target()
    found = target.inspect(["photos"])
    assert not found.create_only
    assert not found.compare_and_set
    assert any("overwrites" in note for note in found.notes)
    assert any("undo removes nothing" in note for note in found.notes)
    theirs = photo(target, content=b"hers")
    assert one(target, theirs).fate is Fate.DONE
    assert one(target, photo(target)).fate is Fate.CONFLICT
    [entry] = target.survey("photos", [ANNA])
    assert target.remove("photos", [removal(entry)])[0].fate is Fate.REFUSED
    assert fetch(target, theirs).content == b"hers"


def test_a_server_that_takes_two_names_for_one_is_refused(site):
    def lower(call):
        call.path = call.path.lower()
        if "destination" in call.headers:
            call.headers["destination"] = call.headers["destination"].lower()

    site.line.befalls = lower
    with pytest.raises(Unavailable):
        site.target().inspect(["photos"])


@pytest.mark.guarantee(3)
@pytest.mark.parametrize("said", ["cut", "answer cut"])
@pytest.mark.parametrize("method", ["PUT", "MOVE"])
def test_a_broken_connection_leaves_it_whole_or_not_there_and_the_next_look_tells(
    site, target, method, said
):
    site.line.befalls = first_of(method, said)
    write = photo(target, attachments=[SIDECAR])
    answer = one(target, write)
    site.line.befalls = None
    assert answer.fate in {Fate.DONE, Fate.UNKNOWN}
    if fetch(target, write) is None:
        assert answer.fate is Fate.UNKNOWN
        assert one(target, write).fate is Fate.DONE
    live = fetch(target, write)
    assert (live.content, live.attachments) == (PHOTO, (SIDECAR,))
    assert one(target, write).fate is Fate.CONFLICT
    assert len(list(target.survey("photos", [ANNA]))) == 1


@pytest.mark.guarantee(13)
def test_bytes_that_change_on_the_way_are_seen_when_they_are_read_back(site, target):
    def flipped(call):
        if call.method == "PUT" and STAGED in call.path:
            call.body = b"\0" + call.body[1:]

    site.line.befalls = flipped
    write = photo(target, content=b"picture")
    assert one(target, write).fate is Fate.DONE
    assert fetch(target, write).content != b"picture"


def test_what_the_dead_left_is_removed_by_the_next_writer(site, target):
    dead = subprocess.run(
        [sys.executable, "-c", "from workers.storage.probe_names import *; print(probe_name())"],
        capture_output=True,
        check=True,
        text=True,
        cwd=".",
    ).stdout.strip()
    folder = site.root / ANNA / "photos"
    write = photo(target)
    (folder / f"{write.ref}.parts").mkdir(parents=True)
    marked = "0" * 16
    (folder / f"{write.ref}.parts" / f"{marked}.json").write_bytes(b"of another content")
    (folder / f"{STAGED}{dead}").write_bytes(b"half")
    living = folder / f"{STAGED}{probe_name()}"
    living.write_bytes(b"on its way")
    assert list(target.survey("photos", [ANNA])) == []
    assert one(target, write).fate is Fate.DONE
    assert fetch(target, write).attachments == ()
    assert not (folder / f"{STAGED}{dead}").exists()
    assert living.exists()


def test_what_a_dead_attempt_put_beside_an_item_never_comes_with_the_next(site, target):
    site.line.befalls = first_of("MOVE", (503, {"Retry-After": "99"}, b""))
    with pytest.raises(Unavailable):
        one(target, photo(target, attachments=[SIDECAR]))
    site.line.befalls = None
    assert any(name.endswith(".json") for name in site.files())
    anew = site.target()
    assert list(anew.survey("photos", [ANNA])) == []
    other = Attachment(name="csv", data=b"a,b\n")
    write = photo(anew, attachments=[other])
    assert one(anew, write).fate is Fate.DONE
    assert fetch(anew, write).attachments == (other,)


@pytest.mark.parametrize(("status", "headers"), [(503, {"Retry-After": "120"}), (429, {})])
def test_a_server_that_is_busy_is_left_alone_for_as_long_as_it_says(site, target, status, headers):
    site.line.befalls = lambda call: (status, headers, b"") if call.method == "PUT" else None
    with pytest.raises(Unavailable) as error:
        one(target, photo(target))
    assert error.value.retry_in == (120.0 if headers else None)


def test_a_full_disk_is_told_and_leaves_no_half_file(site, target):
    site.line.befalls = lambda call: (507, {}, b"") if call.method == "PUT" else None
    writes = [photo(target, owner=ANNA), photo(target, owner="bert")]
    with pytest.raises(Unavailable) as error:
        target.write("photos", writes)
    assert "no room" in str(error.value)
    assert site.files() == {}


@pytest.mark.parametrize("status", [500, 502])
def test_a_server_that_fails_on_everything_is_away(site, target, status):
    site.line.befalls = lambda call: (status, {}, b"") if call.method == "PUT" else None
    with pytest.raises(Unavailable):
        one(target, photo(target))


def test_a_file_that_breaks_the_server_is_refused_alone(site, target):
    site.line.befalls = lambda call: (500, {}, b"") if call.body == PHOTO else None
    answers = target.write("photos", [photo(target), photo(target, "sha256:2", content=b"fine")])
    assert [answer.fate for answer in answers] == [Fate.REFUSED, Fate.DONE]


def test_a_move_that_failed_is_looked_at_again(site, target):
    site.line.befalls = lambda call: (500, {}, b"") if call.method == "MOVE" else None
    assert one(target, photo(target)).fate is Fate.UNKNOWN
    assert list(target.survey("photos", [ANNA])) == []


@pytest.mark.parametrize(
    "said",
    [
        (200, {"Content-Type": "text/html"}, b"<html>Please log in</html>"),
        (302, {"Location": "https://elsewhere.example/"}, b""),
        (401, {}, b""),
        (207, {"Content-Type": "application/xml"}, b"<multistatus xmlns='DAV:'"),
    ],
)
def test_what_is_no_listing_is_never_an_empty_folder(site, target, said):
    one(target, photo(target))
    site.line.befalls = lambda _: said
    with pytest.raises(Unavailable) as error:
        list(target.survey("photos", [ANNA]))
    assert error.value.hint
    assert "anna" not in str(error.value)


def test_an_answer_that_never_ends_or_is_too_long_is_cut_off(site):
    target = site.target(timeout=timedelta(seconds=0.5), answer_bytes=100_000)
    target.inspect(["photos"])
    write = photo(target, content=bytes(200_000))
    assert one(target, write).fate is Fate.DONE
    with pytest.raises(Unavailable, match="larger"):
        fetch(target, write)
    site.line.befalls = lambda _: time.sleep(2)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="in time"):
        list(target.survey("photos", [ANNA]))
    assert time.monotonic() - began < 1.5


def test_each_user_has_the_place_that_the_address_names(site):
    (site.root / "anna").mkdir()
    (site.root / "reinstate-probe").mkdir()
    target = site.target(
        url=f"{site.line.url}{site.name}/{{user}}/Pictures", folders={"photos": "Restored"}
    )
    target.inspect(["photos"])
    writes = [photo(target), photo(target, owner="an/na"), photo(target, owner="bert")]
    fates = [answer.fate for answer in target.write("photos", writes)]
    assert fates[:2] == [Fate.DONE, Fate.REFUSED]
    assert f"anna/Pictures/Restored/{writes[0].ref}" in site.files()
    assert fetch(target, writes[0]).content == PHOTO


LISTING = """
from pathlib import Path
from workers.storage.dav_answers import multistatus

def most():
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])

text = b'<D:response><D:href>/u/photos/IMG_%d.jpg</D:href><D:propstat><D:prop><D:resourcetype/>' \\
    b'<D:getetag>"%d"</D:getetag><D:getcontentlength>9</D:getcontentlength></D:prop>' \\
    b'<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>'
body = b'<D:multistatus xmlns:D="DAV:">' + b"".join(text % (n, n) for n in range(40_000))
body += b"</D:multistatus>"
before = most()
assert len(multistatus(body)) == 40_000
print((most() - before) / len(body))
"""


@pytest.mark.guarantee(16)
def test_the_listing_of_a_very_large_folder_takes_little_more_memory_than_its_text():
    done = subprocess.run([sys.executable, "-c", LISTING], capture_output=True, check=True)
    assert float(done.stdout) < 4
