"""A mapping of texts to small values in few bytes each: for a user who has 200,000 of them.

A key is kept as 16 bytes of its hash, a value as it is encoded: some 100 bytes where an entry of a
dict, its key and its value's own objects take 500 and more. Keys cannot be listed. Looking one up
takes some microseconds, so small mappings are better off as a dict.

Why 16 bytes of a hash suffice: nobody finds two texts with the same ones by trying, and of a
thousand million by chance no two have.
"""

from array import array
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Generic, TypeVar

V = TypeVar("V")
_KEY = 16
_LEAST = 1 << 12


class Packed(Generic[V]):
    """What was put, by its key. A value's encoding may not be empty."""

    def __init__(self, encode: Callable[[V], bytes], decode: Callable[[bytes], V]) -> None:
        self._encode = encode
        self._decode = decode
        self._keys = bytearray()
        self._starts = array("Q")
        self._lengths = array("I")
        """Of values; 0: it was removed."""
        self._values = bytearray()
        self._slots = array("I", bytes(4 * _LEAST))
        """Open addressing: a place in the lists above, plus one; 0: free."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, key: str) -> bool:
        return self.place(key) is not None

    def get(self, key: str) -> V | None:
        """The value; None where there is none. Changing it changes nothing here: put it again."""
        place = self.place(key)
        return None if place is None else self.at(place)

    def put(self, key: str, value: V) -> None:
        """Keep a value, in place of one that was there."""
        data = self._encode(value)
        hashed = _hashed(key)
        slot, place = self._find(hashed)
        if place is None:
            if 3 * (len(self._starts) + 1) > 2 * len(self._slots):
                self._grow()
                slot, _ = self._find(hashed)
            self._slots[slot] = len(self._starts) + 1
            self._keys += hashed
            self._count += 1
            self._starts.append(len(self._values))
            self._lengths.append(len(data))
            self._values += data
            return
        self._count += not self._lengths[place]
        self._put_at(place, data)

    def pop(self, key: str, default: V | None = None) -> V | None:
        """Remove a value, if there is one."""
        place = self.place(key)
        if place is None:
            return default
        value = self.at(place)
        self.remove(place)
        return value

    # By place -----------------------------------------------------------------------------------

    def place(self, key: str) -> int | None:
        """Where a key's value is; it stays there."""
        _, place = self._find(_hashed(key))
        return None if place is None or not self._lengths[place] else place

    def at(self, place: int) -> V:
        """The value at a place."""
        start = self._starts[place]
        return self._decode(bytes(self._values[start : start + self._lengths[place]]))

    def remove(self, place: int) -> None:
        """Nothing is at that place any more."""
        self._lengths[place] = 0
        self._count -= 1

    def put_at(self, place: int, value: V) -> None:
        """Another value at a place where one is."""
        self._put_at(place, self._encode(value))

    def places(self) -> Iterator[int]:
        """Where values are, in the order in which their keys came."""
        return (place for place, length in enumerate(self._lengths) if length)

    def _put_at(self, place: int, data: bytes) -> None:
        """In the room of the value before, where it fits."""
        if len(data) > self._lengths[place]:
            self._starts[place] = len(self._values)
            self._values += data
        else:
            start = self._starts[place]
            self._values[start : start + len(data)] = data
        self._lengths[place] = len(data)

    # Slots --------------------------------------------------------------------------------------

    def _find(self, hashed: bytes) -> tuple[int, int | None]:
        """The slot of a key and its place; or the slot where it would go, and None."""
        mask = len(self._slots) - 1
        slot = int.from_bytes(hashed[:8]) & mask
        while found := self._slots[slot]:
            if self._keys.startswith(hashed, (found - 1) * _KEY):
                return slot, found - 1
            slot = (slot + 1) & mask
        return slot, None

    def _grow(self) -> None:
        self._slots = array("I", bytes(8 * len(self._slots)))
        for place in range(len(self._starts)):
            slot, _ = self._find(bytes(self._keys[place * _KEY : (place + 1) * _KEY]))
            self._slots[slot] = place + 1


class Shelf(Generic[V]):
    """A dict while it is small, packed from `FEW` values on. Put again what was changed."""

    def __init__(self, encode: Callable[[V], bytes], decode: Callable[[bytes], V]) -> None:
        self._encode = encode
        self._decode = decode
        self._few: dict[str, V] = {}
        self._many: Packed[V] | None = None

    def __len__(self) -> int:
        return len(self._few if self._many is None else self._many)

    def get(self, key: str) -> V | None:
        """The value; None where there is none."""
        return self._few.get(key) if self._many is None else self._many.get(key)

    def put(self, key: str, value: V) -> None:
        """Keep a value, in place of one that was there."""
        if self._many is not None:
            self._many.put(key, value)
            return
        self._few[key] = value
        if len(self._few) > FEW:
            self._many = Packed(self._encode, self._decode)
            for one, kept in self._few.items():
                self._many.put(one, kept)
            self._few = {}

    def pop(self, key: str) -> V | None:
        """Remove a value, if there is one."""
        return self._few.pop(key, None) if self._many is None else self._many.pop(key)

    def values(self) -> Iterator[V]:
        """All of them, in the order in which their keys came."""
        if self._many is None:
            return iter(self._few.values())
        return map(self._many.at, self._many.places())


FEW = 10_000


def _hashed(key: str) -> bytes:
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=_KEY).digest()
