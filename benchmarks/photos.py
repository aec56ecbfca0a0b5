"""P5: photos from folders into a folder and into an object store, against rclone and cp + sha256.

    PYTHONPATH=. python benchmarks/photos.py [--rounds 3] [--small 2400] [--large 48] [--disk DIR]

The same JPEGs, all different, of about 100 kB and 5 MB, in a folder a user. Ours is the real
conductor and a worker process a core, from the approval to the finished run, in two ways:

- *ours, digests known*: the folder is a bag whose manifest was made before the loss (`digests:
  before-loss`): every picture hashed, compared with the manifest, looked for, journalled, written,
  made durable, read back, compared. What the others do, with every promise.
- *ours*: nothing is known of the pictures, so each is decoded as well.

And the others:

- *rclone*: `rclone copy --checksum` with as many transfers as we have connections (16), which
  hashes what it wrote; it decodes nothing, and waits for no disk.
- *cp + sha256*: `cp` of a user's folder, `sync` of its file system, `sha256sum` of both sides and
  a comparison; as many users at once as cores.
- *and decoded*: the same, with every picture checked by our decoder in a bare pool of processes:
  what is left between this and *ours* is what the promises cost.

Into the store (rclone's `serve s3`, the same for both) ours stands against `rclone copy` only. All
ways take turns; printed are medians with the least and most, and the ratios of the same round, like
with like; and of the processor's time, all processes of a way added up (the store's are in none),
which other load on the machine spoils less. That everything arrived is counted after each, untimed.
"""

import argparse
import hashlib
import io
import os
import platform
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from benchmarks.stand import figures, processor
from benchmarks.stand.crew import PROCESSES, Spent, Task, carried_out, quiet
from tests.object_stores import KEY as S3_KEY
from tests.object_stores import SECRET, Rclone, rclone
from workers.formats.images import examine

OF_A_USER = 50
"""So many pictures has each user at most; of large ones there are fewer to a user."""
LEAST_USERS = 8
CONNECTIONS = 16
SIZES = {"100 kB": (640, 480), "5 MB": (3072, 2304)}
PLAN = """
version: 1
name: photos
incident: {{as_of: 2009-10-01T00:00:00Z, service_start: 2002-01-01T00:00:00Z}}
sources: {{backup: {source}}}
targets: {{live: {target}}}
waves: [{{name: everyone}}]
phases: [{{restore: photos, to: live}}]
approvals: 1
"""
UNKNOWN = "{kind: vdir, path: material/data}"
KNOWN = "{kind: bag, path: material, digests: before-loss}"
OURS, VOUCHED = "ours", "ours, digests known"
PEERS = {
    "rclone copy --checksum": VOUCHED,
    "cp + sha256": VOUCHED,
    "cp + sha256, and decoded": OURS,
}
"""Against what each way of the others stands."""
S3 = """{{kind: objects, url: "s3://{bucket}/p", endpoint: "{endpoint}",
  access_key: env:S3_KEY, secret_key: env:S3_SECRET}}"""


