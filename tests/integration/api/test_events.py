"""Live progress: nothing is lost, whoever is slow, cut off, or on another process."""

import asyncio
import json
from collections.abc import Callable

import pytest

from orchestrator.api import events
from orchestrator.api.documents import encoded_run
from orchestrator.api.events import MOST_ACTIONS, Hub
from orchestrator.errors import Unavailable
from tests.installed import Furnished, furnished

__all__ = ["furnished"]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(events, "LOOK_SECONDS", 0.01)


class Reader:
    """Reads a stream in the background, and tells what came."""

    def __init__(self, hub: Hub, run: str, **how: object) -> None:
        self.events: list[tuple[str, str, dict]] = []
        self._stream = hub.follow(run, **how)
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for part in self._stream:
            for block in part.decode().split("\n\n"):
                fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
                if "event" in fields:
                    data = json.loads(fields["data"])
                    self.events.append((fields["event"], fields["id"], data))

    async def until(self, enough: Callable[[list], bool]) -> None:
        async with asyncio.timeout(20):
            while not enough(self.events):  # noqa: ASYNC110  it is a test that waits
                await asyncio.sleep(0.005)

    async def stop(self) -> str:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._stream.aclose()
        return self.events[-1][1]

    @property
    def actions(self) -> list[str]:
        return [data["action"] for name, _, data in self.events if name == "action"]


def hub(site: Furnished) -> Hub:
    service = site.service
    return Hub(service.ledger, service.progress, {"document": encoded_run})


def paused(site: Furnished, run: str) -> None:
    site.service.runs.pause(run, who="mia", reason="a test")
    site.service.runs.resume(run, who="mia", reason="a test")


def running(site: Furnished) -> str:
    run = site.submitted()
    site.service.runs.approve(run, who="jo", reason="")
    while site.service.status(run).run.state != "running":
        site.service.conductor.tick()
    return run


def some(number: int) -> Callable[[list], bool]:
    return lambda found: sum(name == "action" for name, *_ in found) >= number


def test_who_comes_sees_the_run_and_then_everything_that_is_done(furnished):
    run = running(furnished)

    async def watched() -> None:
        reader = Reader(hub(furnished), run, whole=True)
        await reader.until(lambda found: len(found) >= 1)
        assert reader.events[0][0] == "run"
        assert reader.events[0][2]["run"]["id"] == run
        await asyncio.to_thread(paused, furnished, run)
        await reader.until(some(2))
        assert reader.actions == ["pause", "resume"]
        assert reader.events[-1][2].get("who", "mia") == "mia"
        await reader.stop()

    asyncio.run(watched())


def test_who_was_cut_off_is_told_what_was_missed_by_any_process(furnished):
    run = running(furnished)

    async def watched() -> None:
        first = hub(furnished)
        reader = Reader(first, run)
        await reader.until(lambda found: len(found) >= 1)
        last = await reader.stop()
        for _ in range(3):
            await asyncio.to_thread(paused, furnished, run)
        for other in (first, hub(furnished)):
            again = Reader(other, run, last_event=last)
            await again.until(some(6))
            await asyncio.sleep(0.05)
            assert again.actions == ["pause", "resume"] * 3
            numbers = [int(number.split(".")[0]) for _, number, _ in again.events]
            assert numbers == sorted(numbers)
            await again.stop()

    asyncio.run(watched())


def test_who_saw_everything_is_told_nothing_twice(furnished):
    run = furnished.run

    async def watched() -> None:
        live = hub(furnished)
        reader = Reader(live, run)
        await reader.until(lambda found: len(found) >= 1)
        keeper = Reader(live, run)
        last = await reader.stop()
        again = Reader(live, run, last_event=last)
        await asyncio.sleep(0.2)
        assert again.events == []
        await keeper.stop()

    asyncio.run(watched())


@pytest.mark.parametrize("forged", ["x", "-1.a", "99999999999999999999.", "1.ZZ", "1", "7.\n8"])
def test_a_last_event_that_is_made_up_means_from_now_on(furnished, forged):
    async def watched() -> None:
        reader = Reader(hub(furnished), furnished.run, last_event=forged)
        await reader.until(lambda found: len(found) >= 1)
        assert [name for name, *_ in reader.events] == ["run"]
        await reader.stop()

    asyncio.run(watched())


def test_many_who_watch_cost_one_look_at_a_time(furnished, monkeypatch):
    looks = 0
    status = furnished.service.progress.status

    def counted(run: str):
        nonlocal looks
        looks += 1
        return status(run)

    monkeypatch.setattr(furnished.service.progress, "status", counted)
    monkeypatch.setattr(events, "LOOK_SECONDS", 0.1)

    async def watched() -> None:
        live = hub(furnished)
        readers = [Reader(live, furnished.run) for _ in range(100)]
        for reader in readers:
            await reader.until(lambda found: len(found) >= 1)
        assert live.clients == 100
        for reader in readers:
            await reader.stop()
        assert live.clients == 0
        before = looks
        await asyncio.sleep(0.3)
        assert looks <= before + 1  # nobody watches, nobody looks

    asyncio.run(watched())
    assert looks < 30


def test_a_slow_client_is_let_go_before_it_fills_the_memory(furnished):
    run = running(furnished)

    async def watched() -> None:
        live = hub(furnished)
        stream = live.follow(run)
        await anext(stream)  # and then it reads no more
        watched_run = live._watched[run]
        client = next(iter(watched_run.clients))
        for _ in range(MOST_ACTIONS // 2 + 1):
            await asyncio.to_thread(paused, furnished, run)
        async with asyncio.timeout(20):
            while not client.lost:  # noqa: ASYNC110  the same
                await asyncio.sleep(0.01)
        rest = [part async for part in stream]
        assert len(rest) <= 1
        assert live.clients == 0

    asyncio.run(watched())


def test_only_who_may_read_the_audit_log_sees_who_and_why(furnished):
    run = running(furnished)

    async def watched() -> None:
        live = hub(furnished)
        bare, whole = Reader(live, run), Reader(live, run, whole=True)
        await bare.until(lambda found: len(found) >= 1)
        await whole.until(lambda found: len(found) >= 1)
        await asyncio.to_thread(paused, furnished, run)
        await bare.until(some(2))
        await whole.until(some(2))
        told = [data for name, _, data in bare.events if name == "action"]
        assert [set(data) for data in told] == [{"id", "at", "action"}] * 2
        assert all(data["who"] == "mia" for name, _, data in whole.events if name == "action")
        await bare.stop()
        await whole.stop()

    asyncio.run(watched())


def test_a_ledger_that_is_away_for_a_while_ends_no_stream(furnished, monkeypatch):
    status = furnished.service.progress.status
    run = running(furnished)
    away = True

    def sometimes(run_id: str):
        if away:
            raise Unavailable("the ledger did not answer")
        return status(run_id)

    async def watched() -> None:
        nonlocal away
        monkeypatch.setattr(furnished.service.progress, "status", sometimes)
        reader = Reader(hub(furnished), run)
        await asyncio.sleep(0.1)
        assert reader.events == []
        away = False
        await reader.until(lambda found: len(found) >= 1)
        await reader.stop()

    asyncio.run(watched())


def test_everybody_is_let_go_when_the_process_stops(furnished):
    async def watched() -> None:
        live = hub(furnished)
        reader = Reader(live, furnished.run)
        await reader.until(lambda found: len(found) >= 1)
        live.stop()
        async with asyncio.timeout(5):
            await reader._task

    asyncio.run(watched())
