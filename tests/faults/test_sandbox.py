"""What a hostile parser can do inside a reader: answer, and nothing else."""

import json
import os
import platform
import random
import signal
import struct
import subprocess
import sys
import time
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import psutil
import pytest

from orchestrator import confinement, doctor
from orchestrator.catalogue import category_kind
from orchestrator.confinement import prove
from orchestrator.errors import ItemRejected, Refused
from orchestrator.items import HEAD_BYTES, Copy, Damaged, File, Folder, UserId, Vouched
from orchestrator.ports import Rules
from orchestrator.readiness import prove_confinable
from orchestrator.reasons import Reason
from orchestrator.settings import Settings
from tests.corpus import corpus_bytes, corpus_files
from tests.unit.workers.formats.pictures import JPEG
from workers.categories.contacts import Contacts
from workers.categories.photos import Photos
from workers.readers.pool import Here, Readers, Template

ROOT = Path(__file__).parents[2]
RULES = Rules(repairs=frozenset(Contacts.repairs), loss=datetime(2009, 10, 1, tzinfo=UTC))
CARD = b"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:%d\r\nFN:Ann %d\r\nN:Ann;;;;\r\nEND:VCARD\r\n"
HOSTILE = '''
"""A category of tests alone: contacts, but files can tell the parser what to do."""

import ctypes, glob, mmap, os, signal, socket, sys, threading, time
from dataclasses import dataclass

from orchestrator.items import Damaged, Span
from orchestrator.reasons import Reason
from tests.corpus import corpus_bytes, corpus_files
from workers.categories.contacts import Contacts


def connect(there):
    with socket.socket(socket.AF_INET) as tried:
        tried.connect(("127.0.0.1", int(there)))


def connect_local(there):
    with socket.socket(socket.AF_UNIX) as tried:
        tried.connect(there)


def look_at(there):
    with open(there) as tried:
        tried.read()


def list_folder(there):
    os.listdir(there)


def write(there):
    with open(there, "w") as tried:
        tried.write("was here")


def remove(there):
    os.unlink(there)


def program(_):
    os.execv("/bin/true", ["true"])


def spawn(_):
    os.posix_spawn("/bin/true", ["true"], {})


def fork(_):
    if not os.fork():
        os._exit(0)


def thread(_):
    threading.Thread(target=int).start()


def breed(_):
    while True:
        threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()


def kill(there):
    os.kill(int(there), signal.SIGTERM)


def trace(there):
    if ctypes.CDLL(None).ptrace(16, int(there), 0, 0) < 0:
        raise OSError("refused")


def others_memory(there):
    look_at(f"/proc/{there}/maps")


def secrets(_):
    if not any("REINSTATE" in name or "SECRET" in name for name in os.environ):
        raise OSError("none")


def open_files(_):
    """Anything but the two pipes, the note, and nothing at all."""
    for number in range(3, 256):
        try:
            kind = os.fstat(number).st_mode
        except OSError:
            continue
        if kind & 0o170000 not in {0o010000, 0o100000} or os.fstat(number).st_size > 4096:
            return
    raise OSError("none")


def more_memory(_):
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def glut(_):
    kept = []
    while True:
        kept.append(bytearray(1 << 26))


def endless(_):
    while True:
        pass


def sleep(_):
    time.sleep(3600)


def crash(_):
    ctypes.string_at(0)


def leave(_):
    os._exit(0)


def babble(_):
    for number in range(3, 64):
        try:
            os.write(number, b"\\x06" + b"\\xff" * 4096)
        except OSError:
            pass
    raise SystemExit


def imported(_):
    """What honest code needs goes on working."""
    "あ".encode("shift_jis"), "ä".encode("cp1250")
    import wave
    from workers.formats.time_zones import zone
    zone("Asia/Tokyo")


def claim(_):
    """Say that a content is what the worker holds, which has sent nothing large."""
    import gc
    from workers.readers.messages import Haul, Kept, Kind, Line
    from workers.readers.reader import ENCODER
    (line,) = [one for one in gc.get_objects() if isinstance(one, Line)]
    kept = Kept(index=0, number=1, part=0, offset=0, length=1)
    line.say(Kind.FOUND, ENCODER.encode(Haul([], [kept])))


DONE = "done"


@dataclass(frozen=True, kw_only=True)
class Hostile(Contacts):
    """Contacts, unless a file begins with a bang."""

    def read(self, folder, rules):
        for file in folder.files:
            data = file.read()
            if not data.startswith(b"!"):
                continue
            name, _, there = data[1:].decode().partition(" ")
            try:
                globals()[name](there)
                said = DONE
            except OSError as error:
                said = type(error).__name__
            span = Span(file.name, 0, len(data))
            yield Damaged(reason=Reason.SYNTAX, spans=(span,), data=data, detail=said)
        yield from super().read(folder, rules)


KIND = Hostile
'''

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere there is neither Landlock nor seccomp to be shown"
)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    site = tmp_path_factory.mktemp("site")
    (site / "hostile_kind.py").write_text(HOSTILE)
    sys.path.insert(0, str(site))
    import hostile_kind  # noqa: PLC0415

    yield hostile_kind.KIND()
    sys.path.remove(str(site))
    del sys.modules["hostile_kind"]


