"""P8: what pages ask of a large ledger, and how long they take from request to last byte.

    python benchmarks/pages.py [--users 10000 100000] [--looks 40]

Fills a PostgreSQL with 6 units a user (of each hundred users one failed in every category, one lost
something, one has a copy in quarantine) and looks at each page at random places, twice: what the
page asks of the ledger alone, and the page as the real application serves it over HTTP, written
out and rendered. 1,000,000 users make 6,000,000 units: `--users 10000 1000000`.
"""

import argparse
import base64
import os
import random
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import text

from benchmarks.api import serving
from benchmarks.stand import figures, servers
from orchestrator.api.cursors import cursor
from orchestrator.identity.roles import Role
from orchestrator.identity.tokens import Tokens
from orchestrator.ledger import expansion
from orchestrator.ledger.database import Ledger, insert_all
from orchestrator.ledger.schema import quarantine, run_user
from orchestrator.metrics.ledger_gauges import LedgerGauges
from orchestrator.metrics.listening import exposed
from orchestrator.metrics.tally import Tally
from orchestrator.planner import read_plan
from orchestrator.progress import Progress
from orchestrator.query import parse
from orchestrator.runs import Runs
from orchestrator.sealing import Sealer, load_sealer
from orchestrator.settings import Settings
from orchestrator.submitting import Submission
from workers.unit_work import Evidence, encode, quarantine_context

CATEGORIES = ("contacts", "calendar", "notes", "tasks", "photos", "high_scores")
PLAN = """
version: 1
name: pages
incident: {as_of: 2009-10-01T00:00:00Z}
sources: {core: {kind: memory}}
targets: {live: {kind: memory}}
waves: [{name: canary, users: 20}, {name: pilot, share: 1%}, {name: everyone}]
phases: [PHASES]
"""
SETTLED = """
UPDATE unit SET state = CASE WHEN "user" % 100 = 3 THEN 'failed' ELSE 'settled' END,
  attempts = 1, settled_at = 1, copies = 3, items = 3,
  restored = CASE WHEN "user" % 100 = 8 THEN 2 ELSE 3 END,
  quarantined = CASE WHEN "user" % 100 = 8 THEN 1 ELSE 0 END,
  lost = CASE WHEN "user" % 100 = 7 THEN 1 ELSE 0 END
"""
FAILED = """
INSERT INTO exception (run, "user", phase, state, cause, not_before, since)
SELECT run, "user", phase, 'failed', CASE "user" % 3 WHEN 0 THEN 'aaaaaa' WHEN 1 THEN 'bbbbbb'
  ELSE 'cccccc' END, 0, 1 FROM unit WHERE state = 'failed'
"""
CAUSES = """
INSERT INTO cause SELECT DISTINCT ON (run, cause) run, cause, phase, 'unavailable', 'away', true
FROM exception ORDER BY run, cause, phase
"""
TROUBLES = """
INSERT INTO trouble SELECT run, phase, cause, state, "user" % 16, count(*) FROM exception
GROUP BY 1, 2, 3, 4, 5
"""
COUNTERS = """
INSERT INTO counter (run, phase, wave, slot, settled, failed, copies, items, restored,
  quarantined, lost)
SELECT unit.run, phase, wave, "user" % 16, count(*) FILTER (WHERE state = 'settled'),
  count(*) FILTER (WHERE state = 'failed'), sum(copies), sum(items), sum(restored),
  sum(quarantined), sum(lost)
FROM unit JOIN run_user ON run_user.run = unit.run AND number = "user" GROUP BY 1, 2, 3, 4
"""
FINISHED = """
UPDATE run SET state = 'finished', users = (SELECT count(*) FROM run_user WHERE run = run.id),
  started_at = 1, finished_at = 2
"""
REASONS = ("cut", "zeroed", "syntax")
EVIDENCE = Evidence(
    file="1.vcf", spans=(("1.vcf", 0, 300),), data=bytes(300), ident=None, detail="", repairs=()
)


