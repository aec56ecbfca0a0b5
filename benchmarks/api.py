"""One API process under load: 1,000 who watch a run live, and 200 requests a second beside.

    python benchmarks/api.py [--watchers 1000] [--rate 200] [--seconds 20] [--ledger postgresql]

A real uvicorn process on the loopback. Meanwhile the run is paused and resumed, twice a second, and
each fifth watcher is cut off now and then and comes back with Last-Event-ID. Afterwards the audit
log says which actions there were; every watcher must have been sent each of them, once, in order,
and the last picture of the run. Ends with 1 where anything was lost.
"""

import argparse
import asyncio
import base64
import json
import os
import random
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy import select, update

from benchmarks.stand import figures, servers
from orchestrator.identity.roles import Role
from orchestrator.identity.tokens import Tokens
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.schema import audit_log, run
from orchestrator.lifecycle import RunState
from orchestrator.planner import read_plan
from orchestrator.runs import Runs
from orchestrator.sealing import load_sealer
from orchestrator.settings import Settings
from orchestrator.submitting import Submission

PLAN = """
version: 1
name: watched
incident: {as_of: 2009-10-01T00:00:00Z}
sources: {core: {kind: memory}}
targets: {live: {kind: memory}}
waves: [{name: canary, users: 20}, {name: pilot, share: 1%}, {name: everyone}]
phases: [{restore: contacts, to: live}, {restore: calendar, to: live}]
"""
PORT = 18730


class Watcher:
    """One who watches; keeps the ids of what it was sent."""

    def __init__(self, headers: str, path: str, *, fickle: bool) -> None:
        self.headers = headers
        self.path = path
        self.fickle = fickle
        self.actions: list[int] = []
        self.picture = b""
        self.last = ""
        self.received = 0
        self.comebacks = 0

    async def watch(self, until: asyncio.Event) -> None:
        """Follow the run, and come back whenever it is cut off."""
        while not until.is_set():
            reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
            resume = f"Last-Event-ID: {self.last}\r\n" if self.last else ""
            writer.write(f"GET {self.path} HTTP/1.1\r\n{self.headers}{resume}\r\n".encode())
            patience = random.uniform(2, 6) if self.fickle else 3600
            try:
                async with asyncio.timeout(patience):
                    await self._read(reader, until)
            except TimeoutError:
                self.comebacks += 1
            finally:
                writer.close()

    async def _read(self, reader: asyncio.StreamReader, until: asyncio.Event) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode())
        pending = b""
        while not until.is_set():
            size = int(await reader.readline() or b"0", 16)
            if not size:
                return
            chunk = (await reader.readexactly(size + 2))[:-2]
            self.received += size
            pending += chunk
            *events, pending = pending.split(b"\n\n")
            for event in events:
                self._take(event)

    def _take(self, event: bytes) -> None:
        lines = event.split(b"\n")
        if not lines[0].startswith(b"id: "):
            return
        self.last = lines[0][4:].decode()
        if lines[1] == b"event: action":
            self.actions.append(int(self.last.split(".")[0]))
        else:
            self.picture = lines[2][6:]


async def ask(headers: str, path: str, times: list[float], wrong: list[bytes]) -> None:
    """One request on a connection of its own."""
    begun = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    writer.write(f"GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    times.append(time.perf_counter() - begun)
    if not answer.startswith(b"HTTP/1.1 200"):
        wrong.append(answer[:200])


async def load(headers: str, path: str, rate: int, seconds: float) -> tuple[list[float], list]:
    times: list[float] = []
    wrong: list[bytes] = []
    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))
            group.create_task(ask(headers, path, times, wrong))
    return times, wrong


def act(runs: Runs, run_id: str, seconds: float) -> int:
    """Pause and resume, in a thread of its own; how often."""
    done = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        (runs.pause if done % 2 == 0 else runs.resume)(run_id, who="benchmark", reason=str(done))
        done += 1
        time.sleep(0.5)
    return done


def a_run(ledger: Ledger, runs: Runs) -> str:
    plan = read_plan(PLAN.encode(), path="plan.yaml", base=Path())
    run_id = runs.submit(Submission(plan=plan, text=PLAN, folder="/", author="benchmark"))
    with ledger.begin() as connection:
        connection.execute(update(run).where(run.c.id == run_id).values(state=RunState.RUNNING))
    return run_id


@contextmanager
def serving(settings: Settings, *, port: int = PORT) -> Iterator[None]:
    """The real process, ready."""
    environ = {**os.environ, **settings.environment(), "REINSTATE_API": f"127.0.0.1:{port}"}
    command = (sys.executable, "-m", "orchestrator.web")
    with (settings.home / "api.log").open("wb") as output:
        process = subprocess.Popen(command, env=environ, stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                try:
                    with socket.create_connection(("127.0.0.1", port)):
                        break
                except OSError:
                    time.sleep(0.1)
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)


