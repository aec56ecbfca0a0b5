"""P5: photos from folders into a folder and into an object store, against rclone and cp + sha256.

    PYTHONPATH=. python benchmarks/photos.py [--rounds 3] [--small 400] [--large 40] [--disk DIR]

The same JPEGs, all different, of about 100 kB and 5 MB, in a folder a user:

- *ours*: the real conductor and a worker process a core, from the approval to the finished run:
  every picture decoded, hashed, looked for, journalled, written, made durable, read back, compared.
- *rclone*: `rclone copy --checksum` with as many transfers as we have connections (16), which
  hashes what it wrote; it decodes nothing, and waits for no disk.
- *cp + sha256*: `cp` of a user's folder, `sync` of its file system, `sha256sum` of both sides and
  a comparison; as many users at once as cores.
- *and decoded*: the same, with every picture checked by our decoder in a bare pool of processes:
  what is left between this and ours is what the promises cost.

Into the store (rclone's `serve s3`, the same for both) ours stands against `rclone copy` only. All
ways take turns; printed are medians with the least and most, and the ratios of the same round. That
everything arrived is counted after each, untimed.
"""

import argparse
import base64
import hashlib
import io
import os
import platform
import random
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image
from restoration import KEY, PROCESSES, SEALER, Pipe, quiet, worker

from orchestrator.audit import audit
from orchestrator.conductor import Conductor, keep_going
from orchestrator.ledger.database import Ledger
from orchestrator.lifecycle import TERMINAL_RUNS, RunState
from orchestrator.planner import read_plan
from orchestrator.progress import Progress
from orchestrator.runs import Runs, Submission
from tests.object_stores import KEY as S3_KEY
from tests.object_stores import SECRET, Rclone, rclone
from workers.formats.images import examine

USERS = 8
CONNECTIONS = 16
SIZES = {"100 kB": (640, 480), "5 MB": (3072, 2304)}
PLAN = """
version: 1
name: photos
incident: {{as_of: 2009-10-01T00:00:00Z, service_start: 2002-01-01T00:00:00Z}}
sources: {{backup: {{kind: vdir, path: material}}}}
targets: {{live: {target}}}
waves: [{{name: everyone}}]
phases: [{{restore: photos, to: live}}]
approvals: 1
"""
S3 = """{{kind: objects, url: "s3://{bucket}/p", endpoint: "{endpoint}",
  access_key: env:S3_KEY, secret_key: env:S3_SECRET}}"""


