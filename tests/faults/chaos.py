"""Breaks a real installation at random for as long as asked, and counts again what came back.

    python -m tests.faults.chaos --seconds 180 --seed 7 --ledger postgresql

The seed decides which faults come when; what the processes were doing then is up to the machine,
so a seed repeats the weather, not the run.
"""

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from orchestrator.audit import audit
from orchestrator.errors import Unavailable
from orchestrator.lifecycle import TERMINAL_RUNS, RunState
from orchestrator.query import parse
from tests.faults.cargo import BOTH, Cargo
from tests.faults.installation import Installation, Process
from tests.servers import Postgres

USERS = 500
WORKERS = ("worker1", "worker2")
CONDUCTORS = ("conductor1", "conductor2")


@dataclass
class Toll:
    """What was done and what came of it."""

    faults: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    units: int = 0
    retried: int = 0
    """Units that faults alone had made fail, and an operator's retry restored."""
    seconds: float = 0.0
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        faults = ", ".join(f"{number} {name}" for name, number in sorted(self.faults.items()))
        return (
            f"{self.units} units in {self.runs} runs, {self.seconds:.0f} s; {faults}; "
            f"{self.retried} units retried; {len(self.violations)} violations"
        )


class Weather:
    """The faults, each of which is over by itself when `calm` is called."""

    def __init__(self, here: Installation, rng: Random, postgres: Postgres | None) -> None:
        self._here = here
        self._rng = rng
        self._postgres = postgres
        self._thaws: list[tuple[float, Callable[[], None]]] = []
        self.faults: list[Callable[[], bool]] = [
            *([self.kill_child] * 4),
            *([self.kill_worker] * 2),
            *([self.freeze_worker] * 2),
            *([self.freeze_child] * 2),
            self.kill_conductor,
            self.freeze_conductor,
            *([self.wipe_redis] * 2),
            self.kill_redis,
            self.freeze_redis,
            self.fill_redis,
            self.partition,
            *([self.cut_ledger] * 2 if postgres else []),
        ]

    def strike(self, toll: Toll) -> None:
        """One fault, chosen by the seed; some find nothing to break."""
        fault = self._rng.choice(self.faults)
        if fault():
            toll.faults[fault.__name__] += 1

    def pass_time(self, *, all_of_it: bool = False) -> None:
        """End the faults whose time is over."""
        now = time.monotonic()
        for due, thaw in [*self._thaws]:
            if all_of_it or due <= now:
                self._thaws.remove((due, thaw))
                thaw()

    def _later(self, least: float, most: float, thaw: Callable[[], None]) -> None:
        self._thaws.append((time.monotonic() + self._rng.uniform(least, most), thaw))

    def _one(self, names: tuple[str, ...]) -> Process:
        return self._here.processes[self._rng.choice(names)]

    def _child(self) -> int | None:
        children = self._one(WORKERS).children()
        return self._rng.choice(children) if children else None

    def kill_child(self) -> bool:
        child = self._child()
        return child is not None and _signalled(child, signal.SIGKILL)

    def kill_worker(self) -> bool:
        self._one(WORKERS).kill()
        return True

    def kill_conductor(self) -> bool:
        self._one(CONDUCTORS).kill()
        return True

    def freeze_worker(self) -> bool:
        """Often past its lease, so that it wakes as a zombie."""
        worker = self._one(WORKERS)
        worker.signal(signal.SIGSTOP)
        self._later(0.5, self._here.lease * 2.5, lambda: worker.signal(signal.SIGCONT))
        return True

    def freeze_child(self) -> bool:
        child = self._child()
        if child is None or not _signalled(child, signal.SIGSTOP):
            return False
        self._later(0.5, self._here.lease * 2.5, lambda: _signalled(child, signal.SIGCONT))
        return True

    def freeze_conductor(self) -> bool:
        conductor = self._one(CONDUCTORS)
        conductor.signal(signal.SIGSTOP)
        self._later(0.5, self._here.lease * 2.5, lambda: conductor.signal(signal.SIGCONT))
        return True

    def wipe_redis(self) -> bool:
        with contextlib.suppress(OSError), self._here.redis.client() as client:
            client.flushall()
        return True

    def kill_redis(self) -> bool:
        self.pass_time(all_of_it=True)
        self._here.redis.signal(signal.SIGKILL)
        self._here.redis.start()
        return True

    def freeze_redis(self) -> bool:
        redis = self._here.redis
        redis.signal(signal.SIGSTOP)
        time.sleep(self._rng.uniform(0.2, self._here.lease * 1.5))
        redis.signal(signal.SIGCONT)
        return True

    def fill_redis(self) -> bool:
        with self._here.redis.client() as client:
            client.config_set("maxmemory", "100kb")
            time.sleep(self._rng.uniform(0.2, 1.0))
            client.config_set("maxmemory", "0")
        return True

    def partition(self) -> bool:
        """Nothing passes between the installation and its broker, and nobody is told."""
        line = self._here.processes["line"]
        line.signal(signal.SIGSTOP)
        self._later(0.5, self._here.lease * 1.5, lambda: line.signal(signal.SIGCONT))
        return True

    def cut_ledger(self) -> bool:
        with self._postgres.connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname <> 'postgres' AND pid <> pg_backend_pid()"
            )
        return True


