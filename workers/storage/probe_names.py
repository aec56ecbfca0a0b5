"""Names of what a probe writes, which tell whose probe it was.

A probe that is killed leaves something behind. The next one removes it, and leaves alone what
belongs to a probe that is still at work: on another machine, or in a process that lives.
"""

import os
import socket
import uuid
from pathlib import Path
from typing import Final

PREFIX: Final = "reinstate-probe-"


def probe_name() -> str:
    """A name that nobody else uses: letters, digits and hyphens."""
    return f"{PREFIX}{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def is_abandoned(name: str) -> bool:
    """Whether it is a probe's, made on this machine by a process that is no more."""
    if not name.startswith(PREFIX):
        return False
    machine, _, rest = name.removeprefix(PREFIX).partition("-")
    process = rest.partition("-")[0]
    if machine != _machine() or not process.isdecimal():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _machine() -> str:
    """This machine since it was started, as containers see it; tells nothing of it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        boot = ""
    return uuid.uuid5(uuid.NAMESPACE_DNS, f"{socket.gethostname()} {boot}").hex[:12]