@pytest.fixture(scope="module")
def template(hostile):  # noqa: ARG001  it has to be found where the template looks
    os.environ["REINSTATE_TEST_SECRET"] = "x"
    made = Template()
    del os.environ["REINSTATE_TEST_SECRET"]
    yield made
    made.close()


@pytest.fixture
def readers(template):
    made = Readers(seconds=1.0, start=lambda: template)
    yield made
    made.renew()


def file(name, data):
    return File(name=name, size=len(data), read=lambda: data)


def folder(*contents):
    named = [file(f"{number}.vcf", data) for number, data in enumerate(contents)]
    return Folder(owner=UserId("ann"), files=named)


def parse(readers, category, *contents):
    """What was found, and what was told to be in hand at last."""
    told = []
    found = list(readers.parse(category, folder(*contents), RULES, told.append))
    return found, told[-1]


def attempt(readers, hostile, words):
    found, _ = parse(readers, hostile, b"!" + words.encode(), CARD % (1, 1))
    return next(one.detail for one in found if isinstance(one, Damaged))


@pytest.mark.guarantee(16)
def test_a_hostile_parser_reaches_no_network_file_program_process_or_secret(
    readers, hostile, tmp_path
):
    if not prove().confined.complete:
        pytest.skip("this kernel cannot confine wholly")
    (tmp_path / "secret").write_text("x")
    with psutil.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        tried = {
            "connect 1": "PermissionError",
            f"connect_local {tmp_path}/none": "PermissionError",
            f"look_at {tmp_path}/secret": "PermissionError",
            "look_at /etc/passwd": "PermissionError",
            f"list_folder {tmp_path}": "PermissionError",
            f"write {tmp_path}/new": "PermissionError",
            f"write {ROOT}/workers/new.py": "PermissionError",
            f"remove {tmp_path}/secret": "PermissionError",
            "program": "PermissionError",
            "spawn": "PermissionError",
            "fork": "PermissionError",
            "thread": "done",
            f"kill {other.pid}": "PermissionError",
            f"kill {os.getpid()}": "PermissionError",
            f"trace {other.pid}": "OSError",
            f"others_memory {os.getpid()}": "PermissionError",
            "secrets": "OSError",
            "open_files": "OSError",
            "imported": "done",
        }
        for words, answer in tried.items():
            assert attempt(readers, hostile, words) == answer, words
        assert other.is_running()
        other.communicate(b"\n")
    assert [one.name for one in tmp_path.iterdir()] == ["secret"]
    assert not (ROOT / "workers" / "new.py").exists()


@pytest.mark.guarantee(16)
@pytest.mark.parametrize(
    "words", ["glut", "endless", "sleep", "crash", "leave", "babble", "breed", "more_memory"]
)
def test_what_ends_its_reader_is_told_and_the_next_folder_is_read(readers, hostile, words):
    good = [CARD % (number, number) for number in range(3)]
    told = []
    parsing = readers.parse(
        hostile, folder(*good, b"!" + words.encode(), *good), RULES, told.append
    )
    with pytest.raises(ItemRejected) as caught:
        list(parsing)
    assert caught.value.reason is Reason.POISON
    assert told[-1] == "3.vcf"
    found, told = parse(readers, hostile, *good)
    assert len(found) == 3
    assert told is None


