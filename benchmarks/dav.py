"""P6: CardDAV writes a second into real Radicale and Xandikos, against vdirsyncer and bare httpx.

    PYTHONPATH=. python benchmarks/dav.py [--users 8] [--cards 60] [--rounds 3] [--durable]

Each round writes the same cards for as many users, new ones each time, in four ways that take
turns: ours (look, shape, write under preconditions, read everything back and compare by meaning)
into address books that are there and are empty, and, as after a loss, for users who have none yet
(ours makes them, and is timed for it); `vdirsyncer sync` of the same collections from files (which
reads nothing back); and httpx with nothing but PUTs, at the concurrency at which this server takes
most. For these two the address books are made beforehand; vdirsyncer's own start is taken off its
time. What each way costs the server's processor and its own is told, too: it hardly depends on what
else the machine does. The servers keep everything in memory, so that it is programs that are
compared and not the disk's mood; `--durable`: on the disk, with
Radicale waiting for it as it is shipped.
"""

import argparse
import asyncio
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil

from benchmarks.validation import cards
from orchestrator.items import Item, UserId
from orchestrator.ports import Fate, Place, Surroundings, Write
from tests.dav_servers import DavServer, Radicale, Xandikos
from workers.categories import contacts
from workers.targets.dav import Dav

CATEGORY = contacts.KIND()
OURS = "ours, verified"
ANEW = "ours, verified, new address books"
CONCURRENCIES = (2, 4, 8, 16, 32)
MKCOL = b"""<mkcol xmlns="DAV:" xmlns:A="urn:ietf:params:xml:ns:carddav"><set><prop>
<resourcetype><collection/><A:addressbook/></resourcetype></prop></set></mkcol>"""

Books = dict[str, list[Item]]
"""Cards by user."""


def books(users: int, number: int) -> Books:
    """The cards of new users."""
    chance = random.Random(7)
    stem = uuid.uuid4().hex[:8]
    found: Books = {}
    for n in range(users):
        owner = f"{stem}-{n}"
        found[owner] = []
        for text in cards(chance, number):
            seen = CATEGORY.recognise(UserId(owner), text)
            assert seen is not None
            found[owner].append(
                Item(
                    ident=seen.ident,
                    digest=seen.digest,
                    media=contacts.VCARD,
                    content=text,
                    revised=seen.revised,
                )
            )
    return found


def collection(server: DavServer, user: str) -> str:
    home = "contacts/" if server.kind == "xandikos" else ""
    return f"{server.url}{user}/{home}contacts/"


def prepare(server: DavServer, found: Books, *, books: bool = True) -> None:
    """Make everybody's account, and address book."""
    for user in found:
        with httpx.Client(auth=(user, "x"), timeout=60) as client:
            client.request("PROPFIND", server.url, headers={"Depth": "0"})
            client.request("PROPFIND", f"{server.url}{user}/", headers={"Depth": "0"})
            if not books:
                continue
            answer = client.request(
                "MKCOL",
                collection(server, user),
                content=MKCOL,
                headers={"Content-Type": "application/xml"},
            )
            assert answer.status_code == 201, answer.text


@contextmanager
def timed(spent: list[float]) -> Iterator[None]:
    began = time.perf_counter()
    yield
    spent.append(time.perf_counter() - began)


def ours(server: DavServer, found: Books) -> float:
    """The steps of a restore's target: look, write, read back, compare."""
    surroundings = Surroundings(
        folder=Path(), secret=lambda text: text, clock=lambda: datetime.now(UTC)
    )
    spent: list[float] = []
    with closing(Dav(url=server.url, username="{user}").open(surroundings)) as target, timed(spent):
        assert list(target.survey("contacts", [UserId(user) for user in found])) == []
        writes = [
            Write(owner=UserId(user), item=item, ref=target.ref("contacts", item.ident, item.media))
            for user, items in found.items()
            for item in items
        ]
        answers = target.write("contacts", writes)
        assert {answer.fate for answer in answers} == {Fate.DONE}, answers
        places = [Place(owner=write.owner, ref=write.ref) for write in writes]
        for write, live in zip(writes, target.fetch("contacts", places), strict=True):
            assert live is not None
            seen = CATEGORY.recognise(write.owner, live.content)
            assert seen is not None
            assert (seen.ident, seen.digest) == (write.item.ident, write.item.digest)
    return spent[0]


def bare(server: DavServer, found: Books, at_once: int) -> float:
    """Nothing but PUTs, any order, as many at once."""

    async def run() -> float:
        slots = asyncio.Semaphore(at_once)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=at_once)
        async with httpx.AsyncClient(timeout=60, limits=limits) as client:

            async def put(user: str, item: Item) -> None:
                async with slots:
                    answer = None
                    while answer is None or answer.status_code == httpx.codes.LOCKED:
                        answer = await client.put(
                            f"{collection(server, user)}{item.ident}.vcf",
                            content=item.content,
                            auth=(user, "x"),
                            headers={"Content-Type": "text/vcard", "If-None-Match": "*"},
                        )
                    assert answer.status_code == 201, answer.text

            # users in turn, so that neighbours go into different collections
            queue = [
                (user, items[n])
                for n in range(max(map(len, found.values())))
                for user, items in found.items()
            ]
            spent: list[float] = []
            with timed(spent):
                await asyncio.gather(*(put(user, item) for user, item in queue))
            return spent[0]

    return asyncio.run(run())


