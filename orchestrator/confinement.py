"""What a process that handles hostile bytes gives up for good, and what this kernel can take away.

Imports nothing of this package: programs that are confined load it by its path. As a program of its
own (`python -I confinement.py`) it confines itself and says on stdout what still works.

Why three layers: limits (POSIX) bound what is used up, Landlock bounds which files can be named
at all, seccomp leaves the few system calls that computing needs. Any one may be missing, in a
container or on an old kernel; the others hold without it. Whoever confines a process closes its
files first: what is open stays open.
"""

import ctypes
import errno
import os
import struct
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

_SLACK = 64 * 1024 * 1024
_PROOF_SECONDS = 20


@dataclass(frozen=True, kw_only=True)
class Confined:
    """Which layers are in force."""

    limits: bool = False
    """Address space, file size and core dumps are limited."""
    landlock: int = 0
    """The version of Landlock that decides about files; 0: none. From 4 on it knows of TCP."""
    seccomp: bool = False
    """Only harmless system calls are left."""

    @property
    def complete(self) -> bool:
        """Nothing is missing."""
        return self.limits and bool(self.landlock) and self.seccomp


def confine(*, memory: int, readable: Iterable[str], file_bytes: int = 0) -> Confined:
    """Give up everything but computing, and reading what lies below `readable`. For good.

    `memory`: bytes of address space beyond what is held now; `file_bytes`: how large files may
    be made. What the kernel does not offer is left out: the answer says what holds.
    """
    limits = _limit(memory, file_bytes)
    if sys.platform != "linux":
        return Confined(limits=limits)
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return Confined(limits=limits)
    return Confined(
        limits=limits,
        landlock=_restrict_files(library, readable),
        seccomp=_restrict_calls(library),
    )


def _limit(memory: int, file_bytes: int) -> bool:
    import resource  # noqa: PLC0415  POSIX only

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    try:
        with open("/proc/self/statm", "rb") as numbers:  # noqa: PTH123  pathlib costs 10 ms here
            held = int(numbers.read().split()[0]) * resource.getpagesize()
    except OSError:
        return False  # not Linux: address space is not limited there
    most = held + memory + _SLACK
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    return True


def own_code() -> list[str]:
    """Where the interpreter and what is imported so far lie: what a program may need to go on."""
    paths = sysconfig.get_paths()
    found = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    found |= {path for path in sys.path if path.endswith(("-packages", ".zip"))}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and "." not in name and name != "__main__":
            package = getattr(module, "__path__", None)
            found.add(str(Path(file).parent) if package else file)
    real = {os.path.realpath(path) for path in found if Path(path).exists()}
    return sorted(path for path in real if not any(_below(path, other) for other in real))


def _below(path: str, other: str) -> bool:
    return path.startswith(other + os.sep)


# Landlock -----------------------------------------------------------------------------------------
# https://docs.kernel.org/userspace-api/landlock.html; the numbers are the same on every machine.

_PR_SET_NO_NEW_PRIVS = 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_WANTED = 1
_PATH_BENEATH = 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}
"""How many rights to files there are from that version on."""
_NET_SINCE, _SCOPE_SINCE = 4, 6
_TCP = 0b11
"""bind and connect"""
_SCOPES = 0b11
"""abstract sockets and signals"""


def _restrict_files(library: ctypes.CDLL, readable: Iterable[str]) -> int:
    """Take away every file but those below `readable`, and TCP; the version, or 0."""
    version = max(library.syscall(_CREATE_RULESET, None, 0, _VERSION_WANTED), 0)
    if not version:
        return 0
    rights = max(count for since, count in _FILE_RIGHTS.items() if since <= version)
    handled = struct.pack("=Q", (1 << rights) - 1)
    if version >= _NET_SINCE:
        handled += struct.pack("=Q", _TCP)
    if version >= _SCOPE_SINCE:
        handled += struct.pack("=Q", _SCOPES)
    ruleset = library.syscall(_CREATE_RULESET, handled, len(handled), 0)
    if ruleset < 0:
        return 0
    try:
        for path in readable:
            _allow(library, ruleset, path)
        return 0 if library.syscall(_RESTRICT_SELF, ruleset, 0) else version
    finally:
        os.close(ruleset)


def _allow(library: ctypes.CDLL, ruleset: int, path: str) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rights = _READ_FILE | (_READ_DIR if Path(path).is_dir() else 0)
        rule = struct.pack("=Qi", rights, place)
        library.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(place)


# seccomp ------------------------------------------------------------------------------------------
# https://docs.kernel.org/userspace-api/seccomp_filter.html; linux/bpf_common.h.

