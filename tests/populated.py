"""A site with something to see: a run under way, with failures, losses, copies in quarantine.

with served(populated(tmp_path)) as address: …   # a real server, for real browsers
"""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from tests.site import Site
from workers.sources import memory as source
from workers.targets import memory as target

USERS = 60
PLAN = """
version: 1
name: sidekick-2009
incident: {reference: INC-1042, as_of: 2009-10-01T00:00:00Z}
users: {from: users.csv}
census: census.csv
sources:
  core: {kind: memory, name: shown}
targets:
  live: {kind: memory, name: shown}
waves: [{name: canary, users: 5}, {name: tenth, share: 30%}, {name: everyone}]
defaults: {attempts: 1, backoff: 30s..10m, gate: {failed: 100%}}
phases:
  - {restore: contacts, to: live}
  - {restore: notes, to: live, gate: {approve: 1}}
  - {restore: high_scores, to: live}
approvals: 1
"""
CARD = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{n}\r\nN:Muster;{n};;;\r\nFN:Person {n}\r\nEND:VCARD\r\n"


def user(number: int) -> str:
    return f"canary-user-{number}@example.org"


def contents() -> dict:
    """Every seventh user has a damaged card, every eleventh notes that cannot be written."""
    found: dict = {}
    for number in range(USERS):
        cards = {f"{n}.vcf": CARD.format(n=f"{number}-{n}").encode() for n in range(4)}
        if number % 7 == 0:
            cards["bad.vcf"] = b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:cut off in the mid"
        notes = {
            f"{n}.json": json.dumps(
                {"id": f"{number}-{n}", "title": f"Title {n}", "body": f"canary-content {number}"}
            ).encode()
            for n in range(3)
        }
        scores = {"scores.json": json.dumps({"board": "tetris", "value": 100 + number}).encode()}
        found[user(number)] = {"contacts": cards, "notes": notes, "high_scores": scores}
    return found


def populated(folder: Path, *, over: bool = False) -> tuple[Site, str]:
    """The site, and its run: waiting at the gate of notes, or over."""
    site = Site(folder)
    source.put("shown", contents())
    target.forget("shown")
    store = target.store("shown")

    unlucky = {user(number) for number in range(0, USERS, 11)}

    def disturb(category, write):
        if category == "notes" and write.owner in unlucky:
            return target.Disturbance(fate=target.Fate.UNKNOWN, stored=False)
        return None

    store.disturb = disturb
    service = site.service
    (folder / "users.csv").write_text("user\n" + "".join(f"{user(n)}\n" for n in range(USERS)))
    census = [(user(number), "contacts", 6) for number in range(USERS)]
    run = service.submit(PLAN, users=[user(n) for n in range(USERS)], census=census)
    service.go_on()
    digest = site.installation.progress.status(run).digest
    service.runs.approve(run, who="jo", reason="looked at it", digest=digest)
    service.go_on()
    while over and not service.status(run).over:
        service.runs.promote(run, who="jo", reason="looks good")
        service.go_on()
    return site, run


@contextlib.contextmanager
def served(site: Site) -> Iterator[str]:
    """The site at an address of this machine."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(site.app, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()