def material(folder: Path, size: tuple[int, int], files: int) -> int:
    """A bag of pictures that all differ, alike in size; their bytes together."""
    chance = random.Random(2009)
    width, height = size
    noise = Image.frombytes(
        "RGB", (width // 2, height // 2), chance.randbytes(width * height // 4 * 3)
    )
    written = io.BytesIO()
    noise.resize(size, Image.Resampling.BILINEAR).save(written, "JPEG", quality=80)
    picture = written.getvalue()
    total = 0
    lines: list[str] = []
    for number in range(files):
        mark = f"picture {number}".encode()
        comment = b"\xff\xfe" + (len(mark) + 2).to_bytes(2, "big") + mark
        data = picture[:2] + comment + picture[2:]
        owner = f"user{number % users_of(files):03}"
        path = folder / "data" / owner / "photos" / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        total += path.write_bytes(data)
        lines.append(f"{hashlib.sha256(data).hexdigest()}  {path.relative_to(folder)}\n")
    (folder / "bagit.txt").write_text(
        "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n", encoding="utf-8"
    )
    (folder / "manifest-sha256.txt").write_text("".join(lines), encoding="utf-8")
    return total


def users_of(files: int) -> int:
    """Whose they are."""
    return max(LEAST_USERS, files // OF_A_USER)


def restored(folder: Path, source: str, target: str, files: int, *, processes: int) -> Spent:
    """From approval to the finished run; raises where anything is missing."""
    home = Path(tempfile.mkdtemp(prefix="ledger-", dir=folder))
    task = Task(
        text=PLAN.format(source=source, target=target),
        folder=folder,
        items=files,
        ledger=f"sqlite:///{home / 'ledger.db'}",
        batch_users=max(1, users_of(files) // processes // 2),
        settings={"S3_KEY": S3_KEY, "S3_SECRET": SECRET},
    )
    return carried_out(task, processes=processes, processor=processor.ours, noticing=True)


def spent_by(way: Callable[[], None]) -> Spent:
    """What a way takes that is done when it returns."""
    before, began = processor.ours(), time.perf_counter()
    way()
    return Spent(seconds=time.perf_counter() - began, processor=processor.ours() - before)


def copied(source: Path, target: str, *settings: str) -> None:
    """`rclone copy --checksum`."""
    words = ["copy", "--checksum", "--transfers", str(CONNECTIONS), "--config", "/dev/null"]
    subprocess.run([str(rclone()), *words, *settings, str(source), target], check=True)


def by_hand(source: Path, target: Path, *, processes: int) -> None:
    """cp, sync, and sha256sum of both sides."""

    def sums(folder: Path) -> list[str]:
        names = sorted(path.name for path in folder.iterdir())
        told = subprocess.run(
            ["sha256sum", "--", *names], cwd=folder, check=True, capture_output=True
        )
        return [line.split()[0] for line in told.stdout.decode().splitlines()]

    def one(user: Path) -> None:
        there = target / user.name
        subprocess.run(["cp", "-r", str(user), str(there)], check=True)
        subprocess.run(["sync", "-f", str(there)], check=True)
        assert sums(user / "photos") == sums(there / "photos")

    target.mkdir()
    with ThreadPoolExecutor(processes) as crew:
        list(crew.map(one, source.iterdir()))


def decoded(path: Path) -> None:
    """Raises where the picture is not whole."""
    examine(path.read_bytes())


def by_hand_decoded(source: Path, target: Path, *, processes: int) -> Spent:
    """The same, and every picture decoded."""
    with PROCESSES.Pool(processes) as crew:
        first = sorted(source.rglob("*.jpg"))[: 4 * processes]
        crew.map(decoded, first)  # warm

        def both() -> None:
            crew.map(decoded, source.rglob("*.jpg"), chunksize=4)
            by_hand(source, target, processes=processes)

        return spent_by(both)


def hashes(folder: Path) -> list[str]:
    paths = (path for path in folder.rglob("*.jpg") if path.is_file())
    return sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)


def measure(folder: Path, store: Rclone, name: str, files: int, given: argparse.Namespace) -> None:
    """Print what each way does with pictures of that size."""
    bag = folder / "material"
    total = material(bag, SIZES[name], files)
    source = bag / "data"
    expected = hashes(source)
    place, processes = folder / "there", given.processes

    def to_folder(spent: Spent) -> Spent:
        assert hashes(place) == expected
        shutil.rmtree(place)
        return spent

    def to_store(way: Callable[[str], Spent]) -> Spent:
        bucket = store.bucket()
        spent = way(bucket)
        assert hashes(store.folder / "data" / bucket) == expected
        store.drop(bucket)
        return spent

    def ours(known: str, target: str) -> Spent:
        return restored(folder, known, target, files, processes=processes)

    def bucket_of(bucket: str) -> str:
        return S3.format(bucket=bucket, endpoint=store.endpoint)

    remote = (
        f":s3,provider=Other,endpoint='{store.endpoint}',access_key_id={S3_KEY},"
        f"secret_access_key={SECRET},no_check_bucket=true:"
    )
    there = "{kind: vdir, path: there}"
    rcloned, summed, checked = PEERS
    groups: dict[str, dict[str, Callable[[], Spent]]] = {
        "into a folder": {
            VOUCHED: lambda: to_folder(ours(KNOWN, there)),
            OURS: lambda: to_folder(ours(UNKNOWN, there)),
            rcloned: lambda: to_folder(spent_by(lambda: copied(source, str(place)))),
            summed: lambda: to_folder(
                spent_by(lambda: by_hand(source, place, processes=processes))
            ),
            checked: lambda: to_folder(by_hand_decoded(source, place, processes=processes)),
        },
        "into S3": {
            VOUCHED: lambda: to_store(lambda bucket: ours(KNOWN, bucket_of(bucket))),
            OURS: lambda: to_store(lambda bucket: ours(UNKNOWN, bucket_of(bucket))),
            rcloned: lambda: to_store(
                lambda bucket: spent_by(lambda: copied(source, f"{remote}{bucket}/p"))
            ),
        },
    }
    for where in given.into:
        ways = groups[f"into {where}"]
        times: dict[str, list[Spent]] = {way: [] for way in ways}
        for turn in range(given.rounds):
            order = list(ways)
            turn %= len(order)  # noqa: PLW2901  the first of this round
            for way in order[turn:] + order[:turn]:
                times[way].append(ways[way]())
        report(f"{files} photos of {total / files / 1e3:,.0f} kB into {where}", times, files, total)
    shutil.rmtree(bag)


def report(what: str, times: dict[str, list[Spent]], files: int, total: int) -> None:
    print(what)
    for way, spent in times.items():
        seconds = [one.seconds for one in spent]
        middle = statistics.median(seconds)
        computed = statistics.median(one.processor for one in spent)
        print(
            f"  {way:<26} {files / middle:8.1f} files/s  {total / middle / 1e6:7.1f} MB/s"
            f"   ({files / max(seconds):.1f} to {files / min(seconds):.1f} files/s),"
            f" {computed / files * 1e3:.2f} ms of the processor a file"
        )
    for way, mine in PEERS.items():
        if way in times:
            pairs = list(zip(times[mine], times[way], strict=True))
            told = [
                figures.spread([theirs.seconds / own.seconds for own, theirs in pairs]),
                figures.spread([theirs.processor / own.processor for own, theirs in pairs]),
            ]
            print(f"  {mine} / {way}: {told[0]}; by processor time {told[1]}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=int, default=2400, help="photos of 100 kB")
    parser.add_argument("--large", type=int, default=48, help="photos of 5 MB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--into", nargs="+", choices=["a folder", "S3"], default=["a folder", "S3"])
    parser.add_argument("--disk", help="the folder to work in")
    given = parser.parse_args()
    quiet()
    told = subprocess.run([str(rclone()), "version"], check=True, capture_output=True, text=True)
    print(
        f"P5: {given.processes} processes on {os.cpu_count()} cores ({platform.machine()}), "
        f"CPython {platform.python_version()}, {told.stdout.splitlines()[0]}, "
        f"load {os.getloadavg()[0]:.1f}"
    )
    store = Rclone()
    folder = Path(tempfile.mkdtemp(prefix="reinstate-photos-", dir=given.disk))
    try:
        for name, files in (("100 kB", given.small), ("5 MB", given.large)):
            if files:
                measure(folder, store, name, files, given)
    finally:
        store.stop()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