_PR_SET_SECCOMP = 22
_MODE_FILTER = 2
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOWED, _REFUSED = 0x7FFF0000, 0x00050000 | errno.EPERM
_UNKNOWN = 0x00050000 | errno.ENOSYS
_OFFSET_CALL, _OFFSET_ARCH, _OFFSET_ARGUMENTS = 0, 4, 16
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_CALLS = {
    # name: (x86_64, aarch64); None where the machine has no such call
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "stat": (4, None),
    "fstat": (5, 80),
    "lstat": (6, None),
    "lseek": (8, 62),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "pread64": (17, 67),
    "readv": (19, 65),
    "writev": (20, 66),
    "sched_yield": (24, 124),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "nanosleep": (35, 101),
    "getpid": (39, 172),
    "exit": (60, 93),
    "fcntl": (72, 25),
    "getcwd": (79, 17),
    "readlink": (89, None),
    "gettimeofday": (96, 169),
    "getrusage": (98, 165),
    "times": (100, 153),
    "getuid": (102, 174),
    "getgid": (104, 176),
    "geteuid": (107, 175),
    "getegid": (108, 177),
    "sigaltstack": (131, 132),
    "gettid": (186, 178),
    "time": (201, None),
    "futex": (202, 98),
    "sched_getaffinity": (204, 123),
    "getdents64": (217, 61),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "exit_group": (231, 94),
    "newfstatat": (262, 79),
    "readlinkat": (267, 78),
    "set_robust_list": (273, 99),
    "getrandom": (318, 278),
    "membarrier": (324, 283),
    "statx": (332, 291),
    "rseq": (334, 293),
}
"""What computing and importing need. No sockets, no processes, no signals to others."""
_CLONE, _CLONE3 = (56, 220), 435
_THREAD = 0x00010000
"""Decoders of HEIC start threads; processes are refused. `clone3` hides its flags from a filter: it
is said not to exist, and C libraries fall back to `clone`."""
_OPENING = {"open": ((2, None), 1), "openat": ((257, 56), 2)}
"""Allowed for reading only; the number is that of the argument that holds the flags."""
_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""What the kernel calls the machine (linux/audit.h), and its column in the tables above."""


def _restrict_calls(library: ctypes.CDLL) -> bool:
    """Leave only `_CALLS`; whether that holds."""
    machine = _MACHINES.get(os.uname().machine)
    if machine is None or sys.maxsize <= 1 << 32:
        return False
    program = b"".join(_program(*machine))
    code = ctypes.create_string_buffer(program, len(program))
    asked = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    return library.prctl(_PR_SET_SECCOMP, _MODE_FILTER, asked, 0, 0) == 0


def _program(arch: int, column: int) -> Iterator[bytes]:
    """The filter: an array of `struct sock_filter`."""
    allow, refuse = _step(_RETURN, _ALLOWED), _step(_RETURN, _REFUSED)
    yield _step(_LOAD, _OFFSET_ARCH)
    yield _step(_EQUAL, arch, then=1)
    yield refuse  # a 32-bit call: its numbers mean others
    yield _step(_LOAD, _OFFSET_CALL)
    for numbers, argument in _OPENING.values():
        number = numbers[column]
        if number is not None:
            yield _step(_EQUAL, number, otherwise=4)
            yield _step(_LOAD, _OFFSET_ARGUMENTS + 8 * argument)
            yield _step(_ANY_BIT, _WRITING, otherwise=1)
            yield refuse
            yield allow
    yield _step(_EQUAL, _CLONE[column], otherwise=4)
    yield _step(_LOAD, _OFFSET_ARGUMENTS)
    yield _step(_ANY_BIT, _THREAD, then=1)
    yield refuse
    yield allow
    yield _step(_EQUAL, _CLONE3, otherwise=1)
    yield _step(_RETURN, _UNKNOWN)
    for numbers in _CALLS.values():
        number = numbers[column]
        if number is not None:
            yield _step(_EQUAL, number, otherwise=1)
            yield allow
    yield refuse


def _step(code: int, value: int, *, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", code, then, otherwise, value)


# Proof --------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What a confined process was and could still do on this machine."""

    confined: Confined
    allowed: tuple[str, ...]
    """Which of `ATTEMPTS` succeeded all the same."""


def prove() -> Proof:
    """Confine a process of its own and let it try. Raises `OSError` where none can be started."""
    import json  # noqa: PLC0415  readers need not pay for it
    import subprocess  # noqa: PLC0415

    command = [sys.executable, "-I", str(Path(__file__).resolve())]
    try:
        said = subprocess.run(  # noqa: S603  our own program
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROOF_SECONDS,
            check=True,
        ).stdout
        told = json.loads(said)
        return Proof(confined=Confined(**told["confined"]), allowed=tuple(told["allowed"]))
    except (subprocess.SubprocessError, ValueError, LookupError, TypeError) as error:
        raise OSError(f"a confined process ends unexpectedly ({type(error).__name__})") from error


def _connect() -> None:
    import socket  # noqa: PLC0415  only who tries

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tried:
        tried.bind(("127.0.0.1", 0))


def _read() -> None:
    with open("/etc/passwd", "rb") as tried:  # noqa: PTH123
        tried.read(1)


def _write() -> None:
    import tempfile  # noqa: PLC0415  only who tries

    with tempfile.TemporaryFile() as tried:
        tried.write(b"x")
        tried.flush()


def _start() -> None:
    os.posix_spawn(sys.executable, [sys.executable, "-c", ""], {})


def _fork() -> None:
    if not (child := os.fork()):
        os._exit(0)
    os.waitpid(child, 0)


def _take_memory() -> None:
    bytearray(1 << 33)


ATTEMPTS: dict[str, Callable[[], None]] = {
    "network": _connect,
    "reading files": _read,
    "writing files": _write,
    "programs": _start,
    "processes": _fork,
    "memory": _take_memory,
}


def _main() -> None:
    import json  # noqa: PLC0415  readers need not pay for it

    confined = confine(memory=256 * 1024 * 1024, readable=own_code())
    allowed: list[str] = []
    for what, attempt in ATTEMPTS.items():
        try:
            attempt()
        except (OSError, MemoryError):
            continue
        allowed.append(what)
    sys.stdout.write(json.dumps({"confined": asdict(confined), "allowed": allowed}))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    _main()
