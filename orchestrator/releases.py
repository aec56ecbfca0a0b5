"""Which releases decide alike: what one began, the other may go on with.

Two releases that differ in the last number of their version only make the same decisions of the
same data; this is what that number promises. Any other difference may change what was approved, so
a run that another release began is not gone on with: it pauses, or is refused where it had not
started, before anything of it is claimed.
"""


def decide_alike(one: str, other: str) -> bool:
    """Whether versions `one` and `other`, such as `1.4.2`, differ in the last number at most."""
    return series(one) == series(other)


def series(version: str) -> str:
    """What versions that decide alike have in common: all but the last number."""
    return ".".join(version.split(".")[:2])
