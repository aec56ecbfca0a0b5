"""Keys of single users and runs: what a run keeps of somebody opens only while their key is there.

Made at first use, so that a user of whom nothing is kept has none; kept wrapped by the master key;
erased when the run is closed, or when its user asks to be forgotten. A run that is about another
one (verify, undo) uses the keys of the run at the bottom, its root, so that they end together.

Not promised: that backups of the ledger forget what the ledger forgets.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, func, or_, select, update

from orchestrator.ledger.database import Ledger, among, insert_missing
from orchestrator.ledger.schema import data_key, run
from orchestrator.sealing import HEAD_BYTES, DataKey, Sealer, maker_of

NOBODY = bytes(16)
"""In place of a user: the key of the run's own list of users."""

Keys = Mapping[tuple[str, bytes], Mapping[int, DataKey]]
"""By root and user, then by maker."""


class Sealed(Struct, frozen=True, gc=False):
    """A value to be opened: of which run and user it is, and what it is bound to."""

    run: str
    user_hash: bytes
    value: bytes
    context: bytes


def root_of(connection: Connection, run_id: str) -> str:
    """The run whose users and keys this one uses: itself, unless it is about another one."""
    found = select(func.coalesce(run.c.root, run.c.id)).where(run.c.id == run_id)
    return connection.execute(found).scalar_one()


def roots_of(connection: Connection, runs: Iterable[str]) -> dict[str, str]:
    """The same for several."""
    rows = connection.execute(
        select(run.c.id, func.coalesce(run.c.root, run.c.id).label("root")).where(
            run.c.id.in_(set(runs))
        )
    )
    return {row.id: row.root for row in rows}


def keys_of(
    connection: Connection, sealer: Sealer, users: Sequence[bytes], *, root: str | None = None
) -> Keys:
    """All keys of these users, of one root or of every run; erased ones are not there.

    A user has few. Asking for the run's only led the database through all of the run's keys.
    """
    chosen = select(data_key).where(among(connection, data_key.c.user_hash, users))
    found: dict[tuple[str, bytes], dict[int, DataKey]] = {}
    for row in connection.execute(chosen):
        if row.wrapped and root in {None, row.run}:
            key = sealer.unwrapped(row.wrapped, row.maker, _context(row.run, row.user_hash))
            found.setdefault((row.run, row.user_hash), {})[row.maker] = key
    return found


def opened(
    connection: Connection, sealer: Sealer, values: Sequence[Sealed]
) -> Iterator[bytes | None]:
    """What was sealed, in the same order, one at a time; None where the key was erased.

    Keys are read at the first; the connection is not asked after that. Raises `Refused` for what
    does not open for another reason.
    """
    keys: Keys = {}
    roots: dict[str, str] = {}
    if any(maker_of(sealed.value) is not None for sealed in values):
        roots = roots_of(connection, (sealed.run for sealed in values))
        keys = keys_of(connection, sealer, list({sealed.user_hash for sealed in values}))
    for sealed in values:
        maker = maker_of(sealed.value)
        if not sealed.value:
            yield None
        elif maker is None:
            yield sealer.open(sealed.value, sealed.context)
        else:
            key = keys.get((roots[sealed.run], sealed.user_hash), {}).get(maker)
            yield None if key is None else key.open(sealed.value, sealed.context)


def new_list_key(connection: Connection, sealer: Sealer, run_id: str) -> DataKey:
    """The key of a new run's own list of users, kept at once."""
    key = sealer.new_key(0)
    _keep(connection, sealer, run_id, {NOBODY: key})
    return key


class Ids:
    """Opens the ids of a run's users; all are sealed under one key of the run."""

    def __init__(self, connection: Connection, sealer: Sealer, run_id: str) -> None:
        self._sealer = sealer
        self.root = root_of(connection, run_id)
        of_run = keys_of(connection, sealer, [NOBODY], root=self.root)
        self._keys = of_run.get((self.root, NOBODY), {})
        self._context = b"user:" + self.root.encode()

    def seal(self, user: str) -> bytes:
        """The id of a user, as lists keep it."""
        sealer = self._keys.get(0) or self._sealer
        return sealer.seal(user.encode(), self._context)

    def open(self, sealed: bytes) -> str | None:
        """The id again; None where it was erased."""
        maker = maker_of(sealed)
        key = self._sealer if maker is None else self._keys.get(maker)
        return None if key is None or not sealed else key.open(sealed, self._context).decode()

    def open_all(self, sealed: Sequence[bytes]) -> list[str | None]:
        """The same of many, in their order."""
        makers = {maker_of(head) for head in {one[:HEAD_BYTES] for one in sealed}}
        key = None
        if len(makers) == 1:  # as nearly always: a run's list is sealed under one key
            key = self._keys.get(makers.pop() or 0)
        if key is None or not all(sealed):
            return [self.open(one) for one in sealed]
        return [data.decode() for data in key.open_all(sealed, self._context)]


class KeyRing:
    """The keys of a batch's users, for writing: fetched together when the first is needed.

    A new key is kept in the transaction that keeps what was sealed under it: `keep` before its
    end, `kept` after. Only who holds the batch makes keys as this `maker`, so no two are at odds.
    """

    def __init__(
        self, ledger: Ledger, sealer: Sealer, *, root: str, maker: int, users: Sequence[bytes]
    ) -> None:
        self.root = root
        self._ledger = ledger
        self._sealer = sealer
        self._maker = maker
        self._users = users
        self._known: dict[bytes, DataKey] | None = None
        self._new: dict[bytes, DataKey] = {}

    def ready(self) -> dict[bytes, DataKey]:
        """Read the keys that there are, once. Best before a transaction is begun."""
        if self._known is None:
            with self._ledger.read() as connection:
                found = keys_of(connection, self._sealer, self._users, root=self.root)
            self._known = {
                user_hash: min(keys.values(), key=lambda key: key.maker)
                for (_, user_hash), keys in found.items()
            }
        return self._known

    def of(self, user_hash: bytes) -> DataKey:
        """That user's key, made where there is none."""
        known = self.ready()
        key = known.get(user_hash)
        if key is None:
            key = known[user_hash] = self._new[user_hash] = self._sealer.new_key(self._maker)
        return key

    def keep(self, connection: Connection) -> None:
        """Keep what was made since, in this transaction."""
        if self._new:
            _keep(connection, self._sealer, self.root, self._new)

    def kept(self) -> None:
        """That transaction was committed."""
        self._new.clear()


def _keep(connection: Connection, sealer: Sealer, root: str, keys: Mapping[bytes, DataKey]) -> None:
    rows: list[dict[str, Any]] = [
        {
            "user_hash": user_hash,
            "run": root,
            "maker": key.maker,
            "wrapped": sealer.wrapped(key, _context(root, user_hash)),
        }
        for user_hash, key in keys.items()
    ]
    insert_missing(connection, data_key, rows)


def erase(connection: Connection, root: str, *, now: int, user_hash: bytes | None = None) -> int:
    """Erase the keys of a run, or of one of its users; how many there were."""
    gone = [data_key.c.run == root, data_key.c.erased_at.is_(None)]
    if user_hash is not None:
        gone.append(data_key.c.user_hash == user_hash)
    return connection.execute(
        update(data_key).where(*gone).values(wrapped=b"", erased_at=now)
    ).rowcount


def family(connection: Connection, root: str) -> list[str]:
    """A run and all runs about it."""
    rows = connection.execute(select(run.c.id).where(or_(run.c.id == root, run.c.root == root)))
    return list(rows.scalars())


def _context(root: str, user_hash: bytes) -> bytes:
    return root.encode() + b":" + user_hash
