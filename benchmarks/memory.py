"""P10: the memory of one worker that restores one user with very many items.

    python benchmarks/memory.py [--items 200000] [--photos 2000] [--photo-bytes 500000] [--cases …]

Each case is a process of its own that carries out a whole run (inspection, restoration, books) and
then the same once more, when everything is there already. Printed is the most that it ever held
(`VmHWM`: Linux only), and what it held before the run, which is the program itself; first for a
tenth of the items: what is flat does not grow between the two. The PostgreSQL server is another
process and is not counted.
"""

import argparse
import random
import shutil
import struct
import tempfile
import time
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import psycopg

from benchmarks.restoration import MAPPING, address, database
from benchmarks.stand import figures
from benchmarks.stand.crew import KEY, PROCESSES, Pipe, quiet
from benchmarks.stand.servers import postgres
from benchmarks.validation import cards
from orchestrator.books import Books
from orchestrator.conductor import Conductor
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.leases import Ring
from orchestrator.lifecycle import TERMINAL_RUNS, RunState
from orchestrator.planner import read_plan
from orchestrator.progress import Progress
from orchestrator.runs import Runs
from orchestrator.sealing import Sealer
from orchestrator.submitting import Submission
from tests import servers
from workers.credentials import resolve
from workers.freed_memory import keep_freed_memory
from workers.jobs import collect_rarely, perform
from workers.workplace import Workplace

PLAN = """
version: 1
name: memory
incident: {{as_of: 2009-10-01T00:00:00Z}}
sources: {{core: {source}}}
targets: {{live: {target}}}
waves: [{{name: everyone}}]
phases: [{{restore: {category}, to: live}}]
approvals: 0
"""


Maker = Callable[[servers.Postgres, Path, int], str]
"""Lays material down; gives the plan."""


class Rings(list[tuple[int, int]]):
    """What the conductor asked for."""

    put = list.append


def restored(folder: Path, ledger_url: str, text: str, told: Connection) -> None:
    """Carries out the run; tells what it held before and at most, in KiB, and the seconds."""
    quiet()
    collect_rarely()
    keep_freed_memory()
    ledger = Ledger(ledger_url)
    ledger.prepare()
    sealer = Sealer(KEY)
    work = Workplace(
        ledger=ledger,
        sealer=sealer,
        clock=lambda: datetime.now(UTC),
        secret=resolve,
        name="memory",
        monotonic=time.monotonic,
        sleep=time.sleep,
    )
    before = most()
    for _ in range(2):
        began = time.perf_counter()
        books = carried_out(work, text, folder)
        told.send((before, most(), time.perf_counter() - began, books))
    work.close()


def carried_out(work: Workplace, text: str, folder: Path) -> Books:
    """Submits a plan and does all of it; what became of the items."""
    ledger, sealer, rings = work.ledger, work.sealer, Rings()
    progress = Progress(ledger, sealer)
    conductor = Conductor(ledger, Pipe(rings), name="memory")
    plan = read_plan(text.encode(), path="plan.yaml", base=folder)
    run = Runs(ledger, sealer).submit(
        Submission(plan=plan, text=text, folder=str(folder), author="mia")
    )
    while progress.state(run) not in TERMINAL_RUNS:
        conductor.tick()
        while rings:
            batch, epoch = rings.pop(0)
            perform(work, Ring(batch=batch, epoch=epoch))
    assert progress.state(run) is RunState.FINISHED
    conductor.resign()
    return progress.status(run).books


def most() -> int:
    """KiB that this process has held at once, at most; `ru_maxrss` would count its parent too."""
    told = Path("/proc/self/status").read_text()
    return int(told.split("VmHWM:")[1].split()[0])


# Material --------------------------------------------------------------------------------------


def files_of_cards(server: servers.Postgres, folder: Path, items: int) -> str:
    shelf = folder / "found" / "ann" / "contacts"
    shelf.mkdir(parents=True)
    for number, card in enumerate(cards(random.Random(1), items)):
        (shelf / f"{number:06}.vcf").write_bytes(card)
    return PLAN.format(
        category="contacts",
        source="{kind: vdir, path: found}",
        target=f'{{kind: sql, url: "{address(server, "live")}"}}',
    )


def rows_of_cards(server: servers.Postgres, _folder: Path, items: int) -> str:
    database(server, "source")
    with psycopg.connect(address(server, "source")) as connection:
        connection.execute("CREATE TABLE records (user_id text, id text, data bytea)")
        with connection.cursor().copy("COPY records FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["text", "text", "bytea"])
            for number, card in enumerate(cards(random.Random(1), items)):
                copy.write_row(("ann", f"{number:06}", card))
    source = f'{{kind: sql, url: "{address(server, "source")}", '
    return PLAN.format(
        category="contacts",
        source=source + f"categories: {{contacts: {MAPPING}}}}}",
        target=f'{{kind: sql, url: "{address(server, "live")}"}}',
    )


def photos(size: int) -> Maker:
    def make(_server: servers.Postgres, folder: Path, items: int) -> str:
        shelf = folder / "found" / "ann" / "photos"
        shelf.mkdir(parents=True)
        for number in range(items):
            (shelf / f"{number:06}.png").write_bytes(picture(number, size))
        return PLAN.format(
            category="photos",
            source="{kind: vdir, path: found}",
            target="{kind: vdir, path: live}",
        )

    return make


def picture(number: int, size: int) -> bytes:
    """A sound PNG of about `size` bytes, unlike any other."""
    side = max(8, int((size / 3) ** 0.5))
    noise = random.Random(number).randbytes(side * side * 3)
    step = side * 3
    rows = b"".join(b"\0" + noise[at : at + step] for at in range(0, len(noise), step))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )


# Measuring -------------------------------------------------------------------------------------


def measure(
    server: servers.Postgres,
    name: str,
    make: Maker,
    items: int,
) -> None:
    """Print one case."""
    folder = Path(tempfile.mkdtemp(prefix="reinstate-benchmark-"))
    try:
        for one in ("ledger", "live"):
            database(server, one)
        text = make(server, folder, items)
        ours, theirs = PROCESSES.Pipe()
        child = PROCESSES.Process(
            target=restored, args=(folder, server.url("ledger"), text, theirs)
        )
        child.start()
        theirs.close()
        before, held, seconds, books = ours.recv()
        assert books.restored == books.items == items, books
        print(
            f"{name}, {items:,} items: {held / 1024:,.0f} MiB at most, "
            f"{before / 1024:,.0f} before the run ({seconds:,.0f} s)",
            end="",
            flush=True,
        )
        _, held, seconds, books = ours.recv()
        child.join()
        assert books.present == books.items == items, books
        print(f"; once more: {held / 1024:,.0f} MiB ({seconds:,.0f} s)", flush=True)
    finally:
        shutil.rmtree(folder)


CASES: dict[str, tuple[str, Callable[[argparse.Namespace], Maker]]] = {
    "files": ("contacts, files into PostgreSQL", lambda _: files_of_cards),
    "rows": ("contacts, rows into PostgreSQL", lambda _: rows_of_cards),
    "photos": ("photos, files into files", lambda given: photos(given.photo_bytes)),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--photos", type=int, default=2_000)
    parser.add_argument("--photo-bytes", type=int, default=500_000)
    given = parser.parse_args()
    print(figures.machine())
    print(figures.versions())
    with postgres() as server:
        for case in given.cases:
            number = given.photos if case == "photos" else given.items
            name, make = CASES[case]
            for items in (number // 10, number):
                measure(server, name, make(given), items)


if __name__ == "__main__":
    main()