def filled(ledger: Ledger, sealer: Sealer, users: int) -> str:
    """A run of so many users that is done; its id."""
    phases = ", ".join(f"{{restore: {category}, to: live}}" for category in CATEGORIES)
    written = PLAN.replace("PHASES", phases)
    plan = read_plan(written.encode(), path="plan.yaml", base=Path())
    run_id = Runs(ledger, sealer).submit(
        Submission(plan=plan, text=written, folder="/", author="benchmark")
    )
    context = f"user:{run_id}".encode()
    sealed = [sealer.seal(b"somebody", context) for _ in range(100)]
    share = users // 100 + 20
    with ledger.begin() as connection:
        names = ("run", "number", "wave", "user_hash", "sealed_id", "ambiguous")
        rows = (
            (
                run_id,
                number,
                (number >= 20) + (number >= share),
                sealer.user_hash(f"user-{number}"),
                sealed[number % 100],
                False,
            )
            for number in range(users)
        )
        insert_all(connection, run_user, names, rows)
        expansion.expand(connection, run_id, categories=CATEGORIES, batch_users=100)
        for statement in (SETTLED, FAILED, CAUSES, TROUBLES, COUNTERS, FINISHED):
            connection.execute(text(statement))
        connection.execute(text("UPDATE batch SET state = 'done'"))
        names = ("run", "user", "phase", "source", "reason", "sha256", "length", "sealed")
        insert_all(connection, quarantine, names, _copies(sealer, run_id, users))
    with ledger.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
        connection.execute(text("CHECKPOINT"))
    return run_id