@pytest.mark.guarantee(16)
def test_memory_is_given_back_and_bounded(readers, hostile):
    with pytest.raises(ItemRejected):
        parse(readers, hostile, b"!glut")
    parse(readers, hostile, CARD % (1, 1))  # the one before has been waited for by then
    template = psutil.Process(readers._template._process.pid)
    resident = [one.memory_info().rss for one in (template, *template.children(recursive=True))]
    assert sum(resident) < 1024**3


@pytest.mark.guarantee(1)
def test_no_batch_is_read_by_whoever_read_another_one(readers, hostile):
    parse(readers, hostile, CARD % (1, 1))
    (first,) = readers._idle
    parse(readers, hostile, CARD % (1, 1))
    assert readers._idle == [first]
    readers.renew()
    parse(readers, hostile, CARD % (1, 1))
    (second,) = readers._idle
    assert second.pid != first.pid
    assert not alive(first.pid)


def alive(process, seconds=5.0):
    """Whether it still is after a while."""
    until = time.monotonic() + seconds
    while runs(process) and time.monotonic() < until:
        time.sleep(0.01)
    return runs(process)


def runs(process):
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_killed_reader_and_a_killed_template_are_replaced(hostile):
    made = Readers(seconds=5.0)
    good = [CARD % (number, number) for number in range(3)]
    parse(made, hostile, *good)
    os.kill(made._idle[0].pid, signal.SIGKILL)
    with pytest.raises(ItemRejected):
        parse(made, hostile, *good)
    assert len(parse(made, hostile, *good)[0]) == 3
    made._template._process.kill()
    made._template._process.wait()
    made.renew()
    assert len(parse(made, hostile, *good)[0]) == 3
    made.close()


