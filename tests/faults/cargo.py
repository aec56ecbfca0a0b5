"""Many small units to restore, and a recount of what came back from the files alone.

Every item bears a mark of its owner's that occurs nowhere else. The recount reads sources and
targets, never the ledger, and shares nothing with the code that restored.
"""

import re
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

PLAN = """\
version: 1
name: faults
incident: {{as_of: 2009-10-01T00:00:00Z}}
sources:
  devices: {{kind: vdir, path: devices}}
targets:
  pim: {{kind: vdir, path: restored}}
waves: [{waves}]
defaults: {{on_conflict: newest, attempts: 50, backoff: 1s..1s, gate: {{failed: 100%}}}}
phases:
{phases}
approvals: 0
"""
WAVES = "{name: canary, users: 5}, {name: everyone}"
CONTACTS = "  - {restore: contacts, to: pim}\n"
TASKS = "  - {restore: tasks, to: pim}\n"
BOTH = CONTACTS + TASKS
_MARK = re.compile(rb"mark-[0-9a-z]+-[0-9a-z]+-[0-9]+")

CARD = """BEGIN:VCARD\r
VERSION:3.0\r
UID:{mark}\r
REV:2009-09-01T00:00:00Z\r
FN:Contact {number}\r
N:Contact;Number;;;\r
NOTE:{mark}\r
END:VCARD\r
"""
TASK = """BEGIN:VCALENDAR\r
VERSION:2.0\r
PRODID:-//faults//EN\r
BEGIN:VTODO\r
UID:{mark}\r
DTSTAMP:20090901T000000Z\r
SUMMARY:Task {number}\r
DESCRIPTION:{mark}\r
END:VTODO\r
END:VCALENDAR\r
"""


class Cargo:
    """Users with contacts and tasks in `folder/devices`; restored to `folder/restored`."""

    def __init__(
        self, folder: Path, *, users: int, items: int = 3, phases: str = BOTH, waves: str = WAVES
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.users = [f"user{number}" for number in range(users)]
        self.plan = PLAN.format(phases=phases, waves=waves)
        self.units = users * phases.count("restore:")
        self._forms = {
            name: form
            for name, form in (("contacts", (CARD, "vcf")), ("tasks", (TASK, "ics")))
            if f"restore: {name}" in phases
        }
        for user in self.users:
            for category, (form, suffix) in self._forms.items():
                place = folder / "devices" / user / category
                place.mkdir(parents=True)
                for number in range(items):
                    text = form.format(mark=f"mark-{user}-{category}-{number}", number=number)
                    (place / f"{number}.{suffix}").write_text(text, newline="")

    def expected(self) -> Counter[tuple[str, str, bytes]]:
        """Every item that a source holds: user, category, mark."""
        return _marks(self.folder / "devices")

    def held(self) -> Counter[tuple[str, str, bytes]]:
        """Every item that the target holds."""
        return _marks(self.folder / "restored")

    def arrived(self, user: str) -> bool:
        """Whether anything of that user's is in the target."""
        return any((self.folder / "restored" / user).glob("*/*"))

    def wrongs(self) -> list[str]:
        """What is lost, there twice, or not to be there; and what does not say what it said."""
        expected, held = self.expected(), self.held()
        found = [f"lost: {mark}" for mark in sorted(expected - held)]
        found += [f"twice or unexpected: {mark}" for mark in sorted(held - expected)]
        for path in (self.folder / "restored").glob("*/*/*"):
            if path.parts[-3] != ".reinstate" and b"END:VC" not in path.read_bytes():
                found.append(f"cut short: {path.name}")
        return found

    def state(self) -> dict[str, tuple[int, int, int]]:
        """What changes whenever anybody writes, even the same bytes: inode, time and size."""
        return {
            str(path): (status.st_ino, status.st_mtime_ns, status.st_size)
            for path in (self.folder / "restored").glob("*/*/*")
            if path.parts[-3] != ".reinstate"
            for status in [path.stat()]
        }


def _marks(root: Path) -> Counter[tuple[str, str, bytes]]:
    found: Counter[tuple[str, str, bytes]] = Counter()
    for path in root.glob("*/*/*"):
        user, category = unquote(path.parts[-3]), path.parts[-2]
        if user == ".reinstate":
            continue
        marks = set(_MARK.findall(path.read_bytes()))
        for mark in marks or {b"none"}:
            found[user, category, mark] += 1
    return found
