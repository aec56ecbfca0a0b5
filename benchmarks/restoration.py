"""P3, P4: items a second, two sources into PostgreSQL with every guarantee on, against the limit.

    python benchmarks/restoration.py [--users 600] [--items 100] [--rounds 3] [--categories …]

Ours: the real conductor, a PostgreSQL ledger, and as many worker processes as cores that answer its
rings by `workers.jobs.perform` (the rings come by a pipe in place of Celery): leases, decline list,
look at the target, journal before every write, preconditions, read back, sealed accounts, books.
Timed by the ledger's clock from the start of the run to the last unit that is settled: what the
conductor takes to notice an approval, or the end, is once a run however large it is.

The limit: a bare pool of as many processes; each reads the same files and rows by the shortest way,
validates them by the same category, settles on the best copy of each item, decides as for an empty
target, and COPYs a chunk in one transaction. No ledger, journal, look, verify, account; nothing can
be repeated, and a crash leaves half of it. Timed from the first chunk to the last.

Both find two thirds of the items in a table and two thirds in folders of files, a record each, so a
third of the items have two copies. Same server (fsync on), same chunks of users, warm processes;
rounds alternate between both; printed are medians, and the least and greatest ratio of a round.
The processor's time of both, all workers, the conductor and the database added up, is printed
beside: other load on the machine spoils it less than the time that passes.
"""

import argparse
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from benchmarks.stand import figures, processor
from benchmarks.stand.crew import PROCESSES, Spent, Task, carried_out, quiet
from benchmarks.stand.servers import postgres
from benchmarks.validation import cards, events
from orchestrator import catalogue
from orchestrator.items import Copy, File, Folder, Ident, Item, UserId
from orchestrator.plan import OnConflict
from orchestrator.ports import Category, Rules
from orchestrator.reconcile import Create, decide, precedence
from tests import servers
from workers.jobs import collect_rarely

AS_OF = datetime(2009, 10, 1, tzinfo=UTC)
PLAN = """
version: 1
name: benchmark
incident: {{as_of: 2009-10-01T00:00:00Z, service_start: 2002-01-01T00:00:00Z}}
sources:
  core: {{kind: sql, url: "{source}", categories: {{{category}: {mapping}}}}}
  backup: {{kind: vdir, path: backup}}
targets:
  live: {{kind: sql, url: "{target}"}}
waves: [{{name: everyone}}]
phases: [{{restore: {category}, to: live}}]
approvals: 1
"""
MAPPING = "{table: records, user: user_id, id: id, data: data}"


# Material --------------------------------------------------------------------------------------


def todos(chance: random.Random, count: int) -> list[bytes]:
    """Tasks as phones of the time wrote them, about 350 bytes."""
    return [_todo(chance, number) for number in range(count)]


def _todo(chance: random.Random, number: int) -> bytes:
    day = f"2009{chance.randrange(1, 10):02}{chance.randrange(1, 29):02}"
    lines = [
        *("BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Example//Phone 1.0//EN", "BEGIN:VTODO"),
        f"UID:{chance.getrandbits(128):032x}",
        "DTSTAMP:20090101T000000Z",
        f"LAST-MODIFIED:{day}T{number % 24:02}0000Z",
        f"SUMMARY:Call number {number} back\\, please",
        "DESCRIPTION:About the proposal\\; see the letter of last week.\\nAsk for Ada.",
        f"DUE;VALUE=DATE:{day}",
        f"PRIORITY:{number % 10}",
        *("STATUS:NEEDS-ACTION", "END:VTODO", "END:VCALENDAR", ""),
    ]
    return "\r\n".join(lines).encode()


def notes(chance: random.Random, count: int) -> list[bytes]:
    """Notes of a few lines, as rows of a table become them."""
    return [
        msgspec.json.encode(
            {
                "id": f"{chance.getrandbits(64):016x}",
                "title": f"Shopping {number}",
                "body": "milk, eggs; bread\nand tea\n" * chance.randrange(1, 12),
                "revised": f"2009-0{chance.randrange(1, 10)}-11T12:00:00Z",
            }
        )
        for number in range(count)
    ]


def scores(chance: random.Random, count: int) -> list[bytes]:
    """The best of a board each."""
    return [
        msgspec.json.encode({"board": f"board {number}", "value": chance.randrange(1, 10**6)})
        for number in range(count)
    ]


