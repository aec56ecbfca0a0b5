"""What it costs that recovered bytes are parsed in confined readers instead of in the worker.

    python benchmarks/sandbox.py [--rounds 3] [--users 40]

Whole restores by the real pipeline in one process: contacts (a file each) into a PostgreSQL, photos
into a folder; once parsed here and once in readers, in turns. Compared is processor time an item,
of the worker with all its readers: unlike seconds it is hardly disturbed by what else a machine
does. What PostgreSQL itself takes is not counted, so that of the whole the share is smaller.
"""

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import structlog
from PIL import Image

from benchmarks.stand import figures, servers
from orchestrator.items import Folder, UserId
from orchestrator.ports import Rules
from tests.in_process import Service
from workers.categories.contacts import Contacts
from workers.readers.pool import Readers, Template

PLAN = """
version: 1
name: sandbox
incident: {{as_of: 2009-10-01T00:00:00Z}}
sources: {{devices: {{kind: vdir, path: {folder}}}}}
targets: {{live: {target}}}
phases: [{{restore: {category}, to: live}}]
approvals: 0
"""
CARD = (
    "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{user}-{number}\r\nFN:Ann {number}\r\nN:Ann;{number};;;\r\n"
    "TEL;TYPE=cell:+49123{number}{user}\r\nTEL;TYPE=home:+4930{number}\r\n"
    "EMAIL;TYPE=INTERNET:u{number}.{user}@example.org\r\n"
    "ADR;TYPE=home:;;Street {number};Town;;12345;Country\r\n"
    "NOTE:Some words\\, and some more\r\nREV:20090101T000000Z\r\nEND:VCARD\r\n"
)


def cards(user: int, items: int) -> Iterator[tuple[str, bytes]]:
    """One user's address book."""
    for number in range(items):
        yield f"{number}.vcf", CARD.format(user=user, number=number).encode()


def photos(size: int) -> bytes:
    """A picture of about so many bytes."""
    side = int((size * 1.4) ** 0.5)
    written = io.BytesIO()
    Image.effect_noise((side, side), 60).convert("RGB").save(written, "JPEG", quality=90)
    return written.getvalue()


def different(picture: bytes, user: int, items: int) -> Iterator[tuple[str, bytes]]:
    """The picture with a comment of its own before its end."""
    for number in range(items):
        comment = b"\xff\xfe\x00\x0a%08d" % (user * 10_000 + number)
        yield f"{number}.jpg", picture[:2] + comment + picture[2:]


class Ours:
    """Readers, and the processor time that they have taken."""

    def __init__(self) -> None:
        self._template = Template()
        self.parser = Readers(seconds=30, start=lambda: self._template)
        nothing = Folder(owner=UserId("nobody"), files=[])
        rules = Rules(repairs=frozenset(), loss=datetime.now(UTC))
        list(self.parser.parse(Contacts(), nothing, rules, lambda _: None))  # until it is ready
        self.parser.renew()

    def seconds(self) -> float:
        """Of the template and of every reader that has ended."""
        self.parser.renew()
        time.sleep(0.3)
        stat = Path(f"/proc/{self._template._process.pid}/stat").read_text()  # noqa: SLF001
        times = stat.rpartition(")")[2].split()[11:15]
        return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")


def an_item(category: str, material: Path, target: str, home: Path, ours: Ours | None) -> float:
    """Microseconds of processor time an item, of one whole restore."""
    service = Service(home)
    if ours is not None:
        service.work.parser = ours.parser
    run = service.submit(PLAN.format(folder=material, target=target, category=category))
    before = time.process_time() + (ours.seconds() if ours else 0.0)
    service.go_on()
    taken = time.process_time() + (ours.seconds() if ours else 0.0) - before
    items = service.progress.status(run).books.restored
    service.work.close()
    return taken / items * 1e6


def main() -> None:
    """Measure in turns and print the ratio of medians."""
    read = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    read.add_argument("--rounds", type=int, default=3)
    read.add_argument("--users", type=int, default=40)
    given = read.parse_args()
    structlog.configure(processors=[_drop])
    print(f"{figures.machine()}, load {os.getloadavg()[0]:.1f}")
    print(figures.versions())
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reinstate-bench-")))
        server = stack.enter_context(servers.postgres())
        ours = Ours()
        small, large = photos(100_000), photos(5_000_000)
        for name, category, users, each in (
            ("contacts", "contacts", given.users, lambda user: cards(user, 100)),
            ("photos small", "photos", given.users // 4, lambda u: different(small, u, 40)),
            ("photos large", "photos", given.users // 10, lambda u: different(large, u, 4)),
        ):
            material = folder / name.replace(" ", "-")
            for user in range(users):
                shelf = material / f"user{user}" / category
                shelf.mkdir(parents=True)
                for file, data in each(user):
                    (shelf / file).write_bytes(data)
            taken: dict[bool, list[float]] = {False: [], True: []}
            for number in range(given.rounds):
                for apart in (False, True):
                    with tempfile.TemporaryDirectory(dir=folder) as home:
                        target = f"{{kind: vdir, path: {home}/restored}}"
                        if category == "contacts":
                            made = stack.enter_context(
                                servers.database(server, f"live{number}{int(apart)}")
                            )
                            target = f'{{kind: sql, url: "{made}"}}'
                        taken[apart].append(
                            an_item(category, material, target, Path(home), ours if apart else None)
                        )
            ratio = statistics.median(taken[True]) / statistics.median(taken[False])
            print(
                f"{name:14} in the worker {figures.spread(taken[False])} us, in readers "
                f"{figures.spread(taken[True])} us of processor time an item: {ratio:.3f}",
                flush=True,
            )
        print(f"pictures of {len(small):,} and {len(large):,} bytes")
        ours.parser.close()


def _drop(*_: object) -> object:
    raise structlog.DropEvent


if __name__ == "__main__":
    main()
