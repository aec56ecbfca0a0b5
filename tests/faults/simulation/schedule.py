"""Several actors, one at a time: who goes on at a yield point is drawn from the seed.

Each actor is a thread that runs only while it holds the baton. Time is a number that grows at every
yield and jumps when everybody sleeps. A kill is `Killed`, raised at a yield point; it is no
`Exception`, so nothing in the product can catch it by accident.
"""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

START = 1_256_000_000.0
"""When every simulation begins, in seconds since the epoch: October 2009."""
TOO_LONG = 90.0
"""Real seconds until a simulation that hangs is given up."""


class Killed(BaseException):
    """What ends an actor as kill -9 ends a process."""


class Stopped(BaseException):
    """The simulation is over."""


@dataclass(eq=False)
class Actor:
    """A process of the simulated service, or a person."""

    name: str
    live: Callable[[], None]
    """Lives until it returns; called again, as a new process, after it was killed."""
    mortal: bool = True
    wake: float = START
    lives: int = 0
    dying: bool = False
    stalled: bool = False
    over: bool = False
    baton: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    thread: threading.Thread | None = None


class Schedule:
    """Passes the baton on."""

    def __init__(self, rng: random.Random, *, restlessness: float) -> None:
        """`restlessness`: how often a yield point really changes who goes on."""
        self.rng = rng
        self.now = START
        self.steps = 0
        self.history: list[tuple[float, str, str]] = []
        self.actors: list[Actor] = []
        self.current: Actor | None = None
        self.failure: BaseException | None = None
        self._restlessness = restlessness
        self._stopping = False
        self._ended = threading.Event()

    def add(self, name: str, live: Callable[[], None], *, mortal: bool = True) -> Actor:
        """One more actor; it starts when the simulation does."""
        actor = Actor(name=name, live=live, mortal=mortal)
        self.actors.append(actor)
        return actor

    def note(self, what: str) -> None:
        """Write a line of history."""
        self.history.append((self.now, self.current.name if self.current else "-", what))

    def is_actor(self) -> bool:
        """Whether the calling thread is the one that holds the baton."""
        return self.current is not None and self.current.thread is threading.current_thread()

    # What actors call ---------------------------------------------------------------------------

    def pause(self) -> None:
        """A yield point: time passes, and another may go on."""
        actor = self._mine()
        self.steps += 1
        self.now += 0.001 + self.rng.random() * 0.02
        if self.rng.random() < self._restlessness:
            self._pass_on(actor)

    def sleep(self, seconds: float) -> None:
        """Come back after so long, or later."""
        actor = self._mine()
        actor.wake = self.now + max(seconds, 0.001)
        self._pass_on(actor)

    def stall(self, seconds: float) -> None:
        """Stand still as a stopped process does."""
        actor = self._mine()
        self.note(f"frozen for {seconds:.0f} s")
        actor.stalled = True
        try:
            self.sleep(seconds)
        finally:
            actor.stalled = False
        self.note("goes on")

    def kill(self) -> None:
        """End the calling actor's process here."""
        actor = self._mine()
        actor.dying = True
        self.note("killed")
        raise Killed

    def _mine(self) -> Actor:
        actor = self.current
        assert actor is not None
        assert actor.thread is threading.current_thread()
        if actor.dying:
            raise Killed
        if self._stopping:
            raise Stopped
        return actor

    # The baton ----------------------------------------------------------------------------------

    def run(self, over: Callable[[], bool]) -> None:
        """Let them live until `over` (asked whenever everybody rests) or the last one ends."""
        self._over = over
        for actor in self.actors:
            actor.thread = threading.Thread(target=self._life, args=(actor,), daemon=True)
            actor.thread.start()
        self._hand_to(self._next())
        if not self._ended.wait(TOO_LONG):
            self.failure = self.failure or TimeoutError("the simulation hangs")
        self._stopping = True
        for actor in self.actors:
            if actor.thread is not None and actor.thread.is_alive():
                self.current = actor
                actor.baton.release()
                actor.thread.join(5)
        if self.failure is not None:
            raise self.failure

    def _life(self, actor: Actor) -> None:
        actor.baton.acquire()
        try:
            while not self._stopping:
                try:
                    actor.lives += 1
                    actor.live()
                    break
                except Killed:
                    actor.dying = False
                    self.sleep(self.rng.choice((0.5, 5.0, 90.0)))
        except Stopped:
            return
        except BaseException as error:  # noqa: BLE001  whatever broke is the simulation's result
            self.failure = self.failure or error
            self._ended.set()
            return
        actor.over = True
        if not self._stopping:
            self._hand_to(self._next())

    def _pass_on(self, actor: Actor) -> None:
        following = self._next()
        if following is actor:
            return
        self._hand_to(following)
        actor.baton.acquire()
        if self._stopping:
            raise Stopped

    def _hand_to(self, actor: Actor | None) -> None:
        self.current = actor
        if actor is None:
            self._ended.set()
        else:
            actor.baton.release()

    def _next(self) -> Actor | None:
        """Who goes on; None when everything is over. Time jumps when everybody sleeps."""
        alive = [actor for actor in self.actors if not actor.over]
        awake = [actor for actor in alive if actor.wake <= self.now]
        if awake:
            return self.rng.choice(awake)
        if not alive or self._over():
            return None
        self.now = min(actor.wake for actor in alive)
        return self.rng.choice([actor for actor in alive if actor.wake <= self.now])
