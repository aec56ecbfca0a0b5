"""The vdir target when the process dies, the disk fills, or somebody put traps where files go."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from itertools import count

import pytest

from orchestrator.errors import Unavailable
from orchestrator.items import Attachment, UserId
from orchestrator.ports import Fate, Place, Surroundings
from tests.conformance.target_example import create, removal, replace
from workers.storage import durable, item_files
from workers.targets.vdir import Vdir

OWNER = UserId("anna")
WATCHED = {
    "open",
    "os.link",
    "os.rename",
    "os.mkdir",
    "os.remove",
    "os.rmdir",
    "os.utime",
    "os.listdir",
    "fcntl.flock",
}


def opened(folder, **options):
    surroundings = Surroundings(
        folder=folder, secret=lambda text: text, clock=lambda: datetime.now(UTC)
    )
    return Vdir(path="live", **options).open(surroundings)


@pytest.fixture
def target(tmp_path):
    (tmp_path / "live").mkdir()
    return opened(tmp_path)


def holds(target, *owners):
    entries = list(target.survey("contacts", list(owners)))
    places = [Place(owner=e.owner, ref=e.ref) for e in entries]
    return {
        (live.entry.owner, live.entry.ref): (live.content, frozenset(live.attachments))
        for live in target.fetch("contacts", places)
    }


def killed_at(number, work):
    """Whether a forked process was killed before its `number`-th step in `work`."""
    child = os.fork()
    if child == 0:
        steps = count(1)

        def watch(event, arguments):
            del arguments
            if event in WATCHED and next(steps) == number:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(watch)
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def parts(*names):
    return [Attachment(name=name, data=f"part {name}".encode()) for name in names]


def test_killed_anywhere_while_creating_nothing_is_half_and_a_retry_completes(tmp_path):
    survived = False
    for number in count(1):
        folder = tmp_path / str(number)
        (folder / "live").mkdir(parents=True)
        target = opened(folder)
        writes = [
            create(target, "anna", "plain", b"plain card"),
            create(target, "anna", "photo", b"pixels", attachments=parts("one", "two")),
            create(target, "bert", "photo", b"others", attachments=parts("one")),
        ]
        whole = {(w.owner, w.ref): (w.item.content, frozenset(w.item.attachments)) for w in writes}
        survived = not killed_at(number, lambda t=target, w=writes: t.write("contacts", w))
        found = {
            place: held for place, held in holds(target, "anna", "bert").items() if place in whole
        }
        assert found.items() <= whole.items()
        answers = target.write("contacts", writes)
        for write, answer in zip(writes, answers, strict=True):
            there = (write.owner, write.ref) in found
            assert answer.fate is (Fate.CONFLICT if there else Fate.DONE)
        assert holds(target, "anna", "bert") == whole
        assert not (folder / "live" / ".reinstate").exists()
        if survived:
            break
    assert number > 15


def test_killed_anywhere_while_replacing_the_live_item_is_old_or_new(tmp_path):
    survived = False
    for number in count(1):
        folder = tmp_path / str(number)
        (folder / "live").mkdir(parents=True)
        target = opened(folder, exclusive=True)
        target.write("contacts", [create(target, "anna", "a", b"old", attachments=parts("one"))])
        [before] = target.survey("contacts", ["anna"])
        write = replace(before, b"new", attachments=parts("one", "two"))
        survived = not killed_at(number, lambda t=target, w=write: t.write("contacts", [w]))
        [(content, attachments)] = holds(target, "anna").values()
        assert content in {b"old", b"new"}
        assert set(parts("one")) <= attachments
        [entry] = target.survey("contacts", ["anna"])
        if content == b"old":
            assert entry.modified == before.modified  # does not look changed by its user
            assert attachments <= set(parts("one", "two"))
            again = replace(entry, b"new", attachments=parts("one", "two"))
            assert target.write("contacts", [again])[0].fate is Fate.DONE
        assert list(holds(target, "anna").values()) == [(b"new", frozenset(parts("one", "two")))]
        if survived:
            break
    assert number > 10


def test_killed_anywhere_while_removing_the_next_removal_leaves_nothing(tmp_path):
    survived = False
    for number in count(1):
        folder = tmp_path / str(number)
        (folder / "live").mkdir(parents=True)
        target = opened(folder, exclusive=True)
        kept = create(target, "anna", "kept", b"kept", attachments=parts("one"))
        going = create(target, "anna", "going", b"going", attachments=parts("one", "two"))
        target.write("contacts", [kept, going])
        entries = {entry.ref: entry for entry in target.survey("contacts", ["anna"])}
        asked = [removal(entries[going.ref])]
        survived = not killed_at(number, lambda t=target, a=asked: t.remove("contacts", a))
        found = holds(target, "anna")
        whole = ("anna", going.ref) in found
        if whole:
            assert found["anna", going.ref] == (b"going", frozenset(parts("one", "two")))
        [answer] = target.remove("contacts", asked)
        assert answer.fate is (Fate.DONE if whole else Fate.CONFLICT)
        assert holds(target, "anna") == {("anna", kept.ref): (b"kept", frozenset(parts("one")))}
        names = sorted(path.name for path in (folder / "live" / "anna" / "contacts").iterdir())
        assert names == ["kept.vcf", "kept.vcf.one"]
        if survived:
            break
    assert number > 5


def test_an_item_that_somebody_makes_in_the_last_moment_gets_none_of_our_attachments(
    target, tmp_path
):
    write = create(target, OWNER, "a", b"ours", attachments=parts("one"))
    path = tmp_path / "live" / "anna" / "contacts" / write.ref
    child = os.fork()
    if child == 0:

        def interfere(event, arguments):
            del arguments
            if event == "os.link":
                path.write_bytes(b"hers")

        status = 1
        try:
            sys.addaudithook(interfere)
            [answer] = target.write("contacts", [write])
            status = 0 if answer.fate is Fate.CONFLICT else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert holds(target, OWNER) == {(OWNER, write.ref): (b"hers", frozenset())}


def test_what_the_dead_staged_is_removed_by_the_next_writer(target, tmp_path):
    staging = tmp_path / "live" / ".reinstate"
    staging.mkdir()
    (staging / "left-0").write_bytes(b"of the dead")
    target.write("contacts", [create(target, OWNER, "a", b"x")])
    assert not staging.exists()


def test_what_the_living_staged_stays(target, tmp_path):
    staging = tmp_path / "live" / ".reinstate"
    with durable.opened(tmp_path / "live") as root:
        with durable.Staging(root, ".reinstate", mode=0o600, files=1) as living:
            name = living.put(b"under way")
            target.write("contacts", [create(target, OWNER, "a", b"x")])
            assert (staging / name).read_bytes() == b"under way"
        assert not staging.exists()


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 512 KiB; needs the right to mount."""
    disk = tmp_path / "live"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k,mode=0700", "tmpfs", disk]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("cannot mount a small disk here (needs root)")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_full_disk_is_unavailable_with_a_hint_and_leaves_nothing(small_disk, tmp_path):
    target = opened(tmp_path)
    target.write("contacts", [create(target, OWNER, "first", b"x")])
    large = [create(target, OWNER, f"i{n}", b"x" * 65536) for n in range(20)]
    with pytest.raises(Unavailable) as error:
        target.write("contacts", large)
    assert "space" in error.value.hint
    assert error.value.retry_in
    assert [path.name for path in small_disk.rglob("*.vcf")] == ["first.vcf"]
    assert not (small_disk / ".reinstate").exists()
    assert {a.fate for a in target.write("contacts", large[:3])} == {Fate.DONE}