def test_readers_end_with_their_worker():
    program = (
        "import sys, time; from tests.faults.test_sandbox import *\n"
        "made = Readers(seconds=5.0); parse(made, Contacts(), CARD % (1, 1))\n"
        "print(made._template._process.pid, made._idle[0].pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as worker:
        processes = [int(word) for word in worker.stdout.readline().split()]
        assert len(processes) == 2
        worker.kill()
    assert not any(map(alive, processes))


# The same as without --------------------------------------------------------------------------


def both(readers, category, files):
    """What a reader finds, which has to be what is found here."""
    listed = Folder(owner=UserId("ann"), files=files)
    found = list(readers.parse(category, listed, RULES, lambda _: None))
    assert found == list(Here().parse(category, listed, RULES, lambda _: None))
    return found


def test_many_small_files_come_in_pages_and_large_ones_alone(readers):
    cards = [file(f"{number}.vcf", CARD % (number, number)) for number in range(1300)]
    large = file("large.vcf", b"".join(CARD % (n, n) for n in range(2_000, 6_000)))
    assert len(both(readers, Contacts(), [*cards[:700], large, *cards[700:]])) == 5300


def test_files_that_cannot_be_read_lie_about_their_size_or_have_odd_names_stay_what_they_are(
    readers,
):
    def unreadable():
        raise ItemRejected(Reason.CUT, "cut", data=b"half")

    files = [
        File(name="a.vcf", size=4, read=unreadable),
        File(name="b.vcf", size=3, read=lambda: CARD % (1, 1) * 2_000),
        file(os.fsdecode(b"\xff\xfe.vcf"), CARD % (2, 2)),
        File(
            name="c.vcf",
            size=len(CARD % (3, 3)),
            read=lambda: CARD % (3, 3),
            beside=(file("c.txt", b"x"), file(os.fsdecode(b"\xff"), CARD % (4, 4))),
        ),
        file("empty.vcf", b""),
    ]
    assert any(isinstance(one, Damaged) for one in both(readers, Contacts(), files))


def vouched_file(name, data):
    """A file that is never read but by who vouches for it."""

    def read():
        raise AssertionError(name)

    def vouched():
        head = data[:HEAD_BYTES]
        return Vouched(head=head, length=len(data), sha256=sha256(data).digest(), content=data)

    return File(name=name, size=len(data), read=read, vouched=vouched)


def pictures(count, size=100_000):
    """Different pictures, larger than what is sent by itself."""
    for number in range(count):
        yield JPEG[:2] + b"\xff\xfe\x00\x04%02d" % number + JPEG[2:] + bytes([number]) * size


@pytest.mark.guarantee(13)
def test_what_a_digest_vouches_for_never_travels_and_is_found_all_the_same(readers):
    files = []
    for number, data in enumerate(pictures(70)):
        name = f"{number:03}.jpg"
        files.append(vouched_file(name, data))
        if number % 3 == 0:
            files.append(file(f"{name}.json", b'{"title": "%s"}' % name.encode()))
        if number % 7 == 0:
            files.append(file(f"{number:03}-plain.jpg", data[: len(JPEG) + 6]))
    found = both(readers, Photos(), files)
    assert len(found) == 80
    assert all(isinstance(one, Copy) for one in found)


def test_large_files_come_several_at_once_in_whatever_order_they_are_asked_for(readers):
    whole = [data[: len(JPEG) + 6] for data in pictures(40)]
    large = [data[:-2] + bytes(70_000) + data[-2:] for data in whole]  # zeros: damaged
    far = [file(f"z/{number:03}.json", b"{}") for number in range(5)]
    tables = [file("y.csv", b"imgName,favorite\n001.jpg,yes\n")]
    named = [file(f"{number:03}.jpg", data) for number, data in enumerate([*whole, *large])]
    random.Random(1).shuffle(named)
    found = both(readers, Photos(), [*tables, *named, *far])
    assert sum(isinstance(one, Damaged) for one in found) >= len(large)


def test_a_vouched_file_that_is_other_than_its_digest_or_no_picture_stays_what_it_is(readers):
    def refused():
        raise ItemRejected(Reason.CHECKSUM, "another", data=b"x" * 100_000)

    text = b"no picture" * 10_000
    words = Vouched(head=text[:HEAD_BYTES], length=100_000, sha256=bytes(32), content=text)
    files = [
        File(name="a.jpg", size=100_000, read=refused, vouched=refused),
        File(name="b.jpg", size=100_000, read=lambda: text, vouched=lambda: words),
        *(vouched_file(f"c{number}.jpg", data) for number, data in enumerate(pictures(3))),
    ]
    reasons = [one.reason for one in both(readers, Photos(), files) if isinstance(one, Damaged)]
    assert reasons == [Reason.CHECKSUM, Reason.UNSUPPORTED]


@pytest.mark.guarantee(16)
def test_a_reader_is_given_no_content_that_was_not_sent_to_it(readers, hostile):
    found, _ = parse(readers, hostile, CARD % (1, 1))
    assert len(found) == 1
    with pytest.raises(ItemRejected):
        parse(readers, hostile, b"!claim")


def chunk(kind, data):
    from zlib import crc32  # noqa: PLC0415

    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc32(kind + data))


def png(width, height, rows):
    from zlib import compress  # noqa: PLC0415

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.guarantee(16)
def test_bombs_of_pictures_fail_alone(readers):
    from PIL import Image  # noqa: PLC0415

    files = [
        file("good.png", png(300, 300, (b"\0" + bytes(range(1, 251)) + b"\1" * 50) * 300)),
        file("wide.png", png(200_000, 200_000, b"\0" * 1_000_000)),
        file("more.png", png(8, 8, b"\0\1\1\1\1\1\1\1\1" * 4_000_000)),
        file("long.png", png(60_000, 4_000, b"\0" + b"\1" * 60_000)),
        file("good.tif", tiff_picture(Image)),
        file("cut.tif", tiff_picture(Image)[:-40]),
        file("good2.png", png(8, 8, b"\0\1\1\1\1\1\1\1\2" * 8)),
    ]
    found = both(readers, Photos(), files)
    names = {one.spans[0].file for one in found if not isinstance(one, Damaged)}
    assert {"good.png", "good.tif", "good2.png"} <= names
    assert not {"wide.png", "cut.tif"} & names


def tiff_picture(image):
    from io import BytesIO  # noqa: PLC0415

    written = BytesIO()
    image.effect_noise((64, 64), 50).save(written, "TIFF", compression="tiff_lzw")
    return written.getvalue()


# Where something is missing -------------------------------------------------------------------

