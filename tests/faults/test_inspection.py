"""An inspection is one batch for a whole run: unlucky workers must not refuse it."""

from orchestrator import VERSION
from orchestrator.ledger import leases
from orchestrator.lifecycle import RunState
from tests.faults.cargo import CONTACTS, Cargo
from tests.in_process import Service


def crash(service: Service) -> None:
    """Claim what was rung for, and never be heard of again."""
    service.conductor.tick()
    while service.rings.waiting:
        with service.ledger.begin() as connection:
            now = service.ledger.clock(connection)
            ring = service.rings.waiting.pop(0)
            leases.claim(
                connection, ring, now=now, lease_ms=60_000, worker="unlucky", release=VERSION
            )
    service.clock.advance(minutes=2)


def test_an_inspection_outlives_four_workers_and_refuses_its_run_after_the_fifth(tmp_path):
    cargo = Cargo(tmp_path / "cargo", users=2, phases=CONTACTS)
    service = Service(tmp_path / "home")
    service.folder = cargo.folder
    lucky = service.submit(cargo.plan)
    for _ in range(4):
        crash(service)
    assert service.progress.state(lucky) is RunState.INSPECTING
    service.go_on()
    assert service.progress.state(lucky) is RunState.FINISHED
    assert cargo.wrongs() == []
    hopeless = service.submit(cargo.plan)
    for _ in range(7):
        crash(service)
    assert service.progress.state(hopeless) is RunState.REFUSED
    service.work.close()
