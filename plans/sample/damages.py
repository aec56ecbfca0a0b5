"""What a failing storage does to bytes. Each damage of these is beyond repair."""

from random import Random
from typing import Final

RAW: Final = ("cut", "zeroed", "garbled", "emptied")


def damaged(data: bytes, damage: str, rng: Random) -> bytes:
    """The bytes as the failure left them."""
    match damage:
        case "cut":
            return data[: len(data) * rng.randrange(45, 70) // 100]
        case "zeroed":
            start, length = len(data) * 35 // 100, max(len(data) * 30 // 100, 24)
            return data[:start] + bytes(length) + data[start + length :]
        case "garbled":
            return data.decode().encode("latin-1")
        case "emptied":
            return b""
        case "bit-flip":
            at = len(data) * rng.randrange(20, 80) // 100
            return data[:at] + bytes((data[at] ^ 1 << rng.randrange(8),)) + data[at + 1 :]
        case _:
            raise ValueError(damage)