def test_a_read_only_disk_is_unavailable_with_a_hint(small_disk, tmp_path):
    target = opened(tmp_path)
    target.write("contacts", [create(target, OWNER, "first", b"x")])
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(Unavailable) as error:
        target.write("contacts", [create(target, OWNER, "second", b"x")])
    assert error.value.hint == "mount it for writing"
    with pytest.raises(Unavailable):
        target.inspect(["contacts"])
    assert len(holds(target, OWNER)) == 1


def test_a_user_on_another_disk_is_unavailable_with_a_hint(small_disk, tmp_path):
    surroundings = Surroundings(
        folder=tmp_path, secret=lambda text: text, clock=lambda: datetime.now(UTC)
    )
    target = Vdir(path=".").open(surroundings)  # the small disk is the folder of user "live"
    with pytest.raises(Unavailable) as error:
        target.write("contacts", [create(target, "live", "a", b"x")])
    assert error.value.hint == "keep the whole tree on one file system"
    assert list(small_disk.rglob("*.vcf")) == []


def test_an_item_over_the_file_size_limit_is_refused_alone(target):
    def work():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        writes = [create(target, OWNER, f"i{size}", b"x" * size) for size in (10, 200_000, 20)]
        fates = [answer.fate for answer in target.write("contacts", writes)]
        os._exit(0 if fates == [Fate.DONE, Fate.REFUSED, Fate.DONE] else 1)

    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert {ref for _, ref in holds(target, OWNER)} == {"i10.vcf", "i20.vcf"}