async def measured(runs: Runs, run_id: str, token: str, options: argparse.Namespace) -> dict:
    headers = f"Host: localhost\r\nAuthorization: Bearer {token}\r\n"
    until = asyncio.Event()
    watchers = [
        Watcher(headers, f"/api/v1/runs/{run_id}/events", fickle=number % 5 == 0)
        for number in range(options.watchers)
    ]
    tasks = [asyncio.create_task(watcher.watch(until)) for watcher in watchers]
    begun = time.perf_counter()
    while any(not watcher.picture for watcher in watchers):  # noqa: ASYNC110  of a thousand
        await asyncio.sleep(0.05)
    joined = time.perf_counter() - begun
    acting = asyncio.create_task(asyncio.to_thread(act, runs, run_id, options.seconds))
    path = f"/api/v1/runs/{run_id}/phases"
    times, wrong = await load(headers, path, options.rate, options.seconds)
    await acting
    await asyncio.sleep(4)
    until.set()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {"watchers": watchers, "joined": joined, "times": sorted(times), "wrong": wrong}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--watchers", type=int, default=1000)
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--ledger", choices=("postgresql", "sqlite"), default="postgresql")
    options = parser.parse_args()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = f"sqlite:///{home / 'ledger.db'}"
        if options.ledger == "postgresql":
            url = stack.enter_context(servers.postgres()).url()
        settings = Settings(home=home, ledger_url=url, key=base64.b64encode(bytes(32)).decode())
        ledger = Ledger(url)
        ledger.prepare(key_check=load_sealer(settings).check)
        sealer = load_sealer(settings)
        runs = Runs(ledger, sealer)
        run_id = a_run(ledger, runs)
        token, _ = Tokens(ledger, sealer).create(holder="b", role=Role.OPERATOR, who="b")
        before = time.perf_counter(), cpu(resource.RUSAGE_CHILDREN), cpu(resource.RUSAGE_SELF)
        with serving(settings):
            found = asyncio.run(measured(runs, run_id, token, options))
        found["seconds"] = time.perf_counter() - before[0]
        found["server"] = cpu(resource.RUSAGE_CHILDREN) - before[1]
        found["client"] = cpu(resource.RUSAGE_SELF) - before[2]
        with ledger.read() as connection:
            asked = select(audit_log.c.id).where(
                audit_log.c.run == run_id, audit_log.c.action.in_(("pause", "resume"))
            )
            actions = list(connection.execute(asked.order_by(audit_log.c.id)).scalars())
            state = connection.execute(select(run.c.state).where(run.c.id == run_id)).scalar_one()
        ledger.close()
    sys.exit(tell(found, actions, state, options))


def cpu(of: int) -> float:
    """Seconds of computing, of this process or of those that have ended."""
    used = resource.getrusage(of)
    return used.ru_utime + used.ru_stime


def tell(found: dict, actions: list[int], state: str, options: argparse.Namespace) -> int:
    watchers, times = found["watchers"], found["times"]
    incomplete = [watcher for watcher in watchers if watcher.actions != actions]
    stale = [w for w in watchers if json.loads(w.picture)["run"]["state"] != state]
    print(f"{figures.machine()}, load {os.getloadavg()[0]:.1f}; {figures.versions()}")
    print(
        f"{len(watchers)} watchers joined in {found['joined']:.1f} s; {len(actions)} actions, "
        f"{len(actions) * len(watchers):,} to be sent; cut off and back "
        f"{sum(watcher.comebacks for watcher in watchers)} times; "
        f"{sum(watcher.received for watcher in watchers) / 1e6:.0f} MB"
    )
    print(
        f"watchers that missed, or were told twice: {len(incomplete)}; "
        f"with an old picture: {len(stale)}"
    )
    middle, slow = statistics.median(times) * 1000, times[len(times) * 95 // 100] * 1000
    print(
        f"{len(times)} requests at {options.rate}/s beside: median {middle:.1f} ms, "
        f"95 % {slow:.1f} ms, most {times[-1] * 1000:.0f} ms; {len(found['wrong'])} refused"
    )
    print(
        f"in {found['seconds']:.0f} s the API process computed {found['server']:.1f} s, "
        f"its {len(watchers)} watchers and askers together {found['client']:.1f} s"
    )
    for watcher in incomplete[:3]:
        print("  missed", sorted(set(actions) - set(watcher.actions))[:5], len(watcher.actions))
    for answer in found["wrong"][:3]:
        print("  ", answer)
    return 1 if incomplete or stale or found["wrong"] else 0


if __name__ == "__main__":
    main()
