"""Everything that a route may ask for, made once a process."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, cast

from fastapi import Depends, Request
from msgspec import Struct

from orchestrator.aftercare import Aftercare
from orchestrator.api.documents import encoded_run
from orchestrator.api.events import Hub
from orchestrator.api.idempotency import Answers
from orchestrator.api.recent import Recent
from orchestrator.deliveries import Deliveries
from orchestrator.identity.sessions import Sessions
from orchestrator.identity.sign_on import SignOn
from orchestrator.identity.tokens import Tokens
from orchestrator.ledger.database import Ledger
from orchestrator.metrics.ledger_gauges import LedgerGauges
from orchestrator.metrics.tally import Tally
from orchestrator.operations import Operations
from orchestrator.plan_store import PlanStore
from orchestrator.progress import Progress
from orchestrator.public.bulletins import Bulletins
from orchestrator.public.claims import Claims
from orchestrator.public.own_page import OwnPages
from orchestrator.public.status_page import SECONDS, PublicStatuses
from orchestrator.revealing import Revealing
from orchestrator.runs import Runs
from orchestrator.sealing import Sealer, load_sealer
from orchestrator.settings import Settings

CALLBACK = "/login/sso/callback"
"""Where the identity provider sends people back to."""


class Installation(Struct, frozen=True, kw_only=True):
    """The ledger, and who asks it what."""

    settings: Settings
    ledger: Ledger
    sealer: Sealer
    runs: Runs
    progress: Progress
    aftercare: Aftercare
    bulletins: Bulletins
    deliveries: Deliveries
    operations: Operations
    plans: PlanStore
    revealing: Revealing
    tokens: Tokens
    sessions: Sessions
    answers: Answers
    hub: Hub
    recent: Recent
    sign_on: SignOn | None
    """None: people log in with tokens only."""
    statuses: PublicStatuses
    tally: Tally
    gauges: LedgerGauges
    own_pages: OwnPages
    claims: Claims

    @classmethod
    def of(
        cls,
        settings: Settings,
        ledger: Ledger,
        sealer: Sealer,
        *,
        recent: Recent | None = None,
        public_seconds: float = SECONDS,
    ) -> "Installation":
        """Everything, over a ledger that is open."""
        progress = Progress(ledger, sealer)
        tally = Tally()
        runs = Runs(ledger, sealer)
        claims = Claims(ledger, progress)
        return cls(
            settings=settings,
            ledger=ledger,
            sealer=sealer,
            runs=runs,
            progress=progress,
            aftercare=Aftercare(ledger, sealer),
            bulletins=Bulletins(ledger, sealer, progress),
            deliveries=Deliveries(ledger),
            operations=Operations(ledger, sealer),
            plans=PlanStore(ledger),
            revealing=Revealing(ledger, sealer, progress),
            tokens=Tokens(ledger, sealer),
            sessions=Sessions(ledger, sealer),
            answers=Answers(ledger, sealer),
            hub=Hub(ledger, progress, {"document": encoded_run}),
            recent=recent or Recent(progress),
            sign_on=None
            if settings.oidc is None
            else SignOn(settings.oidc, sealer, callback=settings.public_url + CALLBACK),
            statuses=PublicStatuses(ledger, progress, seconds=public_seconds),
            tally=tally,
            gauges=LedgerGauges(ledger, tally),
            own_pages=OwnPages(ledger, sealer, runs, claims),
            claims=claims,
        )

    @classmethod
    def nowhere(cls) -> "Installation":
        """One that has no ledger: for describing routes, not for asking."""
        sealer = Sealer(bytes(32))
        settings = Settings(home=Path(), ledger_url="sqlite://")
        return cls.of(settings, Ledger(settings.ledger_url), sealer)


@contextmanager
def opened(settings: Settings) -> Generator[Installation]:
    """The installation of these settings; its ledger is closed at the end."""
    sealer = load_sealer(settings)
    ledger = Ledger(settings.ledger_url)
    ledger.prepare(key_check=sealer.check)
    try:
        yield Installation.of(settings, ledger, sealer)
    finally:
        ledger.close()


def named(asked: Installation, user: str) -> str:
    """A user by reference, given by id or by reference."""
    return user if asked.sealer.hashes_of(user) else asked.sealer.user_ref(user)


def installation(request: Request) -> Installation:
    """The installation that the application was made for."""
    return cast("Installation", request.app.state.installation)


Asked = Annotated[Installation, Depends(installation)]
"""What a route takes as an argument to ask for anything."""