def test_a_link_in_a_folders_place_is_not_followed(target, tmp_path):
    outside = tmp_path / "outside"
    (outside / "contacts").mkdir(parents=True)
    (outside / "contacts" / "hers.vcf").write_bytes(b"of somebody else")
    (tmp_path / "live" / "anna").symlink_to(outside)
    (tmp_path / "live" / "bert").mkdir()
    (tmp_path / "live" / "bert" / "contacts").symlink_to(outside / "contacts")
    for owner in ("anna", "bert"):
        for call in (
            lambda o=owner: target.write("contacts", [create(target, o, "a", b"x")]),
            lambda o=owner: list(target.survey("contacts", [o])),
            lambda o=owner: target.fetch("contacts", [Place(owner=o, ref="hers.vcf")]),
        ):
            with pytest.raises(Unavailable) as error:
                call()
            assert "link" in error.value.hint
    assert [path.name for path in outside.rglob("*.vcf")] == ["hers.vcf"]


def test_what_is_no_file_is_neither_followed_nor_overwritten_nor_waited_for(target, tmp_path):
    folder = tmp_path / "live" / "anna" / "contacts"
    folder.mkdir(parents=True)
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    (folder / "link.vcf").symlink_to(secret)
    (folder / "dangling.vcf").symlink_to(tmp_path / "nowhere")
    (folder / "folder.vcf").mkdir()
    os.mkfifo(folder / "fifo.vcf")
    names = ("link", "dangling", "folder", "fifo")
    assert list(target.survey("contacts", [OWNER])) == []
    places = [Place(owner=OWNER, ref=f"{name}.vcf") for name in names]
    assert target.fetch("contacts", places) == [None] * 4
    writes = [create(target, OWNER, name, b"x") for name in (*names, "fine")]
    writes.append(create(target, OWNER, "link", b"x", attachments=parts("one")))
    fates = [answer.fate for answer in target.write("contacts", writes)]
    assert fates == [Fate.REFUSED] * 4 + [Fate.DONE, Fate.REFUSED]
    assert secret.read_bytes() == b"secret"
    assert not (tmp_path / "nowhere").exists()


def test_files_of_no_item_are_not_surveyed(target, tmp_path):
    folder = tmp_path / "live" / "anna" / "contacts"
    folder.mkdir(parents=True)
    for name in (".hidden.vcf", "half.vcf.tmp", "displayname", "color", ".reinstate"):
        (folder / name).write_bytes(b"x")
    assert list(target.survey("contacts", [OWNER])) == []


def test_a_file_of_many_dots_is_an_item_unless_its_item_is_there(target, tmp_path):
    folder = tmp_path / "live" / "anna" / "contacts"
    folder.mkdir(parents=True)
    (folder / "anna.b.vcf").write_bytes(b"by hand")
    (folder / "pic.jpg.json").write_bytes(b"alone")
    assert {e.ref for e in target.survey("contacts", [OWNER])} == {"anna.b.vcf", "pic.jpg.json"}
    (folder / "pic.jpg").write_bytes(b"pixels")
    assert {e.ref for e in target.survey("contacts", [OWNER])} == {"anna.b.vcf", "pic.jpg"}


def test_a_file_whose_name_is_no_utf_8_is_surveyed_and_fetched(target, tmp_path):
    folder = tmp_path / "live" / "anna" / "contacts"
    folder.mkdir(parents=True)
    (folder / os.fsdecode(b"caf\xe9.vcf")).write_bytes(b"latin")
    [entry] = target.survey("contacts", [OWNER])
    entry.ref.encode()
    [live] = target.fetch("contacts", [Place(owner=OWNER, ref=entry.ref)])
    assert (live.content, entry.ident) == (b"latin", None)


def test_the_probe_never_removes_what_is_not_its_own(target, tmp_path):
    kept = tmp_path / "live" / "reinstate-probe" / "contacts" / "real.vcf"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"of a user who is really called that")
    target.inspect(["contacts"])
    assert [path.name for path in kept.parent.iterdir()] == ["real.vcf"]