def material(folder: Path, size: tuple[int, int], files: int) -> int:
    """Pictures that all differ, alike in size; their bytes together."""
    chance = random.Random(2009)
    width, height = size
    noise = Image.frombytes(
        "RGB", (width // 2, height // 2), chance.randbytes(width * height // 4 * 3)
    )
    written = io.BytesIO()
    noise.resize(size, Image.Resampling.BILINEAR).save(written, "JPEG", quality=80)
    picture = written.getvalue()
    total = 0
    for number in range(files):
        mark = f"picture {number}".encode()
        comment = b"\xff\xfe" + (len(mark) + 2).to_bytes(2, "big") + mark
        path = folder / f"user{number % USERS}" / "photos" / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        total += path.write_bytes(picture[:2] + comment + picture[2:])
    return total


def restored(folder: Path, target: str, files: int, *, processes: int) -> float:
    """Seconds from approval to the finished run; raises where anything is missing."""
    home = Path(tempfile.mkdtemp(prefix="ledger-", dir=folder))
    url = f"sqlite:///{home / 'ledger.db'}"
    ledger = Ledger(url)
    ledger.prepare()
    text = PLAN.format(target=target)
    plan = read_plan(text.encode(), path="plan.yaml", base=folder)
    rings, warm = PROCESSES.Queue(), PROCESSES.Barrier(processes + 1)
    settings = {
        "REINSTATE_LEDGER_URL": url,
        "REINSTATE_KEY": base64.b64encode(KEY).decode(),
        "REINSTATE_WORKERS": str(processes),
        "S3_KEY": S3_KEY,
        "S3_SECRET": SECRET,
    }
    crew = [
        PROCESSES.Process(target=worker, args=(settings, rings, warm)) for _ in range(processes)
    ]
    for one in crew:
        one.start()
    warm.wait()
    stopped = threading.Event()
    conductor = Conductor(ledger, Pipe(rings), name="benchmark", batch_users=USERS // processes)
    thread = threading.Thread(target=keep_going, args=[conductor], kwargs={"stopped": stopped})
    runs, progress = Runs(ledger, SEALER), Progress(ledger, SEALER)
    try:
        run = runs.submit(Submission(plan=plan, text=text, folder=str(folder), author="mia"))
        thread.start()
        while (state := progress.state(run)) is not RunState.AWAITING_APPROVAL:
            assert state not in TERMINAL_RUNS, state
            time.sleep(0.01)
        began = time.perf_counter()
        runs.approve(run, who="jo", reason="a benchmark")
        while progress.state(run) not in TERMINAL_RUNS:
            time.sleep(0.01)
        spent = time.perf_counter() - began
        books = progress.status(run).books
        assert (books.restored, books.items) == (files, files), books
        assert audit(ledger, run) == []
    finally:
        stopped.set()
        thread.join()
        for _ in crew:
            rings.put(None)
        for one in crew:
            one.join()
        ledger.close()
    return spent


def copied(source: Path, target: str, *settings: str) -> float:
    """`rclone copy --checksum`."""
    words = ["copy", "--checksum", "--transfers", str(CONNECTIONS), "--config", "/dev/null"]
    began = time.perf_counter()
    subprocess.run([str(rclone()), *words, *settings, str(source), target], check=True)
    return time.perf_counter() - began


def by_hand(source: Path, target: Path, *, processes: int) -> float:
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

    began = time.perf_counter()
    target.mkdir()
    with ThreadPoolExecutor(processes) as crew:
        list(crew.map(one, source.iterdir()))
    return time.perf_counter() - began


def decoded(path: Path) -> None:
    """Raises where the picture is not whole."""
    examine(path.read_bytes())


def by_hand_decoded(source: Path, target: Path, *, processes: int) -> float:
    """The same, and every picture decoded."""
    with PROCESSES.Pool(processes) as crew:
        first = sorted(source.rglob("*.jpg"))[: 4 * processes]
        crew.map(decoded, first)  # warm
        began = time.perf_counter()
        crew.map(decoded, source.rglob("*.jpg"), chunksize=4)
        spent = time.perf_counter() - began
    return spent + by_hand(source, target, processes=processes)


def hashes(folder: Path) -> list[str]:
    paths = (path for path in folder.rglob("*.jpg") if path.is_file())
    return sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)


def measure(folder: Path, store: Rclone, name: str, files: int, given: argparse.Namespace) -> None:
    """Print what each way does with pictures of that size."""
    source = folder / "material"
    total = material(source, SIZES[name], files)
    expected = hashes(source)
    place, processes = folder / "there", given.processes

    def to_folder(spent: float) -> float:
        assert hashes(place) == expected
        shutil.rmtree(place)
        return spent

    def to_store(way: Callable[[str], float]) -> float:
        bucket = store.bucket()
        spent = way(bucket)
        assert hashes(store.folder / "data" / bucket) == expected
        store.drop(bucket)
        return spent

    remote = (
        f":s3,provider=Other,endpoint='{store.endpoint}',access_key_id={S3_KEY},"
        f"secret_access_key={SECRET},no_check_bucket=true:"
    )
    groups: dict[str, dict[str, Callable[[], float]]] = {
        "into a folder": {
            "ours": lambda: to_folder(
                restored(folder, "{kind: vdir, path: there}", files, processes=processes)
            ),
            "rclone copy --checksum": lambda: to_folder(copied(source, str(place))),
            "cp + sha256": lambda: to_folder(by_hand(source, place, processes=processes)),
            "cp + sha256, and decoded": lambda: to_folder(
                by_hand_decoded(source, place, processes=processes)
            ),
        },
        "into S3": {
            "ours": lambda: to_store(
                lambda bucket: restored(
                    folder,
                    S3.format(bucket=bucket, endpoint=store.endpoint),
                    files,
                    processes=processes,
                )
            ),
            "rclone copy --checksum": lambda: to_store(
                lambda bucket: copied(source, f"{remote}{bucket}/p")
            ),
        },
    }
    for where, ways in groups.items():
        times: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(given.rounds):
            order = list(ways)
            turn %= len(order)  # noqa: PLW2901  the first of this round
            for way in order[turn:] + order[:turn]:
                times[way].append(ways[way]())
        report(f"{files} photos of {total / files / 1e3:,.0f} kB {where}", times, files, total)
    shutil.rmtree(source)


def report(what: str, times: dict[str, list[float]], files: int, total: int) -> None:
    print(what)
    for way, spent in times.items():
        middle = statistics.median(spent)
        print(
            f"  {way:<31} {files / middle:8.1f} files/s  {total / middle / 1e6:7.1f} MB/s"
            f"   ({files / max(spent):.1f} to {files / min(spent):.1f} files/s)"
        )
    for way in [way for way in times if way != "ours"]:
        ratios = [theirs / mine for mine, theirs in zip(times["ours"], times[way], strict=True)]
        low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
        print(f"  ours / {way:<24} {middle:8.2f}   ({low:.2f} to {high:.2f})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=int, default=800, help="photos of 100 kB")
    parser.add_argument("--large", type=int, default=48, help="photos of 5 MB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
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