BLIND = """
import ctypes, os, struct, sys
from orchestrator import confinement
step = confinement._step
refuse = confinement._step(6, 0x00050000 | 38)
missing = set(sys.argv[1].split(","))
arch, column = confinement._MACHINES[os.uname().machine]
landlock = [444] if "landlock" in missing else []
seccomp = [(157, 167)[column], 317 if not column else 277] if "seccomp" in missing else []
program = step(0x20, 0)
for number in landlock:
    program += step(0x15, number, otherwise=1) + refuse
for number in seccomp[:1]:  # prctl(PR_SET_SECCOMP, …)
    program += step(0x15, number, otherwise=3) + step(0x20, 16) + step(0x15, 22, otherwise=1)
    program += refuse + step(0x20, 0)
program += step(6, 0x7FFF0000)
library = ctypes.CDLL(None)
assert library.prctl(38, 1, 0, 0, 0) == 0
code = ctypes.create_string_buffer(program, len(program))
asked = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
assert library.prctl(22, 2, asked, 0, 0) == 0
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


def on_a_kernel_without(missing, *words):
    """Run Python where these system calls answer as on a kernel that does not have them."""
    return subprocess.run(
        [sys.executable, "-c", BLIND, missing, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(
    platform.machine() not in confinement._MACHINES, reason="no filter is known for this machine"
)
@pytest.mark.parametrize(
    ("missing", "lost"),
    [
        ("landlock", {"reading files"}),
        ("seccomp", {"processes", "network"}),
        ("landlock,seccomp", {"processes", "network", "reading files", "programs"}),
    ],
)
def test_a_kernel_that_lacks_something_is_made_do_with_and_doctor_says_so(missing, lost):
    program = (
        "import json; from tests.faults.test_sandbox import *; from msgspec import to_builtins\n"
        "checks = {word: to_builtins(doctor._sandbox(Settings.read("
        "{'REINSTATE_SANDBOX': word}))) for word in ('auto', 'required')}\n"
        "made = Readers(seconds=5.0); count = len(parse(made, Contacts(), CARD % (1, 1))[0])\n"
        "made.close(); print(json.dumps({'count': count, **checks}), flush=True)\n"
        "made = Readers(seconds=5.0, start=lambda: Template(strictness='required'))\n"
        "try: parse(made, Contacts(), CARD % (1, 1))\n"
        "finally: made.close()"
    )
    ended = on_a_kernel_without(missing, "-c", program)
    told = json.loads(ended.stdout)
    assert told["auto"]["ok"]
    assert not told["required"]["ok"]
    for name in missing.split(","):
        assert name in told["auto"]["fix"].lower()
    for name in lost:
        assert name in told["auto"]["found"]
    assert told["count"] == 1
    assert "ItemRejected" in ended.stderr


def test_doctor_tells_that_the_sandbox_is_off_and_what_holds_where_it_is_on():
    off = doctor._sandbox(Settings.read({"REINSTATE_SANDBOX": "off"}))
    assert off.ok
    assert "themselves" in off.found
    held = prove()
    said = doctor._sandbox(Settings.read({}))
    assert ("seccomp" in said.found) == held.confined.seccomp
    assert ("Landlock" in said.found) == bool(held.confined.landlock)
    assert bool(said.fix) != held.confined.complete


def test_workers_that_must_be_confined_do_not_start_where_they_cannot():
    whole = Settings.read({"REINSTATE_SANDBOX": "required"})
    if prove().confined.complete:
        prove_confinable(whole)
    program = (
        "from orchestrator.readiness import *\n"
        "prove_confinable(Settings.read({'REINSTATE_SANDBOX': 'required'}))"
    )
    assert "Refused" in on_a_kernel_without("landlock", "-c", program).stderr
    with pytest.raises(Refused):
        Settings.read({"REINSTATE_SANDBOX": "maybe"})


@pytest.mark.parametrize("category", ["contacts", "calendar", "notes", "tasks", "photos"])
def test_real_files_are_the_same_to_readers(readers, category):
    kind = category_kind(category)()
    listed = [(path, corpus_bytes(path, label)) for path, label in corpus_files(category)[::4]]
    assert len(both(readers, kind, [file(name, data) for name, data in listed])) > 10