def test_a_replace_waits_for_whoever_holds_the_folders_lock(tmp_path):
    (tmp_path / "live").mkdir()
    target = opened(tmp_path, exclusive=True)
    target.write("contacts", [create(target, OWNER, "a", b"old")])
    [entry] = target.survey("contacts", [OWNER])
    path = tmp_path / "live" / "anna" / "contacts"
    script = f"echo ready; sleep 0.5; printf hers > {path / 'a.vcf'}"
    with subprocess.Popen(["flock", path, "sh", "-c", script], stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"ready\n"
        answers = target.write("contacts", [replace(entry, b"ours")])
    assert answers[0].fate is Fate.CONFLICT
    assert (path / "a.vcf").read_bytes() == b"hers"


def test_a_lock_that_is_never_given_back_is_unavailable(tmp_path, monkeypatch):
    monkeypatch.setattr(durable, "PATIENCE", 0.2)
    (tmp_path / "live").mkdir()
    target = opened(tmp_path, exclusive=True)
    target.write("contacts", [create(target, OWNER, "a", b"old")])
    with (
        durable.opened(tmp_path / "live" / "anna" / "contacts") as folder,
        durable.locked(folder),
        pytest.raises(Unavailable) as error,
    ):
        target.write("contacts", [create(target, OWNER, "b", b"x")])
    assert error.value.retry_in
    assert (OWNER, "b.vcf") not in holds(target, OWNER)


def test_a_file_that_changes_while_it_is_read_is_read_whole(target, tmp_path):
    path = tmp_path / "live" / "anna" / "contacts" / "a.vcf"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"0" * 100_000)
    stop = threading.Event()

    def rewrite():
        for number in count(1):
            path.with_suffix(".tmp").write_bytes(b"%d" % (number % 10) * 100_000)
            path.with_suffix(".tmp").replace(path)
            if stop.wait(0.002):
                return

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            try:
                [live] = target.fetch("contacts", [Place(owner=OWNER, ref="a.vcf")])
            except Unavailable:
                continue
            assert len(live.content) == 100_000
            assert len(set(live.content)) == 1
    finally:
        stop.set()
        writer.join()


def test_made_files_and_folders_are_for_their_owner_only_or_for_the_group(tmp_path):
    for options, file, folder in (({}, 0o600, 0o700), ({"group": True}, 0o660, 0o770)):
        base = tmp_path / str(len(options))
        base.mkdir()
        target = opened(base, **options)
        target.inspect(["contacts"])
        target.write("contacts", [create(target, OWNER, "a", b"x", attachments=parts("p"))])
        for path in (base / "live" / "anna").rglob("*"):
            assert path.stat().st_mode & 0o777 == (folder if path.is_dir() else file)


def test_a_missing_folder_is_made_at_inspection_only(tmp_path):
    target = opened(tmp_path)
    with pytest.raises(Unavailable):
        target.write("contacts", [create(target, OWNER, "a", b"x")])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(Unavailable):
        opened(tmp_path, create=False).inspect(["contacts"])
    target.inspect(["contacts"])
    assert [path.name for path in tmp_path.iterdir()] == ["live"]


@pytest.fixture
def crowded(tmp_path, monkeypatch):
    """A folder with many files of others, and how often it is listed from now on."""
    folder = tmp_path / "live" / "anna" / "contacts"
    folder.mkdir(parents=True)
    for number in range(1_200):
        (folder / f"old{number}.vcf").write_bytes(b"")
    listed, listing = [], item_files.listing
    monkeypatch.setattr(item_files, "listing", lambda at: listed.append(at) or listing(at))
    return folder, listed


def test_a_crowded_folder_is_listed_once_however_many_chunks_are_written(tmp_path, crowded):
    _, listed = crowded
    target = opened(tmp_path)
    for number in range(20):
        some = parts("sidecar") if number % 2 else []
        writes = [
            create(target, OWNER, f"i{number}-{n}", b"%d" % n, attachments=some) for n in range(5)
        ]
        assert {a.fate for a in target.write("contacts", writes)} == {Fate.DONE}
        lives = target.fetch("contacts", [Place(owner=OWNER, ref=w.ref) for w in writes])
        assert [live.content for live in lives] == [b"%d" % n for n in range(5)]
        assert all(list(live.attachments) == some for live in lives)
    assert len(listed) == 1


def test_what_others_put_into_a_crowded_folder_is_seen(tmp_path, crowded):
    folder, _ = crowded
    target = opened(tmp_path, exclusive=True)
    write = create(target, OWNER, "a", b"x")
    for data in (b"1", b"2"):
        target.write("contacts", [write])
        time.sleep(0.02)  # a folder's time of change goes in steps
        (folder / f"{write.ref}.theirs").write_bytes(data)
        [live] = target.fetch("contacts", [Place(owner=OWNER, ref=write.ref)])
        assert [part.data for part in live.attachments] == [data]
    [entry] = [e for e in target.survey("contacts", [OWNER]) if e.ref == write.ref]
    added = replace(entry, b"y", attachments=[*live.attachments, *parts("ours")])
    assert target.write("contacts", [added])[0].fate is Fate.DONE
    [live] = target.fetch("contacts", [Place(owner=OWNER, ref=write.ref)])
    assert {part.name for part in live.attachments} == {"theirs", "ours"}
