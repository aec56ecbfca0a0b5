"""Keeps what this process frees for what it allocates next, up to a bound.

Why: by default the C library hands every content above 128 KiB back to the kernel, and the next one
comes in new pages, each cleared at its first use. Reading a picture of 140 kB took 100 µs that way,
and 20 µs into pages that were there already.
"""

import ctypes
from contextlib import suppress
from typing import Final

_KEPT: Final = 32 * 1024 * 1024
_FROM_HEAP: Final = 8 * 1024 * 1024
"""Larger blocks still come from the kernel, and go back to it at once."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""glibc's numbers (malloc.h)."""


def keep_freed_memory() -> None:
    """Do so from now on, and in what is forked from here; nothing where there is no glibc."""
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _FROM_HEAP)
        mallopt(_TRIM_THRESHOLD, _KEPT)