def _signalled(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def line_to_redis(here: Installation) -> None:
    """Between everybody and Redis a proxy that cuts a connection now and then."""
    socket = here.redis.folder / "line"
    command = [sys.executable, str(Path(__file__).with_name("proxy.py"))]
    command += [str(socket), str(here.redis.socket), "reinstate", "150"]
    here.processes["line"] = Process("line", command, dict(os.environ), here.folder / "line.log")
    here.environ["REINSTATE_BROKER_URL"] = f"redis+socket://{socket}?virtual_host=0"


def chaos(
    folder: Path,
    *,
    seconds: float,
    seed: int,
    ledger_url: str | None = None,
    postgres: Postgres | None = None,
    users: int = USERS,
    say: Callable[[str], None] = print,
) -> Toll:
    """Run after run under faults until `seconds` have passed; each is counted again at its end."""
    rng = Random(seed)
    toll = Toll()
    began = time.monotonic()
    slowly = BOTH.replace("pim}", "pim, limits: {rate: 1500/s}}")
    with Installation(folder / "home", ledger_url=ledger_url) as here:
        line_to_redis(here)
        here.start(workers=2, conductors=2)
        weather = Weather(here, rng, postgres)
        while time.monotonic() - began < seconds:
            cargo = Cargo(folder / f"cargo{toll.runs}", users=users, phases=slowly)
            run = here.submit(cargo.plan, cargo.folder)
            while time.monotonic() - began < seconds and _state(here, run) not in TERMINAL_RUNS:
                weather.strike(toll)
                until = time.monotonic() + rng.expovariate(3)
                while time.monotonic() < until:
                    weather.pass_time()
                    here.tend()
                    time.sleep(0.02)
            weather.pass_time(all_of_it=True)
            here.until(lambda run=run: _state(here, run) in TERMINAL_RUNS, 120)
            if here.state(run) is not RunState.FINISHED:
                toll.violations.append(f"run {toll.runs} is {here.state(run)}")
                continue
            toll.retried += _retry_failed(here, run)
            toll.violations += [f"run {toll.runs}: {wrong}" for wrong in cargo.wrongs()]
            toll.violations += [f"run {toll.runs}: {wrong}" for wrong in audit(here.ledger, run)]
            toll.runs += 1
            toll.units += cargo.units
            toll.seconds = time.monotonic() - began
            say(f"seed {seed}: {toll}")
    return toll


def _state(here: Installation, run: str) -> object:
    """None while the ledger is away from us, too."""
    with contextlib.suppress(Unavailable):
        return here.state(run)
    return None


def _retry_failed(here: Installation, run: str) -> int:
    """What a person does about units that failed because their workers were killed too often."""
    failed = here.runs.retry(run, parse(("state:failed",), here.progress.plan(run)), who="jo")
    if failed:
        here.until(lambda: here.state(run) in TERMINAL_RUNS, 120)
    return failed


def main() -> int:
    """From the command line; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--ledger", choices=("sqlite", "postgresql"), default="postgresql")
    parser.add_argument("--users", type=int, default=USERS)
    options = parser.parse_args()
    sys.stdout.write(f"seed {options.seed}\n")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        postgres, url = None, None
        if options.ledger == "postgresql":
            postgres = Postgres()
            stack.callback(postgres.stop)
            with postgres.connect() as connection:
                connection.execute("CREATE DATABASE ledger")
            url = postgres.url("ledger")
        toll = chaos(
            Path(folder),
            seconds=options.seconds,
            seed=options.seed,
            ledger_url=url,
            postgres=postgres,
            users=options.users,
        )
    sys.stdout.writelines(f"{violation}\n" for violation in toll.violations[:50])
    return 1 if toll.violations else 0


if __name__ == "__main__":
    sys.exit(main())