def vdirsyncer(server: DavServer, found: Books) -> float:
    """`vdirsyncer sync` of all users' collections, without the time of its start."""
    program = str(Path(sys.executable).parent / "vdirsyncer")
    with tempfile.TemporaryDirectory() as folder:
        parts = [f'[general]\nstatus_path = "{folder}/status/"\n']
        for number, (user, items) in enumerate(found.items()):
            local = Path(folder) / "local" / user
            local.mkdir(parents=True)
            for item in items:
                (local / f"{item.ident}.vcf").write_bytes(item.content)
            parts.append(
                f'[pair p{number}]\na = "a{number}"\nb = "b{number}"\ncollections = null\n'
                f'[storage a{number}]\ntype = "filesystem"\npath = "{local}"\nfileext = ".vcf"\n'
                f'[storage b{number}]\ntype = "carddav"\nurl = "{collection(server, user)}"\n'
                f'username = "{user}"\npassword = "x"\n'
            )
        config = Path(folder) / "config"
        config.write_text("\n".join(parts))
        environment = os.environ | {"HOME": folder}

        def run(*words: str) -> float:
            spent: list[float] = []
            with timed(spent):
                done = subprocess.run(
                    [program, "-c", str(config), *words],
                    env=environment,
                    capture_output=True,
                    check=False,
                )
            assert done.returncode == 0, done.stdout + done.stderr
            return spent[0]

        run("discover")
        start = run("--version")
        return run("sync") - start


def measure(kind: type[DavServer], *, users: int, number: int, rounds: int, durable: bool) -> None:
    server = kind(durable=durable)
    try:
        fastest: dict[int, float] = {}
        for at_once in CONCURRENCIES:
            found = books(users, max(number // 2, 1))
            prepare(server, found)
            try:
                fastest[at_once] = bare(server, found, at_once)
            except httpx.TransportError as error:  # more than it takes: it resets connections
                print(f"{kind.kind}: {type(error).__name__} at {at_once} at once")
        best = min(fastest, key=lambda at_once: fastest[at_once])
        ways: dict[str, Callable[[DavServer, Books], float]] = {
            OURS: ours,
            ANEW: ours,
            f"httpx, {best} at once": lambda server, found: bare(server, found, best),
            "vdirsyncer sync": vdirsyncer,
        }
        rates: dict[str, list[float]] = {name: [] for name in ways}
        spent: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for turn in range(rounds):
            order = list(ways)
            turn %= len(order)  # noqa: PLW2901  the first of this round
            for name in order[turn:] + order[:turn]:
                found = books(users, number)
                prepare(server, found, books=name != ANEW)
                before = processor(server)
                rates[name].append(users * number / ways[name](server, found))
                after = processor(server)
                spent[name].append(
                    (
                        1000 * (after[0] - before[0]) / (users * number),
                        1000 * (after[1] - before[1]) / (users * number),
                    )
                )
        report(kind.kind, rates, users=users, number=number)
        tell_spent(spent)
    finally:
        server.stop()
        shutil.rmtree(server.folder)


def processor(server: DavServer) -> tuple[float, float]:
    """Seconds of the processor that the server, and this program with its children, had so far."""
    assert server.process is not None
    its = psutil.Process(server.process).cpu_times()
    own = os.times()
    return (
        its.user + its.system + its.children_user + its.children_system,
        own.user + own.system + own.children_user + own.children_system,
    )


def tell_spent(spent: dict[str, list[tuple[float, float]]]) -> None:
    """What each way costs the server and itself, which hardly depends on what else goes on."""
    for name, found in spent.items():
        server, client = (statistics.median(one) for one in zip(*found, strict=True))
        print(f"  {name:<46} {server:7.1f} ms of the server's processor, {client:.1f} of its own")


def report(server: str, rates: dict[str, list[float]], *, users: int, number: int) -> None:
    print(f"{server}: {users} users with {number} cards each, cards/s")
    for name, found in rates.items():
        low, middle, high = min(found), statistics.median(found), max(found)
        print(f"  {name:<46} {middle:7.1f}   ({low:.1f} to {high:.1f})")
    mine = {name: rates.pop(name) for name in (OURS, ANEW)}
    for own, rate in mine.items():
        for name, found in rates.items():
            ratios = [one / other for one, other in zip(rate, found, strict=True)]
            low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
            said = f"{own} / {name}"
            print(f"  {said:<46} {middle:7.2f}   ({low:.2f} to {high:.2f})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=8)
    parser.add_argument("--cards", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--durable", action="store_true")
    parser.add_argument("--server", choices=["radicale", "xandikos"])
    given = parser.parse_args()
    print(
        f"P6: Python {sys.version.split()[0]}, httpx {httpx.__version__}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f}"
    )
    for kind in (Radicale, Xandikos):
        if given.server in (None, kind.kind):
            measure(
                kind,
                users=given.users,
                number=given.cards,
                rounds=given.rounds,
                durable=given.durable,
            )


if __name__ == "__main__":
    main()