RECORDS: dict[str, tuple[Callable[[random.Random, int], list[bytes]], str]] = {
    "contacts": (cards, "vcf"),
    "calendar": (events, "ics"),
    "tasks": (todos, "ics"),
    "notes": (notes, "json"),
    "high_scores": (scores, "json"),
}


@dataclass(frozen=True, kw_only=True)
class Material:
    """What was recovered: a table and a folder, and how many items they hold together."""

    category: str
    users: Sequence[UserId]
    items: int
    folder: Path
    source: str
    """The address of the database that holds the table."""


def make(server: servers.Postgres, folder: Path, category: str, users: int, items: int) -> Material:
    """The same on every call, so that figures of different days speak of the same work."""
    chance = random.Random(2009)
    generate, suffix = RECORDS[category]
    name = f"source_{category}"
    database(server, name)
    owners = [UserId(f"user{number:06}") for number in range(users)]
    with psycopg.connect(address(server, name)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE records (user_id text, id text, data bytea, PRIMARY KEY (user_id, id))"
        )
        with cursor.copy("COPY records FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["text", "text", "bytea"])
            for owner in owners:
                shelf = folder / "backup" / owner / category
                shelf.mkdir(parents=True)
                for number, record in enumerate(generate(chance, items)):
                    if number % 3 != 0:
                        copy.write_row((owner, f"{number:06}", record))
                    if number % 3 != 1:
                        (shelf / f"{number:06}.{suffix}").write_bytes(record)
        connection.commit()
        connection.autocommit = True
        cursor.execute("VACUUM ANALYZE")
    return Material(
        category=category,
        users=owners,
        items=users * items,
        folder=folder,
        source=address(server, name),
    )


def database(server: servers.Postgres, name: str) -> None:
    """An empty one of that name."""
    with server.connect() as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
        connection.execute("CHECKPOINT")


def address(server: servers.Postgres, name: str) -> str:
    """As plans and psycopg spell it."""
    return server.url(name).replace("+psycopg", "")


# Ours ------------------------------------------------------------------------------------------


def processor_time(server: servers.Postgres) -> float:
    """Of this process, its children, and the database so far."""
    return processor.ours(processor.postmaster(server.folder / "data"))


def ours(server: servers.Postgres, material: Material, *, chunk: int, processes: int) -> Spent:
    """What it took from the start of the run to its last unit; raises where anything is missing."""
    for name in ("ledger", "live"):
        database(server, name)
    text = PLAN.format(
        category=material.category,
        mapping=MAPPING,
        source=material.source,
        target=address(server, "live"),
    )
    task = Task(
        text=text,
        folder=material.folder,
        items=material.items,
        ledger=server.url("ledger"),
        batch_users=chunk,
        settings={},
    )
    return carried_out(task, processes=processes, processor=lambda: processor_time(server))


# The limit -------------------------------------------------------------------------------------


TABLE = """
CREATE TABLE {category} (
  user_id text NOT NULL, ident text NOT NULL, media text NOT NULL, content bytea NOT NULL,
  revised timestamptz, modified timestamptz NOT NULL DEFAULT now(),
  version bigint NOT NULL DEFAULT 1, deleted_at timestamptz, PRIMARY KEY (user_id, ident)
)"""


@dataclass(kw_only=True)
class Bare:
    """What each process of the pool has."""

    category: Category
    material: Material
    rules: Rules
    source: psycopg.Connection
    target: psycopg.Connection


bare: Bare


def begin_bare(material: Material, target: str, warm: Barrier) -> None:
    quiet()
    collect_rarely()  # as ours do
    global bare  # noqa: PLW0603  a pool's initializer has no other place to leave things
    bare = Bare(
        category=catalogue.category_kind(material.category)(),
        material=material,
        rules=Rules(
            repairs=frozenset(), loss=AS_OF, service_start=datetime(2002, 1, 1, tzinfo=UTC)
        ),
        source=psycopg.connect(material.source, autocommit=True),
        target=psycopg.connect(target),
    )
    warm.wait()


def restore_bare(owners: Sequence[UserId]) -> int:
    """Read, validate, settle, decide, COPY: how many items were written."""
    rows: dict[str, list[File]] = {owner: [] for owner in owners}
    for owner, name, data in bare.source.execute(
        "SELECT user_id, id, data FROM records WHERE user_id = ANY(%s) ORDER BY user_id, id",
        [list(owners)],
        binary=True,
    ):
        rows[owner].append(File(name=name, size=len(data), read=partial(bytes, data)))
    chosen: list[tuple[UserId, Item]] = []
    for owner in owners:
        best: dict[Ident, tuple[Any, Copy]] = {}
        for trust, files in enumerate((rows[owner], files_of(owner))):
            for found in bare.category.read(Folder(owner=owner, files=files), bare.rules):
                if isinstance(found, Copy):
                    rank = precedence(found, trust)
                    known = best.get(found.item.ident)
                    if known is None or rank > known[0]:
                        best[found.item.ident] = (rank, found)
        for _, copy in best.values():
            decision = decide(
                copy.item,
                merit=copy.merit,
                live=None,
                hand=None,
                elsewhere=None,
                policy=OnConflict.NEWEST,
                as_of=AS_OF,
            )
            if isinstance(decision, Create):
                chosen.append((owner, copy.item))
    table = bare.material.category
    columns = f"COPY {table} (user_id, ident, media, content, revised) FROM STDIN (FORMAT BINARY)"
    with bare.target.cursor() as cursor, cursor.copy(columns) as copy:
        copy.set_types(["text", "text", "text", "bytea", "timestamptz"])
        for owner, item in chosen:
            copy.write_row((owner, item.ident, item.media.mime, item.content, item.revised))
    bare.target.commit()
    return len(chosen)


def files_of(owner: UserId) -> list[File]:
    """By the shortest way: no check of links, sizes, or of a file that changes meanwhile."""
    with os.scandir(bare.material.folder / "backup" / owner / bare.material.category) as listing:
        return [
            File(name=one.name, size=one.stat().st_size, read=Path(one.path).read_bytes)
            for one in sorted(listing, key=lambda one: one.name)
        ]


def limit(server: servers.Postgres, material: Material, *, chunk: int, processes: int) -> Spent:
    """What it took from the first chunk to the last."""
    database(server, "live")
    live = address(server, "live")
    with psycopg.connect(live) as connection:
        connection.execute(TABLE.format(category=material.category))
    warm = PROCESSES.Barrier(processes + 1)
    with PROCESSES.Pool(processes, begin_bare, (material, live, warm)) as pool:
        warm.wait()
        users = material.users
        chunks = [users[at : at + chunk] for at in range(0, len(users), chunk)]
        before, began = processor_time(server), time.perf_counter()
        written = sum(pool.imap_unordered(restore_bare, chunks))
        spent = Spent(
            seconds=time.perf_counter() - began, processor=processor_time(server) - before
        )
    assert written == material.items, written
    return spent


# Measuring -------------------------------------------------------------------------------------


def compare(server: servers.Postgres, material: Material, given: argparse.Namespace) -> None:
    """Print what both do in a second, what that cost the processor, and the ratios."""
    rounds: list[tuple[Spent, Spent]] = []
    for _ in range(given.rounds):
        way = {"chunk": given.chunk, "processes": given.processes}
        rounds.append((ours(server, material, **way), limit(server, material, **way)))
    print(f"{material.category}, {material.items:,} items of {len(material.users):,} users")
    for what, told in (
        ("items/s", [tuple(material.items / one.seconds for one in each) for each in rounds]),
        (
            "items a second of the processor",
            [tuple(material.items / one.processor for one in each) for each in rounds],
        ),
    ):
        our, their = (statistics.median(values) for values in zip(*told, strict=True))
        ratios = [mine / other for mine, other in told]
        print(
            f"  {our:,.0f} {what} against {their:,.0f}: ratio {our / their:.2f} "
            f"(median of {given.rounds}, {min(ratios):.2f} to {max(ratios):.2f})",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--users", type=int, default=600)
    parser.add_argument("--items", type=int, default=100, help="of each user")
    parser.add_argument("--chunk", type=int, default=100, help="users in a batch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--categories", nargs="+", choices=RECORDS, default=list(RECORDS))
    given = parser.parse_args()
    quiet()
    print(figures.machine())
    print(figures.versions())
    with postgres() as server:
        with server.connect() as connection:
            version = connection.info.server_version // 10000
        print(
            f"{given.processes} processes, batches of {given.chunk} users, PostgreSQL {version} "
            "with fsync on the same machine",
            flush=True,
        )
        for category in given.categories:
            folder = Path(tempfile.mkdtemp(prefix="reinstate-benchmark-"))
            try:
                made = make(server, folder, category, given.users, given.items)
                compare(server, made, given)
            finally:
                shutil.rmtree(folder)


if __name__ == "__main__":
    main()