def _copies(sealer: Sealer, run_id: str, users: int) -> Iterator[tuple[object, ...]]:
    """Of each hundredth user, one copy a category."""
    kept = encode(EVIDENCE)
    for user in range(8, users, 100):
        for phase in range(len(CATEGORIES)):
            sealed = sealer.seal(kept, quarantine_context(run_id, user, phase))
            reason = REASONS[user // 100 % len(REASONS)]
            yield run_id, user, phase, "core", reason, f"{user:064x}", 300, sealed


def pages(
    ledger: Ledger, progress: Progress, run_id: str, users: int, chance: random.Random
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Each page with a way to ask for it, somewhere."""
    plan = progress.plan(run_id)

    def place() -> tuple[int, int]:
        return chance.randrange(users), chance.randrange(len(CATEGORIES))

    yield "status", lambda: progress.status(run_id)
    gauges = LedgerGauges(ledger, Tally(), every=0.0)
    yield "metrics", lambda: exposed(gauges.collect)
    yield "failure groups", lambda: progress.causes(run_id)
    yield "one user by id", lambda: progress.user(run_id, f"user-{chance.randrange(users)}")
    for words in (
        "",
        "state:settled",
        "state:failed",
        "state:failed category:photos",
        "wave:pilot",
        "wave:everyone state:failed",
        "cause:aaaaaa",
    ):
        query = parse(words.split(), plan)
        yield (
            f"units {words}".strip(),
            lambda query=query: progress.units(run_id, query, after=place()),
        )
    yield "losses, first 100", lambda: _first(progress.losses(run_id, after=place()), 100)
    copies = users // 100 * len(CATEGORIES)
    yield (
        "quarantine, first 50",
        lambda: _first(progress.quarantine(run_id, after=chance.randrange(copies)), 50),
    )
    yield "reasons of quarantine", lambda: progress.reasons(run_id)


def _first(rows: Iterator[object], most: int) -> list[object]:
    return [row for row, _ in zip(rows, range(most), strict=False)]


def addresses(
    sealer: Sealer, run_id: str, users: int, chance: random.Random
) -> Iterator[tuple[str, Callable[[], str]]]:
    """Each page by its address, with a cursor to somewhere where it is a list."""
    pages = f"/runs/{run_id}"
    api = f"/api/v1/runs/{run_id}"

    def somewhere(page: str, which: str, words: str = "") -> str:
        place = [chance.randrange(users), chance.randrange(len(CATEGORIES))]
        to = cursor(sealer, f"pages {which} {run_id} {words}", place)
        return f"{pages}/{page}?q={quote(words)}&cursor={to}"

    def copies() -> str:
        place = chance.randrange(users // 100 * len(CATEGORIES))
        return f"{pages}/quarantine?cursor={cursor(sealer, f'pages quarantine {run_id} ', place)}"

    def user(before: str, after: str = "") -> str:
        return f"{before}/%23{chance.randrange(users)}{after}"

    yield "runs", lambda: "/"
    yield "overview", lambda: pages
    yield "overview, live part", lambda: f"{pages}/live"
    yield "one user", lambda: user(f"{pages}/users")
    yield (
        "one user who lost something",
        lambda: f"{pages}/users/%23{chance.randrange(users // 100) * 100 + 7}",
    )
    yield "failures", lambda: f"{pages}/failures"
    yield "one cause", lambda: f"{pages}/failures/aaaaaa"
    yield "users", lambda: somewhere("users", "units")
    for words in ("state:failed category:photos", "wave:everyone outcome:lost", "state:waiting"):
        yield f"users {words}", lambda words=words: somewhere("users", "units", words)
    yield "losses", lambda: somewhere("losses", "losses")
    yield "losses category:photos", lambda: somewhere("losses", "losses", "category:photos")
    yield "quarantine", copies
    yield "workers", lambda: "/workers"
    yield "API: a run", lambda: api
    yield "API: phases", lambda: f"{api}/phases"
    yield "API: failures", lambda: f"{api}/failures"
    yield "API: one user", lambda: user(f"{api}/users")
    yield "API: timeline", lambda: user(f"{api}/users", "/timeline")
    yield "API: units", lambda: f"{api}/units"
    yield "API: losses", lambda: f"{api}/losses"
    yield "API: quarantine", lambda: f"{api}/quarantine"
    yield "API: a user's standing", lambda: f"/api/v1/users/user-{chance.randrange(users)}/status"


class Browser:
    """Asks over one connection, as browsers do."""

    def __init__(self, port: int, token: str) -> None:
        self._connection = HTTPConnection("127.0.0.1", port)
        self._headers = {"Authorization": f"Bearer {token}"}

    def get(self, address: str) -> bytes:
        """The page; anything but 200 ends the measuring."""
        self._connection.request("GET", address, headers=self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status} {address} {body[:200]!r}")
        return body


Times = dict[str, tuple[float, float]]
"""By page the median and the 95th of a hundred looks, in ms."""


def timed(looks: int, each: Iterator[tuple[str, Callable[[], object]]]) -> Times:
    """Look at each, and print it."""
    found: Times = {}
    for name, look in each:
        look()
        times: list[float] = []
        for _ in range(looks):
            began = time.perf_counter()
            look()
            times.append((time.perf_counter() - began) * 1000)
        found[name] = statistics.median(times), statistics.quantiles(times, n=20)[-1]
        print(f"  {name:44} {found[name][0]:8.1f} {found[name][1]:8.1f}", flush=True)
    return found


def measured(users: int, looks: int) -> tuple[Times, Times]:
    """Of a ledger of so many users: the questions alone, and the pages."""
    key = bytes(range(32))
    with ExitStack() as stack:
        server = stack.enter_context(servers.postgres())
        url = stack.enter_context(servers.database(server, "bench"))
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reinstate-pages-")))
        settings = Settings(
            home=home, ledger_url=url, key=base64.b64encode(key).decode(), log_level="error"
        )
        sealer = load_sealer(settings)
        ledger = Ledger(url)
        stack.callback(ledger.close)
        ledger.prepare(key_check=sealer.check)
        run_id = filled(ledger, sealer, users)
        print(f"{users * len(CATEGORIES):,} units, load {os.getloadavg()[0]:.1f}: the ledger, ms")
        chance = random.Random(1)
        progress = Progress(ledger, sealer)
        asked = timed(looks, pages(ledger, progress, run_id, users, chance))
        token, _ = Tokens(ledger, sealer).create(holder="b", role=Role.ADMIN, who="b")
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            port = free.getsockname()[1]
        with serving(settings, port=port):
            browser = Browser(port, token)
            print(f"{users * len(CATEGORIES):,} units, load {os.getloadavg()[0]:.1f}: pages, ms")
            each = addresses(sealer, run_id, users, chance)
            served = timed(
                looks,
                ((name, lambda where=where: browser.get(where())) for name, where in each),
            )
    return asked, served


def main() -> None:
    """Measure at each size and print the 95th of a hundred, in milliseconds."""
    read = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    read.add_argument("--users", type=int, nargs="+", default=[10_000, 100_000])
    read.add_argument("--looks", type=int, default=40)
    given = read.parse_args()
    print(figures.machine())
    print(figures.versions())
    print("median and 95 % of looks")
    sizes = [measured(users, given.looks) for users in given.users]
    for which, what in enumerate(("question", "page")):
        least, most = sizes[0][which], sizes[-1][which]
        worst = max(most, key=lambda name: most[name][1])
        grown = statistics.median(most[name][0] / least[name][0] for name in most)
        print(
            f"P8: the slowest {what}, {worst}, takes {most[worst][1]:.0f} ms in 95 % of looks "
            f"(goal below 50); from the smallest to the largest ledger they take {grown:.2f} times"
            " as long (median)"
        )


if __name__ == "__main__":
    main()
